"""Our hull beside a database's: who is stable where, and formation energies of what both have.

Numbers of two origins are put beside one another, never into one hull: ours are those of the state, on its scale; theirs are
those of the table. Elements are 0 on both sides by definition, and left out. Where energies hold MP2020's anion correction, the
comparison is made again without it (Wang et al., Sci. Rep. 11, 15496 (2021)): removed from each compound, hulls built anew. It is
removed from theirs alone, too: a force field that was fitted to labels of another functional may have lost it, whatever its scale
is called, and the parity of the three says so.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from math import sqrt
from typing import TYPE_CHECKING, Any, Literal

from coevo.analysis.composition import fractions
from coevo.analysis.hull.energy_scale import MP2020, anion_correction, composition_correction
from coevo.analysis.hull.hull import Hull
from coevo.makers.populations.hull_members import BELOW, is_counted
from coevo.makers.populations.population import hull_of, matching_of, members

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from coevo.makers.populations.population import Member
    from coevo.node_store.views import StateView
    from coevo.studies.hull_comparison.energy_tables import EnergyTable, TableEntry

Correction = Literal["mp2020", "none"]
STABLE = 1e-6
"""eV/atom; what a database has above its hull by no more is on it: tables are rounded."""


@dataclass(frozen=True)
class Point:
    """The lowest phase of one composition on one side.

    Attributes
    ----------
    id : str
        Of the structure in the node, or the database's name.
    kind : str
        ``reference``, ``entry`` or ``database``.
    formation_energy : float
        eV/atom.
    energy_above_hull : float
        eV/atom, on the hull of its side.
    hull_status : str or None
        What labels say of an entry (:mod:`coevo.makers.populations.hull_members`).
    stable : bool
        Whether the composition has a phase that makes the hull of its side.
    """

    id: str
    kind: str
    formation_energy: float
    energy_above_hull: float
    stable: bool
    hull_status: str | None = None


@dataclass(frozen=True)
class Row:
    """One composition, with what each side has of it."""

    formula: str
    ours: Point | None
    theirs: Point | None

    @property
    def difference(self) -> float | None:
        """Formation energy, ours minus theirs, eV/atom."""
        if self.ours is None or self.theirs is None:
            return None
        return self.ours.formation_energy - self.theirs.formation_energy


@dataclass(frozen=True)
class Parity:
    """Formation energies, ours minus theirs, eV/atom; None where there is nothing to compare.

    Attributes
    ----------
    n : int
    mean, mae, rmse : float or None
    """

    n: int
    mean: float | None = None
    mae: float | None = None
    rmse: float | None = None

    @classmethod
    def of(cls, differences: Iterable[float]) -> Parity:
        """Statistics of differences."""
        values = list(differences)
        n = len(values)
        if not n:
            return cls(0)
        return cls(n, sum(values) / n, sum(map(abs, values)) / n, sqrt(sum(value * value for value in values) / n))


@dataclass(frozen=True)
class Pair:
    """A crystal of the database that the node has, by the matcher of its curation; energies in eV/atom."""

    theirs: str
    ours: str
    formula: str
    difference: float


@dataclass(frozen=True)
class Comparison:
    """The two hulls on one pair of scales.

    Attributes
    ----------
    scale : str
        What the energies of both sides hold, in words.
    rows : list of Row
        All compositions of compounds, by formula.
    pairs : list of Pair
        Crystals that both have.
    hull_of_table : float or None
        Largest difference between their E_hull as given and on the hull of the table's own formation energies, eV/atom: near 0 if
        the table has all that makes their hull. None where they give none, or energies are not as given.
    """

    scale: str
    rows: list[Row]
    pairs: list[Pair]
    hull_of_table: float | None

    def stable(self, *, ours: bool, theirs: bool) -> list[str]:
        """Formulas of compositions that are stable on our side (or not) and on theirs (or not)."""
        return [
            row.formula
            for row in self.rows
            if (row.ours is not None and row.ours.stable) is ours and (row.theirs is not None and row.theirs.stable) is theirs
        ]

    @property
    def by_formula(self) -> Parity:
        """Lowest phases of shared compositions."""
        return Parity.of(row.difference for row in self.rows if row.difference is not None)

    @property
    def by_structure(self) -> Parity:
        """Crystals that both have."""
        return Parity.of(pair.difference for pair in self.pairs)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {
            "scale": self.scale,
            "stable_in_both": self.stable(ours=True, theirs=True),
            "stable_only_in_ours": self.stable(ours=True, theirs=False),
            "stable_only_in_theirs": self.stable(ours=False, theirs=True),
            "parity_by_formula": asdict(self.by_formula),
            "parity_by_structure": asdict(self.by_structure),
            "hull_of_table": self.hull_of_table,
            "compositions": [{**asdict(row), "difference": row.difference} for row in self.rows],
            "pairs": [asdict(pair) for pair in self.pairs],
        }


@dataclass(frozen=True)
class HullComparison:
    """A state beside a table.

    Attributes
    ----------
    ours, theirs : str
        What made the numbers of each side.
    comparisons : list of Comparison
        As given, then without MP2020's anion correction on their side and on both, where that can be said.
    notes : list of str
    """

    ours: str
    theirs: str
    comparisons: list[Comparison]
    notes: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {
            "ours": self.ours,
            "theirs": self.theirs,
            "comparisons": [comparison.to_dict() for comparison in self.comparisons],
            "notes": self.notes,
        }


def compare_hulls(
    view: StateView, table: EnergyTable, correction: Correction | None = None, *, workers: int = 1
) -> HullComparison:
    """Put the hull of a state beside a table of a database's entries.

    Parameters
    ----------
    view : StateView
    table : EnergyTable
        Within the elements of the state.
    correction : {"mp2020", "none"}, optional
        What the formation energies of the table hold. Without it the energies are compared as they are given, alone.
    workers : int
        Processes that compare crystals; the answer does not depend on it.
    """
    elements: list[str] = view.document["elements"]
    scale = str(view.document["config"]["node"]["energy_scale"])
    own = [*members(view, "reference"), *(m for m in members(view, "entry") if m.document["duplicate_of"] is None)]
    own = [member for member in own if member.document["nelements"] > 1 or member.document["kind"] == "reference"]
    matched = _matched(view, own, table.entries, workers)
    ours, theirs = _ours_as_given(own), [entry.formation_energy for entry in table.entries]
    above = _their_hull(elements, table.entries, theirs)
    given = [h if e.energy_above_hull is None else e.energy_above_hull for e, h in zip(table.entries, above, strict=True)]
    known = [abs(e.energy_above_hull - h) for e, h in zip(table.entries, above, strict=True) if e.energy_above_hull is not None]
    words = f"ours as in the state ({scale}), theirs as given"
    comparisons = [_comparison(words, own, ours, table.entries, theirs, given, matched, max(known, default=None))]
    notes = _notes(table, matched, scale, correction, recomputed=not known)
    if correction == MP2020:
        theirs = [entry.formation_energy - _correction(entry) for entry in table.entries]
        above = _their_hull(elements, table.entries, theirs)
        words = f"ours as in the state ({scale}), theirs without MP2020's anion correction, their hull built anew"
        comparisons.append(_comparison(words, own, ours, table.entries, theirs, above, matched, None))
    if correction is not None and scale == MP2020:
        words = "without MP2020's anion correction on either side, both hulls built anew"
        comparisons.append(_comparison(words, own, _ours_uncorrected(elements, own), table.entries, theirs, above, matched, None))
    return HullComparison(_our_words(view, scale), _their_words(table, correction), comparisons, notes)


def _ours_as_given(own: Sequence[Member]) -> list[tuple[float, float]]:
    return [(m.document["formation_energy_per_atom"], m.document["energy_above_hull"]) for m in own]


def _ours_uncorrected(elements: Sequence[str], own: Sequence[Member]) -> list[tuple[float, float]]:
    """Formation energies and energies above the hull of all members once the correction is taken from each."""
    energies = [m.energy_per_atom - anion_correction(m.structure) for m in own]
    hull = hull_of(elements, [(m.structure, e) for m, e in zip(own, energies, strict=True) if is_counted(m.document)])
    x = fractions([m.structure for m in own], elements)
    return list(zip(hull.formation_energy(x, energies).tolist(), hull.energy_above_hull(x, energies).tolist(), strict=True))


def _correction(entry: TableEntry) -> float:
    return composition_correction(entry.composition) if entry.structure is None else anion_correction(entry.structure)


def _their_hull(elements: Sequence[str], entries: Sequence[TableEntry], energies: Sequence[float]) -> list[float]:
    """Energies above the hull of the table's own formation energies; each element is there with 0, listed or not."""
    x = fractions([entry.composition for entry in entries], elements)
    pure = fractions(list(elements), elements)
    hull = Hull.from_points(elements, [*x, *pure], [*energies, *([0.0] * len(elements))])
    return list(hull.energy_above_hull(x, energies).tolist())


def _comparison(
    scale: str,
    own: Sequence[Member],
    ours: Sequence[tuple[float, float]],
    entries: Sequence[TableEntry],
    theirs: Sequence[float],
    above: Sequence[float],
    matched: Mapping[str, int],
    hull_of_table: float | None,
) -> Comparison:
    left: dict[str, Point] = {}
    for member, (formation, hull) in sorted(zip(own, ours, strict=True), key=lambda pair: (pair[1][0], pair[0].id)):
        document = member.document
        stable = is_counted(document) and hull <= BELOW
        before = left.get(document["formula"])
        if before is None:
            kind = document["kind"]
            left[document["formula"]] = Point(member.id, kind, formation, hull, stable, document.get("hull_status"))
        elif stable and not before.stable:  # the lowest is an entry without a label, which does not make the hull
            left[document["formula"]] = Point(**{**vars(before), "stable": True})
    right: dict[str, Point] = {}
    for entry, formation, hull in sorted(zip(entries, theirs, above, strict=True), key=lambda row: (row[1], row[0].id)):
        right.setdefault(entry.formula, Point(entry.id, "database", formation, hull, hull <= STABLE))
    compounds = {m.document["formula"] for m in own if m.document["nelements"] > 1}
    compounds |= {entry.formula for entry in entries if len(entry.composition) > 1}
    rows = [Row(formula, left.get(formula), right.get(formula)) for formula in sorted(compounds)]
    return Comparison(scale, rows, _pairs(own, ours, entries, theirs, matched), hull_of_table)


def _pairs(
    own: Sequence[Member],
    ours: Sequence[tuple[float, float]],
    entries: Sequence[TableEntry],
    theirs: Sequence[float],
    matched: Mapping[str, int],
) -> list[Pair]:
    best: dict[int, tuple[float, Member]] = {}
    for member, (formation, _) in zip(own, ours, strict=True):
        index = matched.get(member.id)
        if index is not None and len(entries[index].composition) > 1 and (index not in best or formation < best[index][0]):
            best[index] = formation, member
    return [
        Pair(entries[index].id, member.id, entries[index].formula, formation - theirs[index])
        for index, (formation, member) in sorted(best.items())
    ]


def _matched(view: StateView, own: Sequence[Member], entries: Sequence[TableEntry], workers: int) -> dict[str, int]:
    """Ids of our members, to the place in the table of the same crystal by the matcher of the node's curation."""
    from coevo.analysis.comparison.uniqueness import Item, match_references
    from coevo.configs.loading import config_from_dict
    from coevo.makers.populations.fingerprints import fingerprint_table

    formulas = {member.document["formula"] for member in own}
    items = [
        Item(f"{index:08d}", entry.structure, 0.0)
        for index, entry in enumerate(entries)
        if entry.structure is not None and entry.formula in formulas
    ]
    if not items:
        return {}
    config = config_from_dict(view.document["config"], f"configuration of {view.node}@{view.id[:12]}")
    present = {item.structure.composition.reduced_formula for item in items}
    chosen = [member.item for member in own if member.document["formula"] in present]
    known = fingerprint_table([*chosen, *items], [view.id], workers)
    found = match_references(chosen, items, matching_of(config.curation), known=known, workers=workers)
    return {identifier: int(name) for identifier, name in found.items() if name is not None}


def _our_words(view: StateView, scale: str) -> str:
    from coevo.studies.states.hull_words import hull_counts

    checkpoint = view.document["checkpoints"]["force_field"]
    counts = hull_counts(view.document["metrics"], view.document["config"])
    return (
        f"{view.node}@{view.id[:12]}, iteration {view.iteration}: energies by the state's force field ({checkpoint['family']} "
        f"{checkpoint['sha256'][:8]}, scale {scale}); hull: {counts or 'all that the force field says makes it'}"
    )


def _their_words(table: EnergyTable, correction: Correction | None) -> str:
    origin = f" ({'; '.join(table.origins)})" if table.origins else ""
    holds = {None: "which correction they hold was not said", "none": "said to hold no correction"}
    said = holds.get(correction, "said to hold MP2020's correction")
    return f"{table.source}{origin}: {len(table.entries)} entries; formation energies as the table gives them, {said}"


def _notes(
    table: EnergyTable, matched: Mapping[str, int], scale: str, correction: Correction | None, *, recomputed: bool
) -> list[str]:
    notes = [f"left out of the table: {', '.join(f'{n} {reason}' for reason, n in sorted(table.left_out.items()))}"] * bool(
        table.left_out
    )
    with_structure = sum(entry.structure is not None for entry in table.entries)
    if with_structure:
        notes.append(
            f"{with_structure} entries of the table have a structure: {len(set(matched.values()))} of them are crystals of the "
            "state, by the matcher of its curation; others are compared by composition"
        )
    else:
        notes.append("the table has no structures: all is compared by composition, the lowest phase of each")
    if recomputed:
        notes.append("the table gives no E_hull: it was computed from its own formation energies, elements at 0")
    if correction is None:
        notes.append("say --correction mp2020 or none, what the table's energies hold, to compare without the correction, too")
    elif (scale == MP2020) != (correction == MP2020):
        held = "no" if correction == "none" else "an MP2020"
        notes.append(f"as given, the scales differ: ours is {scale}, theirs holds {held} correction")
    return notes
