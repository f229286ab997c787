"""Minima that a probe met: told apart by the node's matcher, and compared with the entries and references of a state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from coevo.analysis.audit.draw import model_energy_above_hull
from coevo.flows.probe import can_draw
from coevo.makers.populations.fingerprints import fingerprint_table
from coevo.node_store.current import current_store
from coevo.output.progress import task

if TYPE_CHECKING:
    from collections.abc import Sequence

    from coevo.analysis.comparison.matching import Matching
    from coevo.analysis.comparison.uniqueness import Item
    from coevo.analysis.hull.hull import Hull
    from coevo.flows.probe import Probe
    from coevo.makers.populations.population import Member
    from coevo.node_store.views import StateView


@dataclass(frozen=True)
class Draw:
    """A structure of the probe that was relaxed.

    Attributes
    ----------
    batch : int
    item : Item
    formula : str
        Reduced.
    energy_above_hull : float
        On the state's hull, eV/atom.
    bred : bool
        Whether it was made from a parent, which no draw of an unfitted generator is.
    """

    batch: int
    item: Item
    formula: str
    energy_above_hull: float
    bred: bool


@dataclass(frozen=True)
class Minima:
    """Minima of the probe and of the state, and which are the same.

    Attributes
    ----------
    species : dict of str to list of Draw
        Id of the lowest draw of each minimum to its draws.
    held : dict of str to (Member or None)
        The entry or reference that each of them is.
    members : list of Member
        Entries and references of the state in the window of energy and within reach of the probe; no duplicates.
    met : dict of str to (str or None)
        Id of each of them to the minimum of the probe that it is.
    """

    species: dict[str, list[Draw]]
    held: dict[str, Member | None]
    members: list[Member]
    met: dict[str, str | None]


def read_draws(probe: Probe, hull: Hull) -> list[Draw]:
    """Read what of a probe was relaxed, in the order of the draws."""
    from coevo.analysis.comparison.uniqueness import Item
    from coevo.analysis.composition import fractions
    from coevo.makers.step import read_records
    from coevo.node_store.canonical import structure_from_document

    rows = [
        (batch, f"draw {batch}/{shard}/{number}", record)
        for batch, shards in enumerate(probe.batches)
        for shard, (_, screened) in enumerate(shards)
        for number, record in enumerate(read_records(current_store(), screened["relaxed"]))
    ]
    if not rows:
        return []
    structures = [structure_from_document(record["structure"]) for _, _, record in rows]
    energies = [record["energy_per_atom"] for _, _, record in rows]
    above = hull.energy_above_hull(fractions(structures, probe.config.node.elements), energies)
    found = []
    for (batch, name, record), structure, energy, high in zip(rows, structures, energies, above, strict=True):
        bred = bool(record["origin"].get("parents"))
        found.append(Draw(batch, Item(name, structure, energy), structure.composition.reduced_formula, float(high), bred))
    return found


def find_minima(
    view: StateView,
    probe: Probe,
    low: Sequence[Draw],
    population: Sequence[Member],
    matching: Matching,
    e_hull: float,
    workers: int,
) -> Minima:
    """Tell the minima of a probe apart, and compare them with a state's.

    Parameters
    ----------
    view : StateView
    probe : Probe
    low : sequence of Draw
        Of the probe, within the window.
    population : sequence of Member
        References and entries of the state.
    matching : Matching
    e_hull : float
        The window, eV/atom.
    workers : int
        Processes; the answer does not depend on it.
    """
    from coevo.analysis.comparison.uniqueness import find_representatives, match_references

    # by the force field, as the draws are, also where a label has given the entry another energy
    near = [m for m in population if model_energy_above_hull(m.document) <= e_hull and not m.document["duplicate_of"]]
    near = [m for m in near if can_draw(probe.config, m.document["formula"], primitive_atoms(m.structure))]
    formulas = {draw.formula for draw in low}
    alike = [m for m in population if m.document["formula"] in formulas]
    both = {m.id: m.item for m in (*alike, *near)}
    table = fingerprint_table([*(draw.item for draw in low), *both.values()], [view.id], workers)
    items = [draw.item for draw in low]
    with task("comparing", len(items), "structures") as advance:
        found = find_representatives(items, [], matching, known=table, workers=workers, progress=advance)
    species: dict[str, list[Draw]] = {}
    for draw in sorted(low, key=lambda draw: (draw.item.energy_per_atom, draw.item.id)):
        species.setdefault(found[draw.item.id], []).append(draw)
    lowest = [group[0].item for group in species.values()]
    by_id = {m.id: m for m in population}
    held = match_references(lowest, [m.item for m in alike], matching, known=table, workers=workers)
    met = match_references([m.item for m in near], lowest, matching, known=table, workers=workers)
    return Minima(species, {name: by_id[other] if other else None for name, other in held.items()}, near, met)


def primitive_atoms(structure: Any) -> int:
    """Return the number of atoms of the primitive cell."""
    return len(structure.get_primitive_structure())
