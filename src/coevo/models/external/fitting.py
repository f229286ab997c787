"""Fine-tuning in a family's environment: frames on their way there, and coevo's own judgement of what comes back."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from coevo.errors import ModelError
from coevo.models.contracts import Failure, Prediction
from coevo.models.relaxing.crystal import Crystal, crystal_from_structure
from coevo.models.relaxing.predictor import usable_pairs

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from pymatgen.core import Structure

    from coevo.models.contracts import FitSettings, FloatArray, TrainingFrame
    from coevo.models.early_stopping import HullWatch

GPA = 160.21766208
"""GPa per eV/Å³."""
HUBER_DELTA = 0.1
"""Where the loss turns from quadratic to linear: eV/atom, eV/Å, GPa."""
ENERGY_WEIGHT = 10.0
"""Weight of the energy beside the forces, as in the fits of CHGNet."""


def usable_frames(
    frames: Sequence[TrainingFrame], kind: str, *, known: Collection[int], family: str, cutoff: float
) -> list[TrainingFrame]:
    """Frames that the force field can take, in order.

    Raises
    ------
    ModelError
        If a label is not finite or of another shape, or no frame is left.
    """
    usable = []
    for index, frame in enumerate(frames):
        if not all(np.isfinite(value).all() for value in (frame.energy, frame.forces, frame.stress)):
            raise ModelError(f"{kind} frame {index} ({frame.structure.formula}) has a label that is not finite; leave it out")
        crystal = crystal_from_structure(frame.structure, known, family)
        if not isinstance(crystal, Crystal):
            continue
        if np.shape(frame.forces) != (len(crystal), 3) or np.shape(frame.stress) != (3, 3):
            raise ModelError(
                f"{kind} frame {index} has forces {np.shape(frame.forces)} and stress {np.shape(frame.stress)}; "
                f"expected ({len(crystal)}, 3) and (3, 3)"
            )
        if not isinstance(usable_pairs(crystal.positions, crystal.cell, cutoff), Failure):
            usable.append(frame)
    if not usable:
        raise ModelError(f"none of the {len(frames)} {kind} frames can be used; a fit needs training and validation frames")
    return usable


def usable_structures(structures: Sequence[Structure], *, known: Collection[int], family: str, cutoff: float) -> list[bool]:
    """Whether the force field can take each structure."""
    found = []
    for structure in structures:
        crystal = crystal_from_structure(structure, known, family)
        found.append(
            isinstance(crystal, Crystal) and not isinstance(usable_pairs(crystal.positions, crystal.cell, cutoff), Failure)
        )
    return found


def write_watched(path: Path, watch: HullWatch) -> None:
    """Write the structures of a hull that is watched as JSON lines: as frames, without labels."""
    with path.open("w", encoding="utf-8") as file:
        for structure in watch.structures:
            file.write(json.dumps(_crystal_of(structure), allow_nan=False) + "\n")


def reactions_of(watch: HullWatch) -> dict[str, Any]:
    """What a request says of a hull that is watched beside its structures: ``reactions`` and ``reaction_energies``, eV/atom."""
    return {"reactions": watch.reactions.tolist(), "reaction_energies": watch.energies.tolist()}


def _crystal_of(structure: Structure) -> dict[str, Any]:
    return {
        "numbers": [site.specie.Z for site in structure],
        "positions": structure.cart_coords.tolist(),
        "cell": structure.lattice.matrix.tolist(),
    }


def write_frames(path: Path, frames: Sequence[TrainingFrame]) -> None:
    """Write frames as JSON lines.

    A line has ``numbers``, ``positions`` (Å), ``cell`` (rows, Å), ``energy`` (eV per cell), ``forces`` (eV/Å) and ``stress``
    (3 x 3, eV/Å³, ASE sign).
    """
    with path.open("w", encoding="utf-8") as file:
        for frame in frames:
            structure = frame.structure
            record = {
                **_crystal_of(structure),
                "energy": float(frame.energy) * len(structure),
                "forces": np.asarray(frame.forces, dtype=float).tolist(),
                "stress": np.asarray(frame.stress, dtype=float).tolist(),
            }
            file.write(json.dumps(record, allow_nan=False) + "\n")


def judged(
    found: Sequence[Prediction | Failure], frames: Sequence[TrainingFrame], settings: FitSettings
) -> tuple[float, dict[str, float]]:
    """Loss of predictions against labels, and root-mean-square errors.

    The loss is ``10 H(ΔE) + force_weight · H(ΔF) + stress_weight · H(Δσ)`` with the mean Huber function H of energies in eV/atom,
    force components in eV/Å and stress components in GPa, over all frames. A model that has no prediction of a frame has an
    infinite loss.
    """
    failure = next((result for result in found if not isinstance(result, Prediction)), None)
    if failure is not None:
        return np.inf, {}
    pairs = [(p, f) for p, f in zip(found, frames, strict=True) if isinstance(p, Prediction)]
    energy = np.array([p.energy - f.energy for p, f in pairs])
    forces = np.concatenate([(p.forces - f.forces).ravel() for p, f in pairs])
    stress = GPA * np.array([p.stress - f.stress for p, f in pairs]).ravel()
    loss = ENERGY_WEIGHT * _huber(energy) + settings.force_weight * _huber(forces) + settings.stress_weight * _huber(stress)
    return loss, {
        "energy_rmse_mev_per_atom": 1e3 * _rms(energy),
        "force_rmse_mev_per_angstrom": 1e3 * _rms(forces),
        "stress_rmse_gpa": _rms(stress),
    }


def checked_epochs(epochs: Any) -> list[dict[str, float]]:
    """The runner's account of its epochs, as far as it is numbers; the first is before any training.

    Raises
    ------
    ModelError
        If it is something else.
    """
    names = {"epoch", "training_loss", "validation_loss", "hull_spread"}
    if not isinstance(epochs, list) or not 0 < len(epochs) <= 100_000:
        raise ModelError("the runner's report has no list of epochs")
    kept = []
    for place, epoch in enumerate(epochs):
        sound = isinstance(epoch, dict) and epoch.keys() <= names and epoch.get("epoch") == place and "validation_loss" in epoch
        if not sound or not all(type(v) in {int, float} and np.isfinite(v) for v in epoch.values()):
            raise ModelError(
                f"the runner's report of epoch {place} is {str(epoch)[:200]}, allowed: numbers by {', '.join(sorted(names))}"
            )
        kept.append(dict(epoch))
    return kept


def _huber(difference: FloatArray) -> float:
    size = np.abs(difference)
    return float(np.where(size <= HUBER_DELTA, 0.5 * size**2, HUBER_DELTA * (size - 0.5 * HUBER_DELTA)).mean())


def _rms(difference: FloatArray) -> float:
    return float(np.sqrt(np.mean(np.square(difference))))
