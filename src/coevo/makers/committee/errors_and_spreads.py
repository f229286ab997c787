"""Errors of a force field on labels that it has not seen, and the spread of its committee on the same frames."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from coevo.makers.checkpoints import load_force_field
from coevo.makers.committee.members import kinds_of
from coevo.makers.committee.scales import Corrections, shifted, stored_offsets
from coevo.output.progress import task

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from coevo.configs.tree import NodeSection
    from coevo.configs.uncertainty_section import UncertaintyConfig
    from coevo.makers.outputs import Calibrated, Checkpoint
    from coevo.makers.step import Document
    from coevo.models.contracts import ForceField, TrainingFrame
    from coevo.node_store.store import NodeStore

MILLI = 1000.0


def calibrated(
    store: NodeStore,
    labels: Sequence[Mapping[str, Any]],
    offsets: Mapping[str, Any],
    checkpoint: Checkpoint,
    members: Mapping[str, Checkpoint],
    recorded: Mapping[str, Mapping[str, Any]],
    node: NodeSection,
    uncertainty: UncertaintyConfig,
    workers: int,
) -> Calibrated:
    """Compare errors of a force field on labels with the spread of a committee.

    Parameters
    ----------
    store : NodeStore
    labels : sequence of dict
        Admitted labels of frames that the force field and the members have not seen (:func:`not_seen`).
    offsets : mapping
        Of labels, by digest of their settings.
    checkpoint, members : dict
        Of the state before the labels.
    recorded : mapping
        What that state records of its members.
    node : NodeSection
    uncertainty : UncertaintyConfig
    workers : int

    Returns
    -------
    dict
        As :meth:`coevo.makers.committee.calibrate.CalibrateMaker.make`.
    """
    from coevo.analysis.hull.energy_scale import Offsets
    from coevo.analysis.signals.agreement import spread
    from coevo.analysis.signals.calibration import calibration
    from coevo.makers.labels.stiffness import is_stiffness
    from coevo.makers.labels.training_set import frame_of

    scales = {digest: Offsets.from_dict(stored) for digest, stored in offsets.items()}
    usable = [label for label in labels if label["settings_digest"] in scales and not is_stiffness(label)]
    if not usable:
        return {"calibration": None, "reason": "no new label whose energy can be compared"}
    force_field = load_force_field(store, checkpoint)
    frames = [frame_of(dict(x), scales[x["settings_digest"]], force_field.energy_scale) for x in usable]
    corrections = Corrections([frame.structure for frame in frames])
    others = kinds_of(uncertainty.others)
    energies, forces = [], []
    own_energy, own_force = _predicted(force_field, frames, workers)
    voices = []
    for name, member in sorted(members.items()):
        found, force = _predicted(load_force_field(store, member), frames, workers)
        if name in others:
            own_scale = stored_offsets(recorded, name, node.elements)
            if own_scale is None:
                continue
            found = shifted(found, corrections.structures, corrections.of(others[name].told, node.energy_scale), own_scale)
        energies.append(found)
        forces.append(force)
        voices.append(name)
    if not voices:
        return {"calibration": None, "reason": "the parent has no members yet"}
    labelled = np.array([frame.energy for frame in frames])
    energy = calibration(MILLI * spread(np.column_stack([own_energy, *energies])), MILLI * np.abs(own_energy - labelled))
    columns = [_force_spread([one, *(member[i] for member in forces)]) for i, one in enumerate(own_force)]
    errors = [_rms(one - frame.forces) for one, frame in zip(own_force, frames, strict=True)]
    found_both: Document = {
        "voices": voices,
        "energy": energy,
        "force": calibration(MILLI * np.array(columns), MILLI * np.array(errors)),
    }
    return {"calibration": found_both, "reason": ""}


def not_seen(labels: Iterable[Mapping[str, Any]], before: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Admitted labels of frames that have none in the state before: one that is labelled again was trained on already."""
    seen = {label["frame"] for label in before if label["status"] == "admitted"}
    return [label for label in labels if label["status"] == "admitted" and label["frame"] not in seen]


def _predicted(force_field: ForceField, frames: Sequence[TrainingFrame], workers: int) -> tuple[Any, list[Any]]:
    """Energies (eV/atom) and forces (eV/Å) of frames; NaN where there is no prediction."""
    from coevo.models.contracts import Prediction

    with task("evaluating", len(frames), "frames") as advance:
        found = force_field.evaluate([frame.structure for frame in frames], workers=workers, progress=advance)
    energies = np.array([p.energy if isinstance(p, Prediction) else np.nan for p in found])
    forces = [
        p.forces if isinstance(p, Prediction) else np.full(frame.forces.shape, np.nan)
        for p, frame in zip(found, frames, strict=True)
    ]
    return energies, forces


def _force_spread(forces: Sequence[Any]) -> float:
    """Root mean square over the components of the standard deviation over the voices, eV/Å; NaN if fewer than two have forces."""
    from coevo.analysis.signals.agreement import spread

    return _rms(spread(np.column_stack([np.ravel(one) for one in forces])))


def _rms(values: Any) -> float:
    return float(np.sqrt(np.mean(np.square(values))))
