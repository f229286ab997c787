"""Whether the kernel tells the motifs of known phases apart: a resolution at which it does not cannot see a new one either."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from coevo.analysis.environments.descriptors import multicomponent_descriptors_of
from coevo.analysis.environments.kernel_sums import kernel_sums
from coevo.analysis.motifs.motifs import motif_of_each_atom

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from pymatgen.core import Structure

    FloatArray = NDArray[np.float64]

TOLD_APART = 0.05
"""Mean kernel between two classes below which they are two."""
MOST_CLASSES = 40
"""Of an element, those of most atoms first: pairs are compared."""
MOST_OF_A_CLASS = 200
"""Atoms of a class that are compared, spread evenly over it."""


def motif_classes(
    structures: Sequence[Structure], elements: Sequence[str], neighbours: int, cutoff: float
) -> dict[tuple[str, str], FloatArray]:
    """Descriptors of the atoms of each element in each kind of motif.

    Parameters
    ----------
    structures : sequence of Structure
    elements : sequence of str
    neighbours, cutoff
        k and Å of the descriptor that sees the neighbours' species.

    Returns
    -------
    dict
        By element and name of the motif (:func:`coevo.analysis.motifs.motifs.motif_of_each_atom`); metals are in none.
    """
    found: dict[tuple[str, str], list[FloatArray]] = {}
    for structure in structures:
        motifs = motif_of_each_atom(structure)
        sites = np.array([place for place, name in enumerate(motifs) if name is not None], dtype=np.int64)
        if not len(sites):
            continue
        X = multicomponent_descriptors_of([structure], elements, neighbours, cutoff, atoms=[sites])
        for row, site in zip(X, sites.tolist(), strict=True):
            found.setdefault((structure[site].specie.symbol, str(motifs[site])), []).append(row)
    return {key: np.array(rows) for key, rows in sorted(found.items())}


def told_apart(classes: dict[tuple[str, str], FloatArray], bandwidth: float) -> dict[str, Any]:
    """Compare each two classes of one element by the mean of the kernel exp(-|x - y|² / 2 h²) over their pairs of atoms.

    Parameters
    ----------
    classes : dict
        As :func:`motif_classes` gives them.
    bandwidth : float
        h, 1/Å.

    Returns
    -------
    dict
        ``classes`` and ``pairs`` (counts), ``left_out`` (classes that were not compared because their element has too many),
        ``largest`` (the largest mean; None without a pair), and ``mixed``: pairs whose mean is not below :data:`TOLD_APART`, the
        largest first, each with ``element``, ``motifs`` and ``mean_kernel``.
    """
    pairs, left_out = 0, 0
    largest: float | None = None
    mixed: list[dict[str, Any]] = []
    for element in sorted({element for element, _ in classes}):
        own = sorted((name for symbol, name in classes if symbol == element), key=lambda n: (-len(classes[element, n]), n))
        left_out += max(0, len(own) - MOST_CLASSES)
        for first, second in combinations(sorted(own[:MOST_CLASSES]), 2):
            mean = _mean_kernel(_some(classes[element, first]), _some(classes[element, second]), bandwidth)
            pairs += 1
            largest = mean if largest is None else max(largest, mean)
            if mean >= TOLD_APART:
                mixed.append({"element": element, "motifs": [first, second], "mean_kernel": mean})
    mixed.sort(key=lambda row: (-row["mean_kernel"], row["element"], row["motifs"]))
    return {"classes": len(classes), "pairs": pairs, "left_out": left_out, "largest": largest, "mixed": mixed}


def _some(rows: FloatArray) -> FloatArray:
    return rows[:: -(-len(rows) // MOST_OF_A_CLASS)]


def _mean_kernel(X: FloatArray, Y: FloatArray, bandwidth: float) -> float:
    return float(kernel_sums(X, Y, bandwidth, relative=False).sum() / (len(X) * len(Y)))
