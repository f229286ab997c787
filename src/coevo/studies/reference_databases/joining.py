"""Structures of several databases as one set: the same crystal once, with all its ids, and each element by itself among them.

The geometry of a crystal is that of the first database that has it. What the databases say of its energy is kept beside it,
database by database, and mixed neither with each other nor with a node's energies.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from coevo.errors import ReferenceDataError
from coevo.output.progress import task

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pymatgen.core import Structure

    from coevo.studies.reference_databases.answers import DatabaseEntry, SystemAnswer
    from coevo.studies.reference_databases.fetching import DatabaseAnswers


@dataclass(frozen=True)
class Member:
    """An entry with where it is from."""

    answers: DatabaseAnswers
    answer: SystemAnswer
    entry: DatabaseEntry

    def provenance(self) -> dict[str, Any]:
        """What the database says of it: id, version, dates, licence, and energies under the names of what they are."""
        database, entry = self.answers.database, self.entry
        return {
            "database": database.shown,
            "id": entry.id,
            "version": self.answer.version,
            "fetched_at": self.answer.read_at,
            "modified": entry.modified,
            "licence": self.licence,
            "energy_above_hull": entry.energy_above_hull,
            "formation_energy_per_atom": entry.formation_energy_per_atom,
        }

    @property
    def licence(self) -> str:
        """Of the entry, else of the database; empty if unknown."""
        return self.entry.licence or self.answers.licence


@dataclass(frozen=True)
class Phase:
    """A crystal.

    Attributes
    ----------
    members : list of Member
        All entries that are this crystal; the first gives the geometry.
    """

    members: list[Member]

    @property
    def structure(self) -> Structure:
        """Geometry of the first database."""
        return self.members[0].entry.structure

    @property
    def system(self) -> tuple[str, ...]:
        """Its elements."""
        return self.members[0].answer.system

    @property
    def lowest(self) -> float | None:
        """Smallest energy above hull that a database gives, each on its own hull, eV/atom."""
        return min((m.entry.energy_above_hull for m in self.members if m.entry.energy_above_hull is not None), default=None)


@dataclass
class SystemCount:
    """What became of the entries of one sub-system of one database.

    Attributes
    ----------
    database : str
    system : str
    received, kept, duplicates, above, without_hull : int
        Structures given; phases of which this is the geometry; entries that are one of the phases kept, by another entry;
        entries above the energy allowed; entries without an energy above hull, where the database gives it to others.
    left_out : dict of str to int
        Unusable ones, by reason.
    notes : list of str
    """

    database: str
    system: str
    received: int
    kept: int = 0
    duplicates: int = 0
    above: int = 0
    without_hull: int = 0
    left_out: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class JoinedSet:
    """Phases of several databases.

    Attributes
    ----------
    phases : list of Phase
        By database and sub-system, the lowest first.
    counts : list of SystemCount
    notes : list of str
        What a reader should know.
    missing_elements : list of str
        Elements of which no database has a structure of its own.
    """

    phases: list[Phase]
    counts: list[SystemCount]
    notes: list[str]
    missing_elements: list[str]

    def check_elements(self) -> None:
        """Refuse a set without one of the elements.

        Raises
        ------
        ReferenceDataError
            Naming them.
        """
        if self.missing_elements:
            missing = ", ".join(self.missing_elements)
            raise ReferenceDataError(
                f"references: no database asked has a usable structure of {missing} alone, nor has the bundled set of elements, "
                "and the convex hull needs one of each element; ask another database too (--from … --from …), or write the rest "
                "(--incomplete) and give the element in a file of its own: --references FETCHED+FILE"
            )


def join(answers: Sequence[DatabaseAnswers], elements: Sequence[str], max_e_hull: float | None, *, workers: int = 1) -> JoinedSet:
    """Join what databases gave.

    Parameters
    ----------
    answers : sequence of DatabaseAnswers
        The first that has a crystal gives its geometry.
    elements : sequence of str
    max_e_hull : float or None
        Phases that no database has at this energy above its own hull or below, eV/atom, are left out; None keeps all. Of a
        database that gives no such energy all are kept, and of one that gives it, entries without it are not.
    workers : int
        Processes; the answer does not depend on it.
    """
    members = [
        Member(found, answer, entry)
        for found in answers
        for answer in found.systems
        for entry in sorted(answer.entries, key=_lowest_first)
    ]
    phases = list(_phases(members, workers))
    kept = [phase for phase in phases if _is_within(phase, max_e_hull)]
    notes: list[str] = []
    if max_e_hull is not None:
        notes += _elements_kept(phases, kept, elements, max_e_hull)
        notes += [
            f"{found.database.shown} gives no energy above hull that is known here: all of its structures are kept"
            for found in answers
            if not found.database.has_hull
        ]
    have = {phase.system[0] for phase in kept if len(phase.system) == 1}
    order = {id(phase): number for number, phase in enumerate(phases)}
    kept.sort(key=lambda phase: order[id(phase)])
    counts = _count(answers, phases, {id(phase) for phase in kept}, max_e_hull)
    return JoinedSet(kept, counts, notes, [symbol for symbol in sorted(elements) if symbol not in have])


def _lowest_first(entry: DatabaseEntry) -> tuple[bool, float, str]:
    hull = entry.energy_above_hull
    return hull is None, hull or 0.0, entry.id


def _phases(members: Sequence[Member], workers: int) -> Iterator[Phase]:
    """Group entries by the novelty test of a node with default tolerances, in the order given."""
    from coevo.analysis.comparison.matching import Matching
    from coevo.analysis.comparison.uniqueness import Item, find_representatives

    # the order stands where energies are elsewhere: earlier ones become representatives
    items = [Item(f"{number:08d}", member.entry.structure, float(number)) for number, member in enumerate(members)]
    with task("comparing structures", len(items), "structures") as advance:
        assigned = find_representatives(items, [], Matching(), workers=workers, progress=advance)
    groups: dict[str, list[Member]] = defaultdict(list)
    for item, member in zip(items, members, strict=True):
        groups[assigned[item.id]].append(member)
    yield from (Phase(group) for _, group in sorted(groups.items()))


def _is_within(phase: Phase, most: float | None) -> bool:
    if most is None or any(not member.answers.database.has_hull for member in phase.members):
        return True
    return phase.lowest is not None and phase.lowest <= most


def _elements_kept(phases: Sequence[Phase], kept: list[Phase], elements: Sequence[str], most: float) -> Iterator[str]:
    """Keep the lowest structure of an element of which none is low enough: there is no hull without it."""
    for symbol in sorted(elements):
        if any(phase.system == (symbol,) for phase in kept):
            continue
        own = [phase for phase in phases if phase.system == (symbol,)]
        valued = [phase for phase in own if phase.lowest is not None]
        chosen = [min(valued, key=lambda phase: phase.lowest or 0.0)] if valued else own
        kept += chosen
        if valued:
            lowest = f"{chosen[0].members[0].entry.id}, {chosen[0].lowest:.3f} eV/atom"
            yield f"{symbol}: no structure within {most:g} eV/atom; the lowest is kept all the same ({lowest})"
        elif chosen:
            yield f"{symbol}: no structure has an energy above hull; all {len(chosen)} are kept"


def _count(answers: Sequence[DatabaseAnswers], phases: Sequence[Phase], kept: set[int], most: float | None) -> list[SystemCount]:
    counts = {
        id(answer): SystemCount(
            found.database.shown,
            "-".join(answer.system),
            answer.received,
            left_out=dict(sorted(answer.left_out.items())),
            notes=[*answer.missing, *answer.notes],
        )
        for found in answers
        for answer in found.systems
    }
    fates: dict[int, Counter[str]] = defaultdict(Counter)
    for phase in phases:
        for number, member in enumerate(phase.members):
            if id(phase) in kept:
                fate = "duplicates" if number else "kept"
            else:
                fate = "without_hull" if most is not None and member.entry.energy_above_hull is None else "above"
            fates[id(member.answer)][fate] += 1
    for key, fate_counts in fates.items():
        for fate, count in fate_counts.items():
            setattr(counts[key], fate, count)
    return list(counts.values())
