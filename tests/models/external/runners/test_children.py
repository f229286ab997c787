"""Processes that runners start: they end with their run."""

from __future__ import annotations

import os
import shutil
import sys
import time
from pathlib import Path

import pytest

from coevo.models.external.families import HERE, PROTOCOL_FILE
from coevo.models.external.process import run_process

RUNNERS = HERE / "runners"


def alive(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.timing
@pytest.mark.parametrize("end", ["time limit", "interrupt"])
def test_a_program_of_uni3dar_ends_with_its_run(tmp_path, end):
    for path in (PROTOCOL_FILE, RUNNERS / "uni3dar" / "uni3dar_program.py"):
        shutil.copy(path, tmp_path)
    (tmp_path / "program.py").write_text(
        "import os, time\nopen('part', 'w').write(str(os.getpid()))\nos.rename('part', 'pid')\ntime.sleep(3600)\n"
    )
    (tmp_path / "runner.py").write_text(
        "from uni3dar_program import start\nstart({'checkouts': {'Uni-3DAR': 'a', 'Uni-Core': 'b'}}, 'train', {}, [])\n"
    )

    def until_it_runs() -> None:
        deadline = time.monotonic() + 300
        while not (tmp_path / "pid").exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        if end == "interrupt":
            raise KeyboardInterrupt

    def run() -> None:
        variables = {**os.environ, "UNI3DAR_PYTHON": f"{sys.executable} program.py"}
        command = [sys.executable, "runner.py"]
        ended = run_process(command, tmp_path, variables, tmp_path / "log", timeout=0.5, tick=until_it_runs)
        assert ended.timed_out

    if end == "interrupt":
        with pytest.raises(KeyboardInterrupt):
            run()
    else:
        run()
    pid, deadline = int((tmp_path / "pid").read_text()), time.monotonic() + 60
    while alive(pid):  # it may take a moment to go
        assert time.monotonic() < deadline, "the training lives on"
        time.sleep(0.02)
