"""Which processes live, and waiting for something that comes late."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from coevo.slurm.local_cluster import processes
from coevo.slurm.local_cluster.processes import Process, wait_until

pytestmark = pytest.mark.timing

PATIENCE = 600.0
WITHOUT_ITS_FIRST_THREAD = """
import ctypes, threading, time
threading.Thread(target=time.sleep, args=(3000,)).start()
ctypes.CDLL(None).pthread_exit(None)
"""


def fields_of(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def test_a_process_lives_as_long_as_one_of_its_threads() -> None:
    """Its ports are taken until then, although it looks like one that merely waits for its parent."""
    with subprocess.Popen([sys.executable, "-c", WITHOUT_ITS_FIRST_THREAD]) as started:
        try:
            process = Process(started.pid, int(fields_of(started.pid)[19]))
            assert wait_until(lambda: fields_of(started.pid)[0] == "Z", PATIENCE)
            assert process.runs
            started.kill()
            # nobody has asked how it ended
            assert wait_until(lambda: not process.runs, PATIENCE)
            assert fields_of(started.pid)[0] == "Z"
        finally:
            started.kill()


def test_who_was_held_up_looks_once_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped right after a look: the time went on, and what it waited for has come."""
    clock, came = [0.0], []

    def look_and_be_stopped() -> bool:
        found = bool(came)
        clock[0] += 1000.0
        came.append(True)
        return found

    monkeypatch.setattr(processes.time, "monotonic", lambda: clock[0])
    assert wait_until(look_and_be_stopped, 60.0)
    assert not wait_until(lambda: False, -1.0)
