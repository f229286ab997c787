"""Imported labels against the node's force field: do they speak of the same quantities in the same units."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from coevo.analysis.label_agreement import Agreement
    from coevo.makers.imported.frames import JudgedFrame
    from coevo.makers.imported.labels import ImportedLabels
    from coevo.models.contracts import ForceField, Prediction

MOST = 200
"""Frames of a file that are compared."""
QUANTITIES = ("forces", "stress", "energy")


def agreements_of(
    files: Sequence[ImportedLabels], force_field: ForceField, *, workers: int = 1
) -> list[tuple[list[str], list[Agreement]]]:
    """Compare the numbers of files with those of a force field.

    A file with enough frames of its own is compared by itself; the others of one settings digest together.

    Parameters
    ----------
    files : sequence of ImportedLabels
    force_field : ForceField
        The head's.
    workers : int

    Returns
    -------
    list of (list of str, list of Agreement)
        Names of the files and how each quantity goes with the force field.
    """
    from coevo.models.contracts import Prediction

    chosen = [_spread([frame for frame in file.frames if frame.is_comparable]) for file in files]
    predictions = iter(force_field.evaluate([frame.structure for frames in chosen for frame in frames], workers=workers))
    rows: list[list[tuple[JudgedFrame, Prediction]]] = []
    for frames in chosen:
        found = [(frame, next(predictions)) for frame in frames]
        rows.append([(frame, p) for frame, p in found if isinstance(p, Prediction)])
    compared, together = [], dict[str, list[int]]()
    for number, file in enumerate(files):
        own = [_compared(quantity, rows[number]) for quantity in QUANTITIES]
        if len(files) == 1 or any(agreement.verdict != "not_compared" for agreement in own):
            compared.append(([file.name], own))
        else:
            together.setdefault(file.settings.digest, []).append(number)
    for _, numbers in sorted(together.items()):
        joined = [row for number in numbers for row in rows[number]]
        compared.append(([files[number].name for number in numbers], [_compared(quantity, joined) for quantity in QUANTITIES]))
    return compared


def _spread(frames: list[JudgedFrame]) -> list[JudgedFrame]:
    """At most :data:`MOST` frames, evenly over the file."""
    if len(frames) <= MOST:
        return frames
    return [frames[(len(frames) - 1) * number // (MOST - 1)] for number in range(MOST)]


def _compared(quantity: str, rows: Sequence[tuple[JudgedFrame, Prediction]]) -> Agreement:
    from coevo.analysis.label_agreement import compare

    found = [
        (np.asarray(getattr(frame.frame, quantity), dtype=float), getattr(p, quantity), frame.formula)
        for frame, p in rows
        if getattr(frame.frame, quantity) is not None
    ]
    found = [row for row in found if row[0].shape == np.shape(row[1]) and np.isfinite(row[0]).all()]
    return compare(quantity, [label for label, _, _ in found], [model for _, model, _ in found], [name for _, _, name in found])
