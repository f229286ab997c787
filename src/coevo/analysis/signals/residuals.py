"""Errors of predictions against labels: whole, and apart by how a family was chosen or by kind of frame."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from coevo.errors import AnalysisError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    FloatArray = NDArray[np.float64]


MILLI = 1000.0
GPA = 160.21766208
"""GPa in one eV/Å³ (CODATA 2014, as in ASE)."""


class Frame(Protocol):
    """What a prediction and a label have in common: energy (eV/atom), forces (n_atoms, 3) (eV/Å), stress (3, 3) (eV/Å³)."""

    @property
    def energy(self) -> float: ...  # noqa: D102

    @property
    def forces(self) -> FloatArray: ...  # noqa: D102

    @property
    def stress(self) -> FloatArray: ...  # noqa: D102


@dataclass(frozen=True)
class Errors:
    """Errors of a set of frames: over frames for energies, over components for forces and stresses; None without a frame.

    Attributes
    ----------
    n : int
        Frames.
    n_atoms : int
        Atoms in them.
    energy_rmse_mev_per_atom, energy_mae_mev_per_atom : float or None
        meV/atom.
    force_rmse_mev_per_angstrom, force_mae_mev_per_angstrom : float or None
        meV/Å.
    stress_rmse_gpa, stress_mae_gpa : float or None
        GPa, over all nine components.
    """

    n: int
    n_atoms: int
    energy_rmse_mev_per_atom: float | None
    energy_mae_mev_per_atom: float | None
    force_rmse_mev_per_angstrom: float | None
    force_mae_mev_per_angstrom: float | None
    stress_rmse_gpa: float | None
    stress_mae_gpa: float | None


def errors(predicted: Sequence[Frame], labelled: Sequence[Frame]) -> Errors:
    """Errors of frames, in order.

    Raises
    ------
    AnalysisError
        If there is not one label per prediction, or they differ in their number of atoms.
    """
    if len(predicted) != len(labelled):
        raise AnalysisError(f"got {len(predicted)} predictions and {len(labelled)} labels; one each is needed")
    energy = np.array([p.energy - q.energy for p, q in zip(predicted, labelled, strict=True)])
    force = _differences("forces", [p.forces for p in predicted], [q.forces for q in labelled])
    stress = _differences("stress", [p.stress for p in predicted], [q.stress for q in labelled])
    return Errors(
        len(energy),
        len(force) // 3,
        _rmse(energy, MILLI),
        _mae(energy, MILLI),
        _rmse(force, MILLI),
        _mae(force, MILLI),
        _rmse(stress, GPA),
        _mae(stress, GPA),
    )


def grouped_errors(
    predicted: Sequence[Frame], labelled: Sequence[Frame], groupings: Mapping[str, Sequence[str]]
) -> dict[str, Any]:
    """Errors of all frames and of every group of every grouping.

    Parameters
    ----------
    predicted, labelled : sequence of Frame, length n
    groupings : mapping of str to sequence of str, length n
        E.g. ``{"how": ["random", "stability", …], "kind": ["relaxed", "rattled", …]}``.

    Returns
    -------
    dict
        ``{"all": errors, "how": {"random": errors, …}, …}`` in plain JSON types (see :class:`Errors`), groups sorted by name.
    """
    document: dict[str, Any] = {"all": asdict(errors(predicted, labelled))}
    for name, keys in groupings.items():
        if len(keys) != len(predicted):
            raise AnalysisError(f"grouping {name!r} has {len(keys)} keys for {len(predicted)} frames; one each is needed")
        groups: dict[str, list[int]] = {}
        for index, key in enumerate(keys):
            groups.setdefault(key, []).append(index)
        document[name] = {
            key: asdict(errors([predicted[i] for i in groups[key]], [labelled[i] for i in groups[key]])) for key in sorted(groups)
        }
    return document


def _differences(what: str, predicted: Sequence[FloatArray], labelled: Sequence[FloatArray]) -> FloatArray:
    """All components of prediction minus label, flat."""
    parts = [np.empty(0)]
    for number, (p, q) in enumerate(zip(predicted, labelled, strict=True)):
        if np.shape(p) != np.shape(q):
            raise AnalysisError(
                f"frame {number}: predicted {what} have shape {np.shape(p)}, labelled {np.shape(q)}; they must be equal"
            )
        parts.append(np.ravel(np.asarray(p, dtype=float) - np.asarray(q, dtype=float)))
    return np.concatenate(parts)


def _rmse(difference: FloatArray, unit: float) -> float | None:
    return unit * float(np.sqrt(np.mean(difference**2))) if len(difference) else None


def _mae(difference: FloatArray, unit: float) -> float | None:
    return unit * float(np.mean(np.abs(difference))) if len(difference) else None
