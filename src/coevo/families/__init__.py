"""Model families as plain descriptors: names, formats, loaders, trust, packages, scales, environments.

This is the one table that decides about checkpoints, and it holds what is installed on this machine. What a checkpoint or a state
says of itself only chooses a row: a (family, format, role) without a row has no loader here and is not loaded, and whether a
loader can run code follows from the loader, never from bytes or documents. Nothing of torch or of a model is imported to ask,
except what another package's entry point names, which was installed by whoever runs this.

A family of another package is an entry point: of ``coevo.force_fields`` a :class:`Family`, of ``coevo.generators`` a
:class:`Family` or the class itself.
"""

from __future__ import annotations

import sys
from functools import cache
from typing import TYPE_CHECKING, Any

from coevo.errors import CheckpointError
from coevo.families.built_in import FAMILIES
from coevo.families.descriptor import CAPABILITIES, ROLES, Checkout, ExternalFamily, Family, Loader, Role, Weights

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

__all__ = ["CAPABILITIES", "FAMILIES", "ROLES", "Checkout", "ExternalFamily", "Family", "Loader", "Role", "Weights"]

GENERATOR_GROUP = "coevo.generators"
FORCE_FIELD_GROUP = "coevo.force_fields"
GROUPS: dict[str, str] = {"force_field": FORCE_FIELD_GROUP, "generator": GENERATOR_GROUP}
"""Groups of the entry points by which other packages bring families: ``NAME = "package.module:OBJECT"``."""

BUILT_IN: tuple[Loader, ...] = tuple(family.loader for family in FAMILIES)
"""Loaders of the families that come with coevo."""

DEFAULT_FORCE_FIELD = next(family for family in FAMILIES if family.role == "force_field")
"""The force field where none is named."""


DEFAULT_GENERATOR = next(family for family in FAMILIES if family.role == "generator")
"""The generator where none is named."""


COMMITTEE = "committee/"
"""How the slots of a state begin whose force fields judge beside its own: ``committee/NAME``."""


FURTHER_GENERATORS = "generator/"
"""How the slots of a state begin whose generators draw beside that of ``generator``: ``generator/FAMILY``."""


def role_of(slot: str) -> str:
    """What the checkpoint in a slot of a state is: a member of the second opinion is a force field."""
    if slot.startswith(FURTHER_GENERATORS):
        return "generator"
    return "force_field" if slot.startswith(COMMITTEE) else slot


def built_in(role: str) -> dict[str, Loader]:
    """Loaders of the families that come with coevo, by name."""
    return {loader.family: loader for loader in BUILT_IN if loader.role == role}


def entry_points_of(group: str) -> dict[str, EntryPoint]:
    """Entry points of a group, by name; those of what is on ``sys.path`` when it is first asked for."""
    return dict(_entry_points_on(tuple(sys.path), group))


@cache
def _entry_points_on(path: tuple[str, ...], group: str) -> dict[str, EntryPoint]:  # noqa: ARG001 - told apart by it
    """Read them once: the metadata of some two hundred distributions take tenths of a second each time."""
    from importlib.metadata import entry_points

    return {point.name: point for point in entry_points(group=group)}


def installed(role: str) -> dict[str, EntryPoint]:
    """Entry points of the families of a role that other installed packages bring, by name."""
    return entry_points_of(GROUPS[role])


def is_known(family: str, role: str) -> bool:
    """Whether a family of a role is known here; other packages are looked through only if it is none of coevo's own."""
    return family in built_in(role) or family in installed(role)


def names_of(role: str) -> tuple[str, ...]:
    """Families of a role that are known here, coevo's own first."""
    own = sorted(built_in(role))
    return (*own, *sorted(set(installed(role)) - set(own)))


def descriptor_of(family: str, role: str) -> Family:
    """Return the descriptor of a family in a role; raises as :func:`loader_of`."""
    own = next((one for one in FAMILIES if (one.name, one.role) == (family, role)), None)
    if own is not None:
        return own
    if role in ROLES and family not in built_in(role) and family in installed(role):
        return _installed_family(family, role, installed(role)[family])
    loader = loader_of(family, role)
    return Family(loader, title=family)


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
    others = [other for other in ROLES if other != role]
    foreign = next((other for other in others if family in built_in(other)), None)
    points = installed(role)
    if foreign is None and family in points:
        return _installed_family(family, role, points[family]).loader
    foreign = foreign or next((other for other in others if family in installed(other)), None)
    if foreign is not None:
        raise CheckpointError(
            f"{family} is a family of {_words(foreign)}s and cannot be a {_words(role)}; allowed: {', '.join(names_of(role))}"
        )
    raise CheckpointError(
        f"{family[:80]!r} is no {_words(role)} that is known here; known: {', '.join(sorted(names_of(role)))}; install the "
        "package that brings it"
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


def _installed_family(family: str, role: str, point: EntryPoint) -> Family:
    """Read the descriptor of another package's family, or make one of its class."""
    what = f"{_words(role)} family {family!r}: {point.value}"
    try:
        found: Any = point.load()
    except Exception as err:  # noqa: BLE001 - a package of somebody else can fail in any way while it is imported
        raise CheckpointError(f"{what} cannot be imported: {type(err).__name__}: {err}; repair its package") from None
    if isinstance(found, Family):
        if (found.name, found.role) != (family, role):
            raise CheckpointError(f"{what} describes {found.name} as a {_words(found.role)}; its entry point must say the same")
        return found
    if role == "force_field":
        raise CheckpointError(f"{what} is no coevo.families.Family, got {type(found).__name__} (docs/force-fields.md)")
    return _family_of_class(family, point, found)


def _family_of_class(family: str, point: EntryPoint, cls: Any) -> Family:
    """Describe a generator by its class; what the class does not say is taken for the worst."""
    form = getattr(cls, "format", None)
    if getattr(cls, "family", None) != family or not isinstance(form, str):
        raise CheckpointError(f"generator family {family!r}: {point.value} does not say this family and a format")
    # only what the class itself says: one that inherits from a harmless loader may read in its own way
    runs_code = vars(cls).get("runs_code", True) is not False
    loader = Loader(family, "generator", form, point.value, runs_code=runs_code)
    packages = () if point.dist is None else (point.dist.name,)
    return Family(loader, title=family, packages=packages, environment=getattr(cls, "external", None))


def _words(role: str) -> str:
    return role.replace("_", " ")
