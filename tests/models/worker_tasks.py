"""What tests run in worker processes, which import it by name."""

from __future__ import annotations

import os

from force_field_contract import lithium_sulfide, rattled

from coevo.models.chgnet.force_field import ChgnetForceField


def end_abruptly(predictor, batch):
    """Die as a process does that the kernel kills."""
    os._exit(9)


def sizes(predictor, batch):
    """Length of each item."""
    return [len(item) for item in batch]


def energies_in_daemon(queue):
    """Evaluate with two workers from a process that may have none."""
    force_field = ChgnetForceField.published("0.3.0")
    structures = [rattled(lithium_sulfide(), seed) for seed in range(34)]
    queue.put([prediction.energy for prediction in force_field.evaluate(structures, workers=2)])
