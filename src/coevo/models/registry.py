"""Model families by name: which class reads a checkpoint of a family, imported only when it is asked for."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from coevo.errors import CheckpointError, ConfigError
from coevo.families import built_in, installed_generators, loader_of

if TYPE_CHECKING:
    from pathlib import Path

    from coevo.models.contracts import ForceField, Generator
    from coevo.models.external.families import ExternalFamily

FORCE_FIELDS = {name: loader.place for name, loader in built_in("force_field").items()}
GENERATORS = {name: loader.place for name, loader in built_in("generator").items()}


def force_field_from(
    family: str, weights: str | None = None, checkpoint: Path | None = None, device: str = "cpu", *, trusted: bool = False
) -> ForceField:
    """Load a force field: a checkpoint if one is given, else published weights.

    Parameters
    ----------
    family : str
        A key of :data:`FORCE_FIELDS`.
    weights : str, optional
        Name of published weights; the family's default if neither this nor a checkpoint is given.
    checkpoint : Path, optional
        File that ``ForceField.save`` wrote.
    device : str
        ``auto`` (a GPU if there is one), ``cpu``, ``cuda`` or ``cuda:N``.
    trusted : bool
        Whether the checkpoint was computed here or is trusted by its sha256. One of a family whose loader can run code is refused
        otherwise.

    Raises
    ------
    ConfigError
        If the family, the weights or the device are unknown.
    CheckpointError
        If the checkpoint cannot be loaded, or must not be.
    """
    force_field = _class_of("force field", FORCE_FIELDS, family)
    where = _resolved_device(device)
    if checkpoint is not None:
        _require_trust(family, "force_field", checkpoint, trusted=trusted)
        return force_field.load(checkpoint, where)
    if weights is not None:
        return force_field.published(weights, where)
    return force_field.published(device=where)


def generator_from(family: str, checkpoint: Path | None = None, settings: Any = None, *, trusted: bool = False) -> Generator:
    """Load a generator from a checkpoint, or make an untrained one.

    Parameters
    ----------
    family : str
        A key of :data:`GENERATORS`.
    checkpoint : Path, optional
        File that ``Generator.save`` wrote.
    settings : optional
        Settings of the family; with a checkpoint they take the place of those that it was fitted with.
    trusted : bool
        As in :func:`force_field_from`; a family with a runner hands it on.

    Raises
    ------
    ConfigError
        If the family is unknown.
    CheckpointError
        If the checkpoint cannot be loaded, or must not be.
    """
    generator = generator_class(family)
    if checkpoint is None:
        return generator.initial(settings)
    _require_trust(family, "generator", checkpoint, trusted=trusted)
    loaded = generator.load(checkpoint, settings)
    if hasattr(generator, "external"):
        loaded.trusted = trusted
    return loaded


def _require_trust(family: str, role: str, checkpoint: Path, *, trusted: bool) -> None:
    loader = loader_of(family, role)
    if loader.runs_code and not trusted:
        raise CheckpointError(
            f"{checkpoint} was not loaded: reading a checkpoint of {loader} can run code of whoever made it, and nobody said "
            "that it is trusted; if you know where it comes from: coevo trust SHA256"
        )


def generator_class(family: str) -> Any:
    """Return the class of a generator family: one of :data:`GENERATORS`, or of an entry point ``coevo.generators``.

    Raises
    ------
    ConfigError
        If the family is unknown, or its package cannot be imported.
    """
    installed = {} if family in GENERATORS else installed_generators()
    if family not in installed:
        return _class_of("generator", GENERATORS, family)
    try:
        return installed[family].load()
    except (ImportError, AttributeError) as err:
        raise ConfigError(f"generator family {family!r}: {installed[family].value} cannot be imported: {err}") from None


def external_families() -> dict[str, ExternalFamily]:
    """Families with an environment of their own, by name: coevo's and those of other installed packages.

    Raises
    ------
    ConfigError
        If the package of one cannot be imported.
    """
    classes = [generator_class(name) for name in sorted({*GENERATORS, *installed_generators()})]
    return {cls.family: cls.external for cls in classes if hasattr(cls, "external")}


def _class_of(kind: str, families: dict[str, str], family: str) -> Any:
    if family not in families:
        raise ConfigError(f"{kind} family {family!r} is unknown; allowed: {', '.join(sorted(families))}")
    module, _, name = families[family].partition(":")
    return getattr(import_module(module), name)


def _resolved_device(device: str) -> str:
    if device != "auto":
        return device
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
