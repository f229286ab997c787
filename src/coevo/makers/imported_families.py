"""Families of imported frames: by composition and structure, across the files of one command and the labels that are there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from coevo.analysis.uniqueness import Item
    from coevo.configs.tree import NodeConfig
    from coevo.makers.imported_frames import JudgedFrame
    from coevo.node_store.views import StateView

NO_ENERGY = 1e9
"""eV/atom; energies only order the comparison, and what has none comes last."""


def families_of(
    view: StateView,
    config: NodeConfig,
    files: Sequence[Sequence[JudgedFrame]],
    older: Sequence[dict[str, Any]],
    *,
    workers: int = 1,
) -> list[list[str]]:
    """Return the family of each frame of each file.

    Frames of one trajectory (:func:`coevo.analysis.frame_families.trajectories`) are one family. It is that of the reference or
    entry that the frame of lowest energy is, by the uniqueness test of the node; else of the family of an older imported label;
    else of the trajectory of lowest energy among those of these files that are one crystal. Its id is then that frame's.

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
    from coevo.analysis.frame_families import trajectories
    from coevo.analysis.uniqueness import Item, find_representatives
    from coevo.makers.population import matching_of

    heads: list[list[int]] = []
    best: list[dict[int, JudgedFrame]] = []
    for frames in files:
        usable = [number for number, frame in enumerate(frames) if frame.document]
        linked = trajectories([frames[number].structure for number in usable])
        chain = dict(zip(usable, (usable[first] for first in linked), strict=True))
        heads.append([chain.get(number, number) for number in range(len(frames))])
        lowest: dict[int, JudgedFrame] = {}
        for number, first in chain.items():
            if frames[number].is_admitted:
                lowest[first] = min(lowest.get(first, frames[number]), frames[number], key=_order)
        best.append(lowest)
    chosen = {frame.id: frame for lowest in best for frame in lowest.values()}
    items = [Item(frame.id, frame.structure, _order(frame)[0]) for frame in chosen.values()]
    formulas = {frame.formula for frame in chosen.values()}
    known = [*_population(view, formulas), *_older_families(view, older, formulas)]
    family = find_representatives(items, known, matching_of(config.curation), workers=workers) if items else {}
    return [
        [family[lowest[first].id] if first in lowest else frame.id for frame, first in zip(frames, firsts, strict=True)]
        for frames, firsts, lowest in zip(files, heads, best, strict=True)
    ]


def _order(frame: JudgedFrame) -> tuple[float, str]:
    return (NO_ENERGY if frame.energy is None else frame.energy, frame.id)


def _population(view: StateView, formulas: set[str]) -> list[Item]:
    """References, then entries, of the formulas."""
    from coevo.analysis.uniqueness import Item

    return [
        Item(document["structure_id"], view.structure(document["structure_id"], relaxed=True), document["energy_per_atom"])
        for kind in ("reference", "entry")
        for document in sorted(view.evaluations(kind), key=lambda document: document["structure_id"])  # type: ignore[arg-type]
        if document["formula"] in formulas
    ]


def _older_families(view: StateView, older: Sequence[dict[str, Any]], formulas: set[str]) -> list[Item]:
    """Families of imported labels that are neither references nor entries, by the frame that they are named after."""
    from coevo.analysis.uniqueness import Item
    from coevo.node_store.canonical import structure_from_document

    population = {*view.manifest["references"], *view.manifest["structures"]}
    named = {
        label["family"]: label["structure"]
        for label in older
        if label.get("family") and label["family"] == label.get("frame") and label["family"] not in population
    }
    found = [Item(family, structure_from_document(structure), NO_ENERGY) for family, structure in sorted(named.items())]
    return [item for item in found if item.structure.composition.reduced_formula in formulas]
