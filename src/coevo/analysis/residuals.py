"""Errors of predictions against labels, whole and by group."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from coevo.errors import AnalysisError

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from numpy.typing import ArrayLike, NDArray

    FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Residuals:
    """Errors of a set of frames; means over frames (energy), force components and stress components.

    Attributes
    ----------
    n_frames, n_atoms : int
    energy_rmse_mev_per_atom, energy_mae_mev_per_atom : float
        meV/atom.
    force_rmse_mev_per_angstrom, force_mae_mev_per_angstrom : float
        meV/Å, over components.
    stress_rmse_mev_per_cubic_angstrom, stress_mae_mev_per_cubic_angstrom : float
        meV/Å³, over the nine components.
    """

    n_frames: int
    n_atoms: int
    energy_rmse_mev_per_atom: float
    energy_mae_mev_per_atom: float
    force_rmse_mev_per_angstrom: float
    force_mae_mev_per_angstrom: float
    stress_rmse_mev_per_cubic_angstrom: float
    stress_mae_mev_per_cubic_angstrom: float

    def to_dict(self) -> dict[str, float | int]:
        """Plain JSON types."""
        return asdict(self)


def residuals(
    predicted_energies: ArrayLike,
    labelled_energies: ArrayLike,
    predicted_forces: Sequence[FloatArray],
    labelled_forces: Sequence[FloatArray],
    predicted_stresses: Sequence[FloatArray],
    labelled_stresses: Sequence[FloatArray],
) -> Residuals | None:
    """Errors of n frames.

    Parameters
    ----------
    predicted_energies, labelled_energies : array, shape (n,)
        eV/atom.
    predicted_forces, labelled_forces : sequence of ndarray, shape (n_atoms, 3)
        eV/Å.
    predicted_stresses, labelled_stresses : sequence of ndarray, shape (3, 3)
        eV/Å³.

    Returns
    -------
    Residuals or None
        None when there is no frame.

    Raises
    ------
    AnalysisError
        If prediction and label do not have the same shape.
    """
    energy = _difference("energies", [np.asarray(predicted_energies, dtype=float)], [np.asarray(labelled_energies, dtype=float)])
    force = _difference("forces", predicted_forces, labelled_forces)
    stress = _difference("stresses", predicted_stresses, labelled_stresses)
    if not len(energy):
        return None
    if not len(energy) == len(predicted_forces) == len(predicted_stresses):
        counts = f"{len(energy)} energies, {len(predicted_forces)} forces and {len(predicted_stresses)} stresses"
        raise AnalysisError(f"got {counts}; one each is needed")
    return Residuals(
        len(energy), len(force) // 3, _rmse(energy), _mae(energy), _rmse(force), _mae(force), _rmse(stress), _mae(stress)
    )


def grouped_residuals(
    predicted_energies: Sequence[float],
    labelled_energies: Sequence[float],
    predicted_forces: Sequence[FloatArray],
    labelled_forces: Sequence[FloatArray],
    predicted_stresses: Sequence[FloatArray],
    labelled_stresses: Sequence[FloatArray],
    keys: Sequence[Hashable],
) -> dict[Hashable, Residuals]:
    """Errors by group, e.g. by kind of frame or by how the family was chosen; ``keys`` has one key per frame.

    Returns
    -------
    dict
        Key to errors, in the order in which keys first appear.
    """
    groups: dict[Hashable, list[int]] = {}
    for index, key in enumerate(keys):
        groups.setdefault(key, []).append(index)
    if len(keys) != len(predicted_energies):
        raise AnalysisError(f"got {len(keys)} keys for {len(predicted_energies)} frames; one each is needed")
    found: dict[Hashable, Residuals] = {}
    for key, members in groups.items():
        part = residuals(
            [predicted_energies[i] for i in members],
            [labelled_energies[i] for i in members],
            [predicted_forces[i] for i in members],
            [labelled_forces[i] for i in members],
            [predicted_stresses[i] for i in members],
            [labelled_stresses[i] for i in members],
        )
        assert part is not None
        found[key] = part
    return found


def _difference(what: str, predicted: Sequence[FloatArray], labelled: Sequence[FloatArray]) -> FloatArray:
    """All components of prediction minus label, flat."""
    shapes = [np.shape(array) for array in predicted], [np.shape(array) for array in labelled]
    if shapes[0] != shapes[1]:
        raise AnalysisError(f"predicted and labelled {what} have shapes {shapes[0]} and {shapes[1]}; they must be equal")
    if not len(predicted):
        return np.empty(0)
    return np.concatenate(
        [np.ravel(np.asarray(p, dtype=float) - np.asarray(q, dtype=float)) for p, q in zip(predicted, labelled, strict=True)]
    )


def _rmse(difference: FloatArray) -> float:
    return 1000.0 * float(np.sqrt(np.mean(difference**2)))


def _mae(difference: FloatArray) -> float:
    return 1000.0 * float(np.mean(np.abs(difference)))
