"""Model families as plain descriptors: which loader reads a checkpoint, and whether that loader can run code.

This is the one table that decides about checkpoints, and it holds what is installed on this machine. What a checkpoint or a state
says of itself only chooses a row: a (family, format, role) without a row has no loader here and is not loaded, and whether a
loader can run code follows from the loader, never from bytes or documents. Nothing of torch or of a model is imported to ask,
except the class of another package's family, which was installed by whoever runs this.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

from coevo.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from importlib.metadata import EntryPoint

Role = Literal["force_field", "generator"]
"""What a state has a checkpoint for."""

ROLES: tuple[Role, ...] = get_args(Role)

GENERATOR_GROUP = "coevo.generators"
"""Group of the entry points by which other packages bring generators: ``NAME = "package.module:Class"``."""


@dataclass(frozen=True)
class Loader:
    """What reads the checkpoints of one family.

    Attributes
    ----------
    family : str
    role : {"force_field", "generator"}
    format : str
        The only one that it reads.
    place : str
        ``package.module:Class``.
    runs_code : bool
        Whether reading a checkpoint can run code of whoever wrote it: pickles, and configurations that name what to construct.
        Such a checkpoint is loaded only if it was computed here or is trusted by its sha256. Other loaders check what they read.
    published : mapping
        Checkpoints that only name published weights, name to sha256: trusted, whoever sends them.
    sources : tuple of str
        Places whose published weights this family reads without a question; the runner is told of them.
    """

    family: str
    role: Role
    format: str
    place: str
    runs_code: bool = True
    published: Mapping[str, str] = field(default_factory=dict)
    sources: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.family} {self.format} ({_words(self.role)})"


BUILT_IN: tuple[Loader, ...] = (
    Loader("chgnet", "force_field", "safetensors", "coevo.models.chgnet.force_field:ChgnetForceField", runs_code=False),
    Loader("embedded", "generator", "json", "coevo.models.random_crystals.generator:EmbeddedGenerator", runs_code=False),
    # A model directory: hydra constructs whatever its config.yaml names, and Lightning's checkpoints are pickles.
    Loader(
        "mattergen",
        "generator",
        "model-tar-1",
        "coevo.models.external.mattergen:MatterGenGenerator",
        runs_code=True,
        published={
            "chemical_system_energy_above_hull": "21852c6db0a2001bb5fbdb13548a2e755305643b488a41a569876d78ede47afd",
            "chemical_system": "1462adc65c131f2337da80d04cf64a85fedb9840a1980ce298c0a8beebadec71",
            "mattergen_base": "e4004432c97dd837208afe37f6a77438fac8f2b80946707d457fbc55df19a258",
            "small": "6622508618e2e4876115e6dade72e1ff27e179f9626ef67431d7d95f6ed9102e",
        },
        sources=("huggingface:microsoft/mattergen",),
    ),
)
"""The families that come with coevo."""


def built_in(role: Role) -> dict[str, Loader]:
    """Families that come with coevo, by name."""
    return {loader.family: loader for loader in BUILT_IN if loader.role == role}


def installed_generators() -> dict[str, EntryPoint]:
    """Families of generators that other installed packages bring, by name."""
    from importlib.metadata import entry_points

    return {point.name: point for point in entry_points(group=GENERATOR_GROUP)}


def loader_of(family: str, role: str) -> Loader:
    """Return the loader of a family in a role.

    Parameters
    ----------
    family : str
    role : str
        The slot of a state: only ``force_field`` and ``generator`` have loaders.

    Raises
    ------
    CheckpointError
        If there is none here: the family is unknown or not installed, or is no family of this role.
    """
    if role not in ROLES:
        raise CheckpointError(f"there is no loader for a checkpoint called {role[:80]!r}; there are: {', '.join(ROLES)}")
    known = built_in(role)
    if family in known:
        return known[family]
    others = [other for other in ROLES if other != role and family in built_in(other)]
    if others:
        raise CheckpointError(
            f"{family} is a family of {_words(others[0])}s and cannot be a {_words(role)}; allowed: {', '.join(known)}"
        )
    installed = installed_generators()
    if role == "generator" and family in installed:
        return _installed_loader(family, installed[family])
    if family in installed:
        raise CheckpointError(f"{family} is a family of generators and cannot be a {_words(role)}; allowed: {', '.join(known)}")
    names = sorted({*known, *(installed if role == "generator" else ())})
    raise CheckpointError(
        f"{family[:80]!r} is no {_words(role)} that is known here; known: {', '.join(names)}; install the package that brings it"
    )


def find_loader(family: str, form: str, role: str) -> Loader:
    """Return the loader that reads a checkpoint of this family and format in this role; raises as :func:`loader_of`.

    Raises
    ------
    CheckpointError
        Also if the family's loader reads another format.
    """
    loader = loader_of(family, role)
    if loader.format != form:
        raise CheckpointError(
            f"it is declared as {family} of format {form[:80]!r}, and the loader of {family} reads {loader.format!r} only"
        )
    return loader


def _installed_loader(family: str, point: EntryPoint) -> Loader:
    """Describe the family of another package, from its class; what the class does not say is taken for the worst."""
    try:
        cls: Any = point.load()
    except Exception as err:  # noqa: BLE001 - a package of somebody else can fail in any way while it is imported
        raise CheckpointError(
            f"generator family {family!r}: {point.value} cannot be imported: {type(err).__name__}: {err}; repair its package"
        ) from None
    form = getattr(cls, "format", None)
    if getattr(cls, "family", None) != family or not isinstance(form, str):
        raise CheckpointError(f"generator family {family!r}: {point.value} does not say this family and a format")
    # only what the class itself says: one that inherits from a harmless loader may read in its own way
    runs_code = vars(cls).get("runs_code", True) is not False
    return Loader(family, "generator", form, point.value, runs_code=runs_code)


def _words(role: str) -> str:
    return role.replace("_", " ")
