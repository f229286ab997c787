"""What tests run in worker processes, which import it by name."""

from __future__ import annotations

import os
import time

from force_field_contract import lithium_sulfide, rattled

from coevo.models.chgnet.force_field import ChgnetForceField
from coevo.models.relaxing.pool import run_batches


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


def process_id(predictor, batch):
    """Say which process this is, slowly enough for every worker to get a batch."""
    time.sleep(0.5)
    return [os.getpid()]


def name_workers_and_wait():
    """Start two workers, print their process ids, and wait to be killed."""
    force_field = ChgnetForceField.published("0.3.0")
    found = run_batches(force_field.recipe, force_field.predictor, process_id, [[1]] * 4, (), workers=2, progress=None)
    print(*sorted({pid for [pid] in found}), flush=True)
    time.sleep(300)


if __name__ == "__main__":
    name_workers_and_wait()
