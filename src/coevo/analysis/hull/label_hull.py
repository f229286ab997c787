"""The hull of first-principles labels: what labels say of the stability of phases that a force field found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from coevo.analysis.hull.hull import Hull

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    FloatArray = NDArray[np.float64]

ON_HULL = 1e-8
"""eV/atom; phases up to this above the force field's hull are on it."""


def label_hull(elements: Sequence[str], fractions: ArrayLike, model_energies: ArrayLike, label_energies: ArrayLike) -> FloatArray:
    """Energy above the hull of labels, where the labels suffice to say it.

    They suffice for a phase that is labelled, if every phase on the force field's hull within the phase's own elements is
    labelled too: those are the phases that it competes with. Elements without a labelled phase say nothing of phases without
    them.

    Parameters
    ----------
    elements : sequence of str, length k
    fractions : array, shape (n, k)
        Atomic fractions of all phases of the state, references and entries.
    model_energies : array, shape (n,)
        Of the force field, eV/atom.
    label_energies : array, shape (n,)
        Of labels of one code and setting, on one scale, eV/atom; NaN for a phase without a label.

    Returns
    -------
    ndarray, shape (n,)
        eV/atom; NaN where the labels do not suffice.
    """
    x = np.asarray(fractions, dtype=float).reshape(-1, len(elements))
    model, labels = np.asarray(model_energies, dtype=float), np.asarray(label_energies, dtype=float)
    values = np.full(len(x), np.nan)
    labelled = np.isfinite(labels)
    present = x > 0.0
    alone = labelled & (present.sum(axis=1) == 1)
    anchored = present[alone].any(axis=0)
    if not len(x) or not anchored.any():
        return values
    within = ~present[:, ~anchored].any(axis=1)
    competing = Hull.from_points(elements, x, model).energy_above_hull(x, model) <= ON_HULL
    missing = present[competing & ~labelled]
    for index in np.flatnonzero(labelled & within):
        inside = ~(missing & ~present[index]).any(axis=1)  # competitors without a label whose elements the phase has
        if not inside.any():
            values[index] = 0.0
    usable = np.isfinite(values)
    columns, points = np.flatnonzero(anchored), labelled & within
    hull = Hull.from_points([elements[int(column)] for column in columns], x[points][:, columns], labels[points])
    values[usable] = hull.energy_above_hull(x[usable][:, columns], labels[usable])
    return values


@dataclass(frozen=True)
class Confusion:
    """How often force field and labels agree on what is stable.

    Attributes
    ----------
    both, model_only, label_only, neither : int
        Phases that are stable by both, by one of them, by none.
    mean_absolute_difference : float or None
        Of E_hull, eV/atom; None without phases.
    """

    both: int
    model_only: int
    label_only: int
    neither: int
    mean_absolute_difference: float | None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return dict(vars(self))


def confusion(model_e_hull: ArrayLike, label_e_hull: ArrayLike, threshold: float) -> Confusion:
    """Compare two E_hull of the same phases.

    Parameters
    ----------
    model_e_hull, label_e_hull : array, shape (n,)
        eV/atom; phases whose second is NaN are left out.
    threshold : float
        Stable means up to this, eV/atom.
    """
    model, labels = np.asarray(model_e_hull, dtype=float), np.asarray(label_e_hull, dtype=float)
    known = np.isfinite(labels)
    one, other = model[known] <= threshold, labels[known] <= threshold
    return Confusion(
        both=int((one & other).sum()),
        model_only=int((one & ~other).sum()),
        label_only=int((~one & other).sum()),
        neither=int((~one & ~other).sum()),
        mean_absolute_difference=float(np.abs(model[known] - labels[known]).mean()) if known.any() else None,
    )
