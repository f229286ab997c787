"""Families of imported frames: by composition and structure, across the files of one command and the labels that are there."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pymatgen.core import Structure

    from coevo.analysis.comparison.uniqueness import Item
    from coevo.configs.tree import NodeConfig
    from coevo.makers.imported.frames import JudgedFrame
    from coevo.node_store.views import StateView

NO_ENERGY = 1e9
"""eV/atom; energies only order the comparison, and what has none comes last."""


@dataclass
class Trajectory:
    """Frames of one file that are linked, of which some are admitted.

    Attributes
    ----------
    place : tuple of int
        Number of the file and of the first frame.
    frames : list of JudgedFrame
        The admitted ones.
    """

    place: tuple[int, int]
    frames: list[JudgedFrame] = field(default_factory=list)

    @property
    def lowest(self) -> JudgedFrame:
        """The frame of lowest energy."""
        return min(self.frames, key=_order)

    @property
    def shown(self) -> list[JudgedFrame]:
        """First, last, lowest and stillest frame: by these it is compared with others, and any of them may be a known crystal."""
        chosen = {frame.id: frame for frame in (self.frames[0], self.frames[-1], self.lowest, min(self.frames, key=_unrest))}
        return list(chosen.values())

    def is_near(self, others: Iterable[Structure]) -> bool:
        """Whether it goes on from any of some frames with the same atoms in the same order."""
        from coevo.analysis.comparison.uniqueness import is_near

        return any(is_near(one, other) for other in others for one in (frame.structure for frame in self.shown))


def families_of(
    view: StateView,
    config: NodeConfig,
    files: Sequence[Sequence[JudgedFrame]],
    older: Sequence[dict[str, Any]],
    *,
    workers: int = 1,
) -> list[list[str]]:
    """Return the family of each frame of each file; it does not depend on the order of the files.

    Frames of one trajectory (:func:`coevo.analysis.comparison.uniqueness.trajectories`) are one family, and so are
    trajectories of several files that go on from each other or of which frames are one crystal by the uniqueness test of the
    node. It is that of the reference or entry, or of the older imported labels, that one of these frames is; else that of a frame
    of the state that they go on from; else its own, named after the frame of lowest energy.

    Parameters
    ----------
    view : StateView
        The state that the labels are added to.
    config : NodeConfig
    files : sequence of sequences of JudgedFrame
    older : sequence of dict
        Label documents of the state.
    workers : int
    """
    from coevo.analysis.comparison.uniqueness import Item, find_representatives
    from coevo.makers.populations.population import matching_of

    heads, found = _trajectories(files)
    shown = {place: trajectory.shown for place, trajectory in found.items()}
    formulas = {frame.formula for frames in shown.values() for frame in frames}
    known = [*_population(view, formulas), *_older_families(view, older, formulas)]
    items = [Item(frame.id, frame.structure, _order(frame)[0]) for frames in shown.values() for frame in frames]
    same = find_representatives(items, known, matching_of(config.curation), workers=workers) if items else {}
    groups = _joined(found, {place: {same[frame.id] for frame in frames} for place, frames in shown.items()})
    rank = {item.id: number for number, item in enumerate(known)}
    of_state = _frames_of_state(known, older, {_species(found[place].frames[0].structure) for place in found})
    family_at: dict[tuple[int, int], str] = {}
    for members in groups:
        crystals = {same[frame.id] for place in members for frame in shown[place]} & rank.keys()
        own = min((found[place].lowest for place in members), key=_order).id
        family = min(crystals, key=lambda name: rank[name]) if crystals else _continued(members, found, of_state) or own
        family_at |= dict.fromkeys(members, family)
    return [
        [family_at.get((number, first), frame.id) for frame, first in zip(judged, firsts, strict=True)]
        for number, (judged, firsts) in enumerate(zip(files, heads, strict=True))
    ]


def _continued(
    members: Iterable[tuple[int, int]],
    found: dict[tuple[int, int], Trajectory],
    of_state: dict[tuple[str, ...], dict[str, list[Structure]]],
) -> str:
    """Family of a frame of the state that one of the trajectories goes on from, or an empty string."""
    for place in members:
        for family, structures in of_state.get(_species(found[place].frames[0].structure), {}).items():
            if found[place].is_near(structures):
                return family
    return ""


def _trajectories(files: Sequence[Sequence[JudgedFrame]]) -> tuple[list[list[int]], dict[tuple[int, int], Trajectory]]:
    """For each frame the first of its trajectory, and the trajectories in which a frame is admitted."""
    from coevo.analysis.comparison.uniqueness import trajectories

    heads, found = [], dict[tuple[int, int], Trajectory]()
    for number, frames in enumerate(files):
        usable = [index for index, frame in enumerate(frames) if frame.document]
        linked = trajectories([frames[index].structure for index in usable])
        first_of = dict(zip(usable, (usable[first] for first in linked), strict=True))
        heads.append([first_of.get(index, index) for index in range(len(frames))])
        for index, first in first_of.items():
            if frames[index].is_admitted:
                found.setdefault((number, first), Trajectory((number, first))).frames.append(frames[index])
    return heads, found


def _joined(found: dict[tuple[int, int], Trajectory], crystals: dict[tuple[int, int], set[str]]) -> list[list[tuple[int, int]]]:
    """Groups of trajectories that go on from each other, or that have a crystal in common."""
    by_species: dict[tuple[str, ...], list[Trajectory]] = {}
    for trajectory in found.values():
        by_species.setdefault(_species(trajectory.frames[0].structure), []).append(trajectory)
    pairs = [
        (one.place, other.place)
        for together in by_species.values()
        for index, one in enumerate(together)
        for other in together[index + 1 :]
        if one.is_near([frame.structure for frame in other.shown])
    ]
    first_with: dict[str, tuple[int, int]] = {}
    for place, names in crystals.items():
        pairs += [(first_with.setdefault(name, place), place) for name in sorted(names)]
    group_of = {place: {place} for place in found}
    for one, other in pairs:
        if group_of[one] is not group_of[other]:
            group_of[one] |= group_of[other]
            for place in group_of[other]:
                group_of[place] = group_of[one]
    return [sorted(group) for group in {id(group): group for group in group_of.values()}.values()]


def _frames_of_state(
    known: Sequence[Item], older: Sequence[dict[str, Any]], wanted: set[tuple[str, ...]]
) -> dict[tuple[str, ...], dict[str, list[Structure]]]:
    """By their atoms in order, the frames that a state has of each family: its population and its labels."""
    from coevo.node_store.canonical import structure_from_document

    found: dict[tuple[str, ...], dict[str, list[Structure]]] = {}
    for item in known:
        if (species := _species(item.structure)) in wanted:
            found.setdefault(species, {}).setdefault(item.id, []).append(item.structure)
    for label in sorted(older, key=lambda label: label["_id"]):
        sites = (label.get("structure") or {}).get("sites", ())
        species = tuple("".join(str(x["element"]) for x in site["species"]) for site in sites)
        if species in wanted and label.get("family") and label["status"] == "admitted":
            found.setdefault(species, {}).setdefault(label["family"], []).append(structure_from_document(label["structure"]))
    return found


def _species(structure: Structure) -> tuple[str, ...]:
    return tuple(site.species_string for site in structure)


def _unrest(frame: JudgedFrame) -> tuple[float, str]:
    """Largest force (eV/Å) and stress (eV/Å³, times 10 Å²) of a frame: small where it is relaxed."""
    import numpy as np

    forces, stress = frame.result.forces, frame.result.stress
    if forces is None or stress is None:
        return NO_ENERGY, frame.id
    return float(np.linalg.norm(forces, axis=1).max(initial=0.0) + 10.0 * np.abs(stress).max()), frame.id


def _order(frame: JudgedFrame) -> tuple[float, str]:
    return (NO_ENERGY if frame.energy is None else frame.energy, frame.id)


def _population(view: StateView, formulas: set[str]) -> list[Item]:
    """References, then entries, of the formulas."""
    from coevo.analysis.comparison.uniqueness import Item

    return [
        Item(document["structure_id"], view.structure(document["structure_id"], relaxed=True), document["energy_per_atom"])
        for kind in ("reference", "entry")
        for document in sorted(view.evaluations(kind), key=lambda document: document["structure_id"])  # type: ignore[arg-type]
        if document["formula"] in formulas
    ]


def _older_families(view: StateView, older: Sequence[dict[str, Any]], formulas: set[str]) -> list[Item]:
    """Families of imported labels that are neither references nor entries, by the frame that they are named after."""
    from coevo.analysis.comparison.uniqueness import Item
    from coevo.node_store.canonical import structure_from_document

    population = {*view.manifest["references"], *view.manifest["structures"]}
    named = {
        label["family"]: label["structure"]
        for label in older
        if label.get("family") and label["family"] == label.get("frame") and label["family"] not in population
    }
    found = [Item(family, structure_from_document(structure), NO_ENERGY) for family, structure in sorted(named.items())]
    return [item for item in found if item.structure.composition.reduced_formula in formulas]
