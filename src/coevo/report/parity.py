"""What the force field of a state says of labelled frames, beside what the labels say; computed, because no state records it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from coevo.makers.checkpoints import load_force_field
from coevo.makers.signals.recomputation import test_frames
from coevo.models.contracts import Prediction

if TYPE_CHECKING:
    from typing import Any

    from coevo.node_store.store import NodeStore
    from coevo.node_store.views import StateView

    FloatArray = np.ndarray[Any, np.dtype[np.float64]]

MOST_FRAMES = 300
"""The first by id, which is as good as any."""


@dataclass(frozen=True)
class Parity:
    """Labels and predictions of the test split.

    Attributes
    ----------
    ids, formulas : list of str
        Of the labels and of their frames.
    energies : ndarray, shape (frames, 2)
        By label, on the scale of the force field, and by force field, eV/atom.
    frames, symbols : list
        Of each atom: number of its frame, element.
    forces : ndarray, shape (atoms, 3, 2)
        By label and by force field, eV/Å.
    labels : int
        In the test split; more than frames where not all were looked at.
    failed : int
        Frames that the force field could not judge.
    """

    ids: list[str]
    formulas: list[str]
    energies: FloatArray
    frames: list[int]
    symbols: list[str]
    forces: FloatArray
    labels: int
    failed: int


def parity_of(store: NodeStore, view: StateView, workers: int = 1) -> Parity:
    """Evaluate the test split of a state's labels by its force field.

    Raises
    ------
    CheckpointError
        If the force field is not here, or came in a bundle and is not trusted.
    """
    force_field = load_force_field(store, view.document["checkpoints"]["force_field"])
    rows = test_frames(view, force_field.energy_scale)
    shown = rows[:MOST_FRAMES]
    predictions = force_field.evaluate([frame.structure for _, frame in shown], workers=workers)
    found = [(label, frame, p) for (label, frame), p in zip(shown, predictions, strict=True) if isinstance(p, Prediction)]
    forces = [np.stack([frame.forces, p.forces], axis=2) for _, frame, p in found]
    return Parity(
        ids=[label["_id"] for label, _, _ in found],
        formulas=[frame.structure.composition.reduced_formula for _, frame, _ in found],
        energies=np.array([(frame.energy, p.energy) for _, frame, p in found]).reshape(-1, 2),
        frames=[number for number, (_, frame, _) in enumerate(found) for _ in frame.structure],
        symbols=[site.specie.symbol for _, frame, _ in found for site in frame.structure],
        forces=np.concatenate(forces) if forces else np.zeros((0, 3, 2)),
        labels=len(rows),
        failed=len(shown) - len(found),
    )
