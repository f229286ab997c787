"""Known structures: what a set of them is, which structures can be in one, and why the others cannot."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pymatgen.core import Structure

    from coevo.studies.piles.parsing import Limits


@dataclass(frozen=True)
class KnownStructure:
    """A structure of a set.

    Attributes
    ----------
    id : str
        Its name in the set.
    structure : Structure
        Ordered, within the elements asked for.
    """

    id: str
    structure: Structure


@dataclass(frozen=True)
class KnownSet:
    """What a source gave.

    Attributes
    ----------
    source : str
        Where the structures come from.
    read_at : str
        When they were read there, ISO 8601, UTC.
    elements : tuple of str
        Only structures of these were taken.
    structures : list of KnownStructure
    left_out : dict of str to int
        Structures that could not be used, by reason; ``off_system`` are those of other elements.
    notes : list of str
        What a reader of the numbers should know, such as what a server warned of.
    missing : list of str
        What speaks against the set being whole, such as a server that announced more than it gave.
    """

    source: str
    read_at: str
    elements: tuple[str, ...]
    structures: list[KnownStructure]
    left_out: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    @property
    def received(self) -> int:
        """Structures of the elements that the source gave, those that could not be used among them."""
        return len(self.structures) + sum(count for reason, count in self.left_out.items() if reason != "off_system")

    @property
    def is_whole(self) -> bool:
        """Whether every structure that the source has of the elements was compared, as far as one can know."""
        return self.received == len(self.structures) and not self.missing

    def describe(self) -> dict[str, Any]:
        """Return name, size and date of the set, as every count that rests on it must name them."""
        return {
            "source": self.source,
            "read_at": self.read_at,
            "elements": list(self.elements),
            "size": len(self.structures),
            "received": self.received,
            "left_out": dict(sorted(self.left_out.items())),
            "whole": self.is_whole,
            "missing": list(self.missing),
            "notes": list(self.notes),
        }


def limits_for_known(elements: Sequence[str]) -> Limits:
    """What a known structure must keep to: its elements, and no more than being a crystal at all."""
    from coevo.studies.piles.parsing import Limits

    return Limits(
        elements=tuple(elements),
        max_atoms=1000,
        min_distance=0.4,
        min_volume_per_atom=1.0,
        max_volume_per_atom=1000.0,
        max_length_ratio=100.0,
    )


def reason_against(structure: Structure, elements: Sequence[str]) -> str | None:
    """Why a structure of a set cannot be used, None if it can."""
    from coevo.analysis.sanity import check_structure

    limits = limits_for_known(elements)
    return check_structure(
        structure,
        elements,
        min_distance=limits.min_distance,
        min_volume_per_atom=limits.min_volume_per_atom,
        max_volume_per_atom=limits.max_volume_per_atom,
        max_length_ratio=limits.max_length_ratio,
        max_atoms=limits.max_atoms,
    )


def utc_now() -> str:
    """Return the present second, ISO 8601, UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")
