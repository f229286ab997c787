"""Jobs of a site in tests wait for the test that holds them: loaded by Python itself where this folder is on PYTHONPATH.

A job whose name has a folder in ``$JOB_GATES`` leaves its process id there once it runs, and begins its work when the folder is
gone. Meanwhile it is a running job like any other: its launch is in the launchpad and it tells that it is alive. The worker, the
job and their commands are those of users.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

_EVERY = 0.02
"""Seconds between looks."""


def wait_at_the_gate(name: str) -> None:
    """Return at once, or when the test lets the job go."""
    gate = Path(os.environ["JOB_GATES"]) / name.replace("/", "_")
    try:
        (gate / str(os.getpid())).touch()
    except FileNotFoundError:
        return
    worker = os.getppid()

    def end_after_the_worker(*_: object) -> None:
        """A job that SLURM ends is never taken for one whose process died under a worker that is well."""
        while os.getppid() == worker:
            time.sleep(_EVERY)
        os._exit(128 + signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, end_after_the_worker)
    while gate.exists():
        time.sleep(_EVERY)
    signal.signal(signal.SIGTERM, before)


if "JOB_GATES" in os.environ and ("coevo.slurm.worker" in sys.orig_argv or "execution" in sys.orig_argv):
    from jobflow import Job

    _run = Job.run

    def run(self: Job, *args: Any, **kwargs: Any) -> Any:
        """Do what the method of this name does, once the test lets the job go."""
        wait_at_the_gate(self.name)
        return _run(self, *args, **kwargs)

    Job.run = run  # type: ignore[method-assign]
