"""What tests run in worker processes, which import it by name."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

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


def process_id(predictor, batch, seen):
    """Say which process this is, once each of two has got a batch."""
    Path(seen, str(os.getpid())).touch()
    deadline = time.monotonic() + 300
    while len(list(Path(seen).iterdir())) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    return [os.getpid()]


def name_workers_and_wait():
    """Start two workers, print their process ids, and wait to be killed."""
    force_field = ChgnetForceField.published("0.3.0")
    with tempfile.TemporaryDirectory() as seen:
        found = run_batches(force_field.recipe, force_field.predictor, process_id, [[1]] * 4, (seen,), workers=2, progress=None)
    print(*sorted({pid for [pid] in found}), flush=True)
    time.sleep(300)


if __name__ == "__main__":
    name_workers_and_wait()
