"""Which known phases came back: entries that match a target by structure, and motifs of a target that appear in entries.

By structure is the test that curation makes: StructureMatcher semantics and the veto of the bond-graph fragments, the target on
the side of the reference (:mod:`coevo.analysis.comparison.uniqueness`). The distance of a match is pymatgen's root mean square
displacement of paired sites.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from coevo.analysis.comparison.grouping import first_matches
from coevo.analysis.comparison.uniqueness import table_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pymatgen.core import Structure

    from coevo.analysis.comparison.fingerprint_table import FingerprintTable
    from coevo.analysis.comparison.matching import Matching
    from coevo.analysis.comparison.uniqueness import Item


@dataclass(frozen=True)
class Found:
    """What is known of an entry besides its geometry.

    Attributes
    ----------
    id : str
    formula : str
        Reduced.
    iteration : int
        Of the state that admitted it.
    energy_above_hull : float
        eV/atom, by the state's force field.
    """

    id: str
    formula: str
    iteration: int
    energy_above_hull: float


@dataclass(frozen=True)
class Displacement:
    """How far two matching crystals are apart; both are scaled to the geometric mean of their volumes per atom.

    Attributes
    ----------
    rms : float
        Root mean square displacement of paired sites, in units of (V/N)^(1/3), as ``StructureMatcher.get_rms_dist`` gives it.
    rms_angstrom : float
        The same, Å: times (V/N)^(1/3) of that mean volume.
    largest : float
        Largest displacement, in units of (V/N)^(1/3).
    volume_ratio : float
        Volume per atom of the entry over that of the target.
    """

    rms: float
    rms_angstrom: float
    largest: float
    volume_ratio: float


@dataclass(frozen=True)
class StructureMatch:
    """An entry that is the target.

    Attributes
    ----------
    entry : Found
    displacement : Displacement or None
        None where pymatgen's matcher pairs no sites: matches of the kind "disordered", and borderline ones.
    """

    entry: Found
    displacement: Displacement | None


@dataclass(frozen=True)
class MotifReturn:
    """Where a motif of a target appears among the entries.

    Attributes
    ----------
    motif : str
        Its name.
    entries : int
        Entries of any composition that hold it.
    first_iteration : int or None
        The first iteration that admitted one.
    entries_of_formula : int
        Those of them with the target's reduced formula.
    first_iteration_of_formula : int or None
    """

    motif: str
    entries: int
    first_iteration: int | None
    entries_of_formula: int
    first_iteration_of_formula: int | None


@dataclass(frozen=True)
class Rediscovery:
    """What became of one target.

    Attributes
    ----------
    name, source : str
    formula : str
        Reduced.
    nsites : int
    reference : str or None
        Id of the reference of the state that the target is; None if the state was not told of it.
    energy_above_hull : float or None
        Of the target on the state's hull, by the state's force field, eV/atom (negative: below it); None if it was not evaluated.
    note : str
        Why it was not evaluated, where that was wanted.
    matches : int
        Entries that are the target, duplicates counted.
    first_iteration : int or None
        The first iteration that admitted one of them.
    best : StructureMatch or None
        The one with the smallest displacement.
    entries_of_formula : int
        Entries with the target's reduced formula.
    nearest : Found or None
        Where no entry matches: the entry of that formula with the lowest E_hull, which is another structure.
    motifs : tuple of MotifReturn or None
        None if motifs were not looked for; empty if the target has none (a metal).
    """

    name: str
    source: str
    formula: str
    nsites: int
    reference: str | None
    energy_above_hull: float | None
    note: str
    matches: int
    first_iteration: int | None
    best: StructureMatch | None
    entries_of_formula: int
    nearest: Found | None
    motifs: tuple[MotifReturn, ...] | None

    @property
    def by_structure(self) -> bool:
        """Whether an entry is the target."""
        return self.best is not None

    @property
    def by_motif(self) -> bool | None:
        """Whether each motif of the target appears in some entry; None if it has none, or none was looked for."""
        return all(motif.entries for motif in self.motifs) if self.motifs else None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types; energies in eV/atom, displacements in units of (V/N)^(1/3) and Å."""
        return {**asdict(self), "by_structure": self.by_structure, "by_motif": self.by_motif}


@dataclass(frozen=True)
class Carrier:
    """The motifs of a target or an entry.

    Attributes
    ----------
    formula : str
        Reduced.
    iteration : int
    motifs : mapping of str to str
        Canonical label to name.
    """

    formula: str
    iteration: int
    motifs: Mapping[str, str]


def match_targets(
    targets: Sequence[Item],
    entries: Sequence[Item],
    matching: Matching,
    *,
    known: FingerprintTable | None = None,
    workers: int = 1,
) -> dict[str, list[str]]:
    """Find all entries that each target is.

    Parameters
    ----------
    targets, entries : sequence of Item
        Ids must be unique among both.
    matching : Matching
        The tolerances of the node's curation.
    known : FingerprintTable, optional
        Rows that were made before, by id; what it lacks is made.
    workers : int
        Processes that describe structures; the answer does not depend on it.

    Returns
    -------
    dict of str to list of str
        Id of each target to the ids of its entries, in the order of ``entries``. Two targets that match each other may both have
        an entry.
    """
    table = table_of([*targets, *entries], known, fragments=matching.fragment_veto, workers=workers)
    formulas = [item.structure.composition.reduced_formula for item in entries]
    answer: dict[str, list[str]] = {}
    for row, target in enumerate(targets):
        formula = target.structure.composition.reduced_formula
        alike = [len(targets) + number for number, other in enumerate(formulas) if other == formula]
        matches = first_matches(table.take([row, *alike]), 1, matching).tolist() if alike else []
        answer[target.id] = [table.ids[other] for other, match in zip(alike, matches, strict=True) if match == 0]
    return answer


def displacement(target: Structure, entry: Structure, matching: Matching) -> Displacement | None:
    """Displacement of an entry's sites from those of a target, None if pymatgen's matcher pairs none within the tolerances."""
    from pymatgen.core.structure_matcher import StructureMatcher

    matcher = StructureMatcher(ltol=matching.ltol, stol=matching.stol, angle_tol=matching.angle_tol)
    # which of the two is laid on the other decides at the edge of the tolerances
    pairing = matcher.get_rms_dist(target, entry) or matcher.get_rms_dist(entry, target)
    if pairing is None:
        return None
    volumes = target.volume / len(target), entry.volume / len(entry)
    length = (volumes[0] * volumes[1]) ** (1 / 6)
    rms, largest = (float(value) for value in pairing)
    return Displacement(rms, rms * length, largest, volumes[1] / volumes[0])


def best_match(matches: Iterable[StructureMatch]) -> StructureMatch | None:
    """Return the match with the smallest displacement; those without one come last, ties go by iteration and id."""
    return min(matches, key=_closeness, default=None)


def _closeness(match: StructureMatch) -> tuple[bool, float, int, str]:
    measured = match.displacement
    return (measured is None, 0.0 if measured is None else measured.rms, match.entry.iteration, match.entry.id)


def lowest(entries: Iterable[Found]) -> Found | None:
    """Return the entry with the lowest E_hull; ties go by id."""
    return min(entries, key=lambda entry: (entry.energy_above_hull, entry.id), default=None)


def motif_returns(target: Carrier, entries: Sequence[Carrier]) -> tuple[MotifReturn, ...]:
    """Look for each motif of a target among the entries, by canonical label; in the order of names."""
    returns = []
    for label, name in sorted(target.motifs.items(), key=lambda item: (item[1], item[0])):
        holding = [entry for entry in entries if label in entry.motifs]
        same = [entry for entry in holding if entry.formula == target.formula]
        returns.append(MotifReturn(name, len(holding), _first(holding), len(same), _first(same)))
    return tuple(returns)


def _first(carriers: Sequence[Carrier]) -> int | None:
    return min((carrier.iteration for carrier in carriers), default=None)


def summary_line(rows: Sequence[Rediscovery], kind: str = "withheld phases") -> str:
    """Say in one line how many targets came back: ``2 of 3 withheld phases came back by structure, 3 of 3 by motif``."""
    if not rows:
        return f"no {kind}"
    line = f"{sum(row.by_structure for row in rows)} of {len(rows)} {kind} came back by structure"
    judged = [row for row in rows if row.by_motif is not None]
    if judged:
        line += f", {sum(bool(row.by_motif) for row in judged)} of {len(judged)} by motif"
        if len(judged) < len(rows):
            line += " (the others have no non-metal motif)"
    return line
