"""Which motifs a population holds, since when, and which entry carries each at the lowest energy."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

from coevo.analysis.cell_reduction import Crystal
from coevo.analysis.motifs.bonds import DEFAULT_RULE
from coevo.analysis.motifs.motifs import motifs_of, unbalanced_charge
from coevo.processes import map_chunks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from pymatgen.core import Structure

    from coevo.analysis.motifs.bonds import BondRule
    from coevo.analysis.motifs.motifs import Motif

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
class ChargeBalance:
    """Whether the charges of a structure's motifs and of its metals, in their usual states, add up to zero.

    Attributes
    ----------
    balanced : int
        Structures whose charges add up.
    unbalanced : dict of str to int
        Sum of the others by id, elementary charges, where all charges are known.
    unknown : int
        Structures with a motif without a certain charge, with a metal of several usual states, or with metals only.
    """

    balanced: int
    unbalanced: dict[str, int]
    unknown: int

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {"balanced": self.balanced, "unbalanced": dict(self.unbalanced), "unknown": self.unknown}


@dataclass(frozen=True)
class Survey:
    """Census of a population with the check of its charges; ``structures`` and ``references`` count what was looked at."""

    rows: list[CensusRow]
    charges: ChargeBalance
    structures: int
    references: int


@dataclass(frozen=True)
class _Look:
    """What a carrier has: everything of it but the structure."""

    id: str
    e_hull: float | None
    iteration: int | None
    is_reference: bool
    sites: int
    charge: int | None
    motifs: tuple[Motif, ...] = ()

    @property
    def rank(self) -> tuple[bool, bool, float, str]:
        """Order in which carriers are the best one."""
        return self.is_reference, self.e_hull is None, self.e_hull or 0.0, self.id


class _Tally:
    """Counts of one motif so far; of the examples only the best is kept."""

    def __init__(self) -> None:
        self.best: tuple[_Look, Motif] | None = None
        self.carriers = self.atoms = 0
        self.iterations: Counter[int] = Counter()
        self.references: list[str] = []

    def take(self, look: _Look, motif: Motif) -> None:
        """Count one structure with the motif."""
        if self.best is None or look.rank < self.best[0].rank:
            self.best = (look, motif)
        if look.is_reference:
            self.references.append(look.id)
            return
        self.carriers += 1
        self.atoms += motif.atoms
        if look.iteration is not None:
            self.iterations[look.iteration] += 1

    def row(self, sites: int) -> CensusRow:
        """The row of the census; ``sites`` are the atoms of all structures but the references."""
        assert self.best is not None
        best, example = self.best
        return CensusRow(
            motif=example,
            carriers=self.carriers,
            atoms_share=self.atoms / sites if sites else 0.0,
            first_iteration=min(self.iterations, default=None),
            by_iteration=dict(sorted(self.iterations.items())),
            best_e_hull=best.e_hull if self.carriers else None,
            best_carrier=best.id if self.carriers else None,
            in_references=bool(self.references),
            references=tuple(sorted(self.references)),
        )


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
    return survey(carriers, rule, workers=workers, progress=progress).rows


def survey(
    carriers: Iterable[Carrier],
    rule: BondRule = DEFAULT_RULE,
    *,
    workers: int = 1,
    progress: Callable[[int], None] | None = None,
) -> Survey:
    """Count the motifs of a population and check their charges; parameters as in :func:`census`."""
    tallies: dict[str, _Tally] = {}
    sums: list[tuple[str, int | None]] = []
    sites = references = 0
    for part in map_chunks(partial(_looks, rule=rule), _chunks(carriers), workers=workers, progress=progress):
        for look in part:
            references += look.is_reference
            sites += 0 if look.is_reference else look.sites
            sums.append((look.id, look.charge))
            for motif in look.motifs:
                tallies.setdefault(motif.label, _Tally()).take(look, motif)
    rows = sorted(
        (tally.row(sites) for tally in tallies.values()), key=lambda row: (-row.carriers, row.motif.name, row.motif.label)
    )
    charges = ChargeBalance(
        balanced=sum(charge == 0 for _, charge in sums),
        unbalanced=dict(sorted((name, charge) for name, charge in sums if charge)),
        unknown=sum(charge is None for _, charge in sums),
    )
    return Survey(rows, charges, len(sums) - references, references)


def _chunks(carriers: Iterable[Carrier]) -> Iterator[list[Carrier]]:
    """Portions with their crystals as arrays, which travel to another process in a tenth of the time of structures."""
    remaining = iter(carriers)
    while chunk := list(islice(remaining, _CHUNK)):
        yield [Carrier(c.id, _crystal(c.structure), c.e_hull, c.iteration, c.is_reference) for c in chunk]


def _crystal(structure: Structure | Crystal) -> Crystal:
    return structure if isinstance(structure, Crystal) else Crystal.from_structure(structure)


def _looks(chunk: list[Carrier], rule: BondRule) -> list[_Look]:
    looks = []
    for carrier in chunk:
        crystal = _crystal(carrier.structure)
        motifs = motifs_of(crystal, rule)
        charge = unbalanced_charge(crystal, motifs)
        sites = len(crystal.numbers)
        looks.append(_Look(carrier.id, carrier.e_hull, carrier.iteration, carrier.is_reference, sites, charge, tuple(motifs)))
    return looks
