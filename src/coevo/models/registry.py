"""Model families by name: which class reads a checkpoint of a family, imported only when it is asked for."""

from __future__ import annotations

from functools import reduce
from importlib import import_module
from typing import TYPE_CHECKING, Any

from coevo.errors import CheckpointError, ConfigError
from coevo.families import ROLES, built_in, descriptor_of, installed, loader_of, names_of

if TYPE_CHECKING:
    from pathlib import Path

    from coevo.families import ExternalFamily, Family
    from coevo.models.contracts import ForceField, Generator

FORCE_FIELDS = {name: loader.place for name, loader in built_in("force_field").items()}
GENERATORS = {name: loader.place for name, loader in built_in("generator").items()}


def force_field_from(
    family: str, weights: str | None = None, checkpoint: Path | None = None, device: str = "cpu", *, trusted: bool = False
) -> ForceField:
    """Load a force field: a checkpoint if one is given, else published weights.

    Parameters
    ----------
    family : str
        A key of :data:`FORCE_FIELDS`, or an entry point ``coevo.force_fields``.
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
    force_field = force_field_class(family)
    where = resolved_device(device)
    if checkpoint is not None:
        _require_trust(family, "force_field", checkpoint, trusted=trusted)
        return force_field.load(checkpoint, where)
    return force_field.published(weights or descriptor_of(family, "force_field").default_weights, where)


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


def force_field_class(family: str) -> Any:
    """Return the class of a force-field family: one of :data:`FORCE_FIELDS`, or of an entry point ``coevo.force_fields``.

    Raises
    ------
    ConfigError
        If the family is unknown, or its package cannot be imported.
    """
    return _class_of("force_field", FORCE_FIELDS, family)


def generator_class(family: str) -> Any:
    """Return the class of a generator family: one of :data:`GENERATORS`, or of an entry point ``coevo.generators``.

    Raises
    ------
    ConfigError
        If the family is unknown, or its package cannot be imported.
    """
    return _class_of("generator", GENERATORS, family)


def external_families() -> dict[str, ExternalFamily]:
    """Environments of the families that have one of their own, by name; raises as :func:`external_descriptors`."""
    return {family.name: family.environment for family in external_descriptors() if family.environment is not None}


def external_descriptors() -> list[Family]:
    """Families with an environment of their own: coevo's and those of other installed packages.

    Raises
    ------
    ConfigError
        If the package of one cannot be imported.
    """
    try:
        own = [descriptor_of(name, role) for role in ROLES for name in names_of(role)]
    except CheckpointError as err:
        raise ConfigError(str(err)) from None
    return [family for family in own if family.environment is not None]


def _class_of(role: str, own: dict[str, str], family: str) -> Any:
    kind = role.replace("_", " ")
    if family in own:
        place = own[family]
    elif family in installed(role):
        try:
            place = loader_of(family, role).place
        except CheckpointError as err:
            raise ConfigError(str(err)) from None
    else:
        raise ConfigError(f"{kind} family {family!r} is unknown; allowed: {', '.join(names_of(role))}")
    module, _, name = place.partition(":")
    try:
        return reduce(getattr, name.split("."), import_module(module))
    except (ImportError, AttributeError) as err:
        raise ConfigError(f"{kind} family {family!r}: {place} cannot be imported: {err}") from None


def resolved_device(device: str) -> str:
    """Return the device that a setting means: ``auto`` is a GPU if there is one."""
    if device != "auto":
        return device
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
