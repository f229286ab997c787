"""Processes that runners start: they end with their run, and when coevo is gone."""

from __future__ import annotations

import os
import shutil
import subprocess
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


@pytest.mark.timing
@pytest.mark.parametrize(
    ("family", "words", "first"),
    [
        ("uni3dar", ["uni3dar_launch.py", "data", "task.json"], "uni3dar_attention.py"),
        ("diffcsp", ["diffcsp_launcher.py", "train", "checkout", "task.json"], "diffcsp_stand_ins.py"),
    ],
)
def test_a_program_whose_coevo_is_gone_ends_itself(tmp_path, family, words, first):
    """Each launcher as it is, but for what it does first, which changes the directory and stays; it waits for us at each look."""
    for path in (*RUNNERS.glob("coevo_*.py"), *(RUNNERS / family).glob("*.py")):
        shutil.copy(path, tmp_path)
    text, wait = PROTOCOL_FILE.read_text(), "time.sleep(_CHECK)"
    assert text.count(wait) == 1
    (tmp_path / "coevo_runner.py").write_text(text.replace(wait, "os.write(1, b'waits\\n'), sys.stdin.readline()"))
    (tmp_path / first).write_text("import os, time\ndef install():\n    os.chdir('/')\n    time.sleep(3600)\n")
    (tmp_path / "torch.py").write_text("")  # not needed so far
    (tmp_path / "task.json").write_text('{"checkouts": ["a", "b"], "work": "work"}')
    (tmp_path / "alive").touch()
    pipe = subprocess.PIPE
    program = subprocess.Popen([sys.executable, *words], cwd=tmp_path, stdin=pipe, stdout=pipe, stderr=pipe, text=True)

    def looks(time_ns: int) -> None:
        assert program.stdout.readline() == "waits\n"
        os.utime(tmp_path / "alive", ns=(time_ns, time_ns))
        program.stdin.write("look\n")
        program.stdin.flush()

    try:
        for number in range(30):  # we live for longer than its patience
            looks(number)
        for _ in range(24):
            looks(29)
        _, told = program.communicate(timeout=300)
    finally:
        program.kill()
    assert program.returncode == 75
    assert "the process that started this run is gone" in told
