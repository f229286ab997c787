"""Which motifs a population holds, since when, and which entry carries each at the lowest energy."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

from coevo.analysis.bonds import DEFAULT_RULE
from coevo.analysis.cell_reduction import Crystal
from coevo.analysis.motifs import motifs_of
from coevo.analysis.worker_processes import map_chunks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from pymatgen.core import Structure

    from coevo.analysis.bonds import BondRule
    from coevo.analysis.motifs import Motif

_CHUNK = 100


@dataclass(frozen=True)
class Carrier:
    """A structure whose motifs are counted.

    Attributes
    ----------
    id : str
    structure : Structure or Crystal
    e_hull : float or None
        eV/atom; None if unknown.
    iteration : int or None
        In which it was added; None if unknown.
    is_reference : bool
        A known structure, which counts for ``in_references`` only.
    """

    id: str
    structure: Structure | Crystal
    e_hull: float | None = None
    iteration: int | None = None
    is_reference: bool = False


@dataclass(frozen=True)
class CensusRow:
    """One motif of a population.

    Attributes
    ----------
    motif : Motif
        The example is that of the best carrier; where only references have it, of the first of them.
    carriers : int
        Structures with this motif, references left out.
    atoms_share : float
        Of all atoms of all structures, metals included and references left out; zero if there is none.
    first_iteration : int or None
        Lowest iteration of a carrier.
    by_iteration : dict of int to int
        Carriers added in each iteration, rising; iterations without one are left out.
    best_e_hull : float or None
        eV/atom; lowest of the carriers.
    best_carrier : str or None
        Id of the carrier of that energy (of equals, and without energies, the lowest id); None if only references have it.
    in_references : bool
    references : tuple of str
        Ids of the references with this motif, sorted.
    """

    motif: Motif
    carriers: int
    atoms_share: float
    first_iteration: int | None
    by_iteration: dict[int, int]
    best_e_hull: float | None
    best_carrier: str | None
    in_references: bool
    references: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {
            **self.motif.to_dict(),
            "carriers": self.carriers,
            "atoms_share": self.atoms_share,
            "first_iteration": self.first_iteration,
            "by_iteration": {str(iteration): count for iteration, count in self.by_iteration.items()},
            "best_e_hull": self.best_e_hull,
            "best_carrier": self.best_carrier,
            "in_references": self.in_references,
            "references": list(self.references),
        }


@dataclass(frozen=True)
class _Found:
    """What a carrier has: everything of it but the structure."""

    id: str
    e_hull: float | None
    iteration: int | None
    is_reference: bool
    sites: int
    motif: Motif

    @property
    def rank(self) -> tuple[bool, bool, float, str]:
        return self.is_reference, self.e_hull is None, self.e_hull or 0.0, self.id


def census(
    carriers: Iterable[Carrier],
    rule: BondRule = DEFAULT_RULE,
    *,
    workers: int = 1,
    progress: Callable[[int], None] | None = None,
) -> list[CensusRow]:
    """Count the motifs of a population.

    Parameters
    ----------
    carriers : iterable of Carrier
        In any order; a generator of them is never held as a whole.
    rule : BondRule
        Which atoms are bonded.
    workers : int
        Processes; the rows do not depend on it.
    progress : callable, optional
        Called with the number of structures done since the last call.

    Returns
    -------
    list of CensusRow
        By falling number of carriers, then by name and label.
    """
    by_label: dict[str, list[_Found]] = {}
    sites = 0
    for part in map_chunks(partial(_found, rule=rule), _chunks(carriers), workers=workers, progress=progress, size=len):
        for total, found in part:
            sites += total
            for one in found:
                by_label.setdefault(one.motif.label, []).append(one)
    rows = [_row(found, sites) for found in by_label.values()]
    return sorted(rows, key=lambda row: (-row.carriers, row.motif.name, row.motif.label))


def _chunks(carriers: Iterable[Carrier]) -> Iterator[list[Carrier]]:
    """Portions with their crystals as arrays, which travel to another process in a tenth of the time of structures."""
    remaining = iter(carriers)
    while chunk := list(islice(remaining, _CHUNK)):
        yield [Carrier(c.id, _crystal(c.structure), c.e_hull, c.iteration, c.is_reference) for c in chunk]


def _crystal(structure: Structure | Crystal) -> Crystal:
    return structure if isinstance(structure, Crystal) else Crystal.from_structure(structure)


def _found(chunk: list[Carrier], rule: BondRule) -> list[tuple[int, list[_Found]]]:
    """Sites that count, and motifs, of each carrier."""
    return [
        (
            0 if c.is_reference else len(_crystal(c.structure).numbers),
            [
                _Found(c.id, c.e_hull, c.iteration, c.is_reference, motif.atoms, motif)
                for motif in motifs_of(_crystal(c.structure), rule)
            ],
        )
        for c in chunk
    ]


def _row(found: list[_Found], sites: int) -> CensusRow:
    entries = [one for one in found if not one.is_reference]
    references = sorted(one.id for one in found if one.is_reference)
    best = min(found, key=lambda one: one.rank)
    iterations = Counter(one.iteration for one in entries if one.iteration is not None)
    return CensusRow(
        motif=best.motif,
        carriers=len(entries),
        atoms_share=sum(one.sites for one in entries) / sites if sites else 0.0,
        first_iteration=min(iterations, default=None),
        by_iteration=dict(sorted(iterations.items())),
        best_e_hull=best.e_hull if entries else None,
        best_carrier=best.id if entries else None,
        in_references=bool(references),
        references=tuple(references),
    )
