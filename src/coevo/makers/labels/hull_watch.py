"""Labelled phases on the hull of the labels that early stopping watches: those of validation families, against all it may see.

Their reactions are those of the labels: what a phase would decompose into by them, without itself, and by how much it is above
that (a negative number: how much it is stable by). A fit that is wrong by as much for all phases has a large loss and a right
hull; one that puts the phases of a reaction wrong in opposite ways has a smaller loss and a wrong hull.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coevo.errors import AnalysisError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from coevo.analysis.hull.hull import Hull
    from coevo.models.contracts import TrainingFrame
    from coevo.models.early_stopping import HullWatch

    Label = dict[str, Any]
    Row = tuple[str, str, TrainingFrame]

WITHIN = 0.05
"""eV/atom above the hull of the labels; what is higher is not watched."""


def hull_watch(
    labels: Sequence[Label], frames: Sequence[TrainingFrame], splits: Sequence[str], elements: Sequence[str]
) -> HullWatch | None:
    """Return what early stopping watches; None where no phase of a validation family can be watched.

    Parameters
    ----------
    labels : sequence of dict
        Admitted labels; those of relaxed frames count, of each family the lowest.
    frames : sequence of TrainingFrame
        The same on the scale of the force field, one each.
    splits : sequence of str
        Of the fit, one each; what is in the test split is neither watched nor competes.
    elements : sequence of str
        Of the node.
    """
    import numpy as np

    from coevo.models.early_stopping import HullWatch

    lowest: dict[str, Row] = {}
    for label, frame, split in zip(labels, frames, splits, strict=True):
        family = str(label["family"])
        if label["kind"] != "relaxed" or split == "test":
            continue
        if family not in lowest or frame.energy < lowest[family][2].energy:
            lowest[family] = (family, split, frame)
    rows = [lowest[family] for family in sorted(lowest)]
    reactions: list[dict[int, float]] = []
    for number in _watched(rows, elements):
        found = _reaction(rows, number, elements)
        if found is not None:
            reactions.append(found)
    used = sorted({place for reaction in reactions for place in reaction})
    if not used:
        return None
    matrix = np.array([[reaction.get(place, 0.0) for place in used] for reaction in reactions])
    energies = matrix @ [rows[place][2].energy for place in used]
    return HullWatch([rows[place][2].structure for place in used], matrix, energies)


def _watched(rows: Sequence[Row], elements: Sequence[str]) -> list[int]:
    """Phases of validation families on the hull of the labels or near it."""
    if not any(split == "validation" for _, split, _ in rows):
        return []
    try:
        hull, shares = _hull(rows, elements)
    except AnalysisError:  # an element has no phase of its own
        return []
    above = hull.energy_above_hull(shares, [frame.energy for _, _, frame in rows])
    return [place for place, (_, split, _) in enumerate(rows) if split == "validation" and above[place] <= WITHIN]


def _reaction(rows: Sequence[Row], number: int, elements: Sequence[str]) -> dict[int, float] | None:
    """What a phase would decompose into if it were not there; None of the only phase of an element."""
    others = [place for place in range(len(rows)) if place != number]
    try:
        hull, _ = _hull([rows[place] for place in others], elements)
        products = hull.decomposition(_fractions([rows[number]], elements)[0])
    except AnalysisError:
        return None
    return {number: 1.0, **{others[place]: -share for place, share in products.items()}}


def _hull(rows: Sequence[Row], elements: Sequence[str]) -> tuple[Hull, Any]:
    from coevo.analysis.hull.hull import Hull

    shares = _fractions(rows, elements)
    return Hull.from_points(elements, shares, [frame.energy for _, _, frame in rows]), shares


def _fractions(rows: Sequence[Row], elements: Sequence[str]) -> Any:
    from coevo.analysis.composition import fractions

    return fractions([frame.structure for _, _, frame in rows], elements)
