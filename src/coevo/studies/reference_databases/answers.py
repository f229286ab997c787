"""What a database gave for one sub-system, as it is kept on disk until all sub-systems are there."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pymatgen.core import Structure


@dataclass(frozen=True)
class DatabaseEntry:
    """A structure of a database.

    Attributes
    ----------
    id : str
        Of the database.
    structure : Structure
        Ordered, of the elements asked for.
    energy_above_hull, formation_energy_per_atom : float or None
        As the database gives them, on its own hull and scale, eV/atom. They never enter energies of a node.
    licence : str
        Of this entry, where the database names one for it; else empty.
    modified : str
        When the database changed it last, in its own words; else empty.
    """

    id: str
    structure: Structure
    energy_above_hull: float | None = None
    formation_energy_per_atom: float | None = None
    licence: str = ""
    modified: str = ""


@dataclass(frozen=True)
class SystemAnswer:
    """What a database gave for one sub-system.

    Attributes
    ----------
    spec : str
        The database, as the user named it.
    system : tuple of str
    read_at : str
        ISO 8601, UTC.
    version : str
        Of the database, in its own words; empty if it says none.
    entries : list of DatabaseEntry
    left_out : dict of str to int
        Structures that could not be used, by reason.
    notes, missing : list of str
        What the server warned of; what speaks against the answer being whole.
    """

    spec: str
    system: tuple[str, ...]
    read_at: str
    version: str = ""
    entries: list[DatabaseEntry] = field(default_factory=list)
    left_out: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    @property
    def received(self) -> int:
        """Structures that the database gave, those that could not be used among them."""
        return len(self.entries) + sum(self.left_out.values())

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        entries = [{**vars(entry), "structure": geometry(entry.structure)} for entry in self.entries]
        return {**vars(self), "system": list(self.system), "entries": entries}


def answer_from_dict(data: Any) -> SystemAnswer:
    """Read an answer that was kept; only known fields are looked at.

    Raises
    ------
    ValueError, LookupError, TypeError, AttributeError
        If it is none.
    """
    from coevo.configs.structures.json_structures import check_item, structure_from_item

    entries = []
    for item in data["entries"]:
        check_item(item)
        entries.append(
            DatabaseEntry(
                str(item["id"]),
                structure_from_item(item),
                finite(item["energy_above_hull"]),
                finite(item["formation_energy_per_atom"]),
                str(item["licence"]),
                str(item["modified"]),
            )
        )
    return SystemAnswer(
        str(data["spec"]),
        tuple(map(str, data["system"])),
        str(data["read_at"]),
        str(data["version"]),
        entries,
        {str(reason): int(count) for reason, count in data["left_out"].items()},
        list(map(str, data["notes"])),
        list(map(str, data["missing"])),
    )


def geometry(structure: Structure) -> dict[str, Any]:
    """Lattice (Å) and sites (fractional) alone, as pymatgen writes them."""
    sites = [{"species": [{"element": site.specie.symbol, "occu": 1}], "abc": site.frac_coords.tolist()} for site in structure]
    return {"lattice": {"matrix": structure.lattice.matrix.tolist()}, "sites": sites}


def finite(value: Any) -> float | None:
    """Return a number that is one, None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)
