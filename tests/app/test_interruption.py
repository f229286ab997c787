"""Ctrl-C: a sentence that says what is left and what to type, exit code 130, no traceback, and no process left over."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from printed import Printed, printed

from coevo.app.interruption import what_to_do
from signalled_runs import start

if TYPE_CHECKING:
    from collections.abc import Callable

    from tiny_node import Coevo

__all__ = ["printed"]


def members(session: int) -> dict[int, str]:
    """Processes of a session that have not ended, and their commands."""
    found = {}
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            fields = (directory / "stat").read_text().rpartition(")")[2].split()
            command = (directory / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            found[int(directory.name)] = command
    return found


def interrupted(coevo: Coevo, *arguments: str) -> tuple[int, str, str]:
    """Run a command that alone gets SIGINT, when its first workers start; return its exit code and what it printed."""
    coevo.environment["COEVO_WORKERS"] = "2"
    process, told = start(coevo, *arguments, number=signal.SIGINT, chunk=1)
    out, err = process.communicate(timeout=1800)
    assert json.loads(told.read_text()), "there were workers"
    deadline = time.monotonic() + 600
    while left := members(process.pid):
        assert time.monotonic() < deadline, left
        time.sleep(0.1)
    return process.returncode, out, err


@pytest.mark.long
@pytest.mark.timing
def test_an_interrupted_run_says_how_to_go_on_and_leaves_no_process(fresh: Coevo) -> None:
    code, out, err = interrupted(fresh, "run", "tiny", "-n", "1", "--branch", "main")
    assert code == 130
    assert "Traceback" not in out + err
    assert "interrupted: nothing is lost" in err
    assert err.rstrip().endswith("run the same command again: coevo run tiny -n 1 --branch main")
    assert json.loads(fresh("status", "tiny", "--format", "json").stdout)["campaigns"][0]["status"] == "running"


@pytest.mark.timing
def test_an_interrupted_analysis_wrote_nothing(fresh: Coevo) -> None:
    site = {"species": [{"element": "Li", "occu": 1}], "abc": [0, 0, 0]}
    pile = fresh.directory / "pile [1].jsonl"
    with pile.open("w") as file:
        for number in range(4_000):
            length = 2.6 + 1e-5 * number
            matrix = [[length, 0, 0], [0, length + 0.3, 0], [0, 0, length + 0.7]]
            file.write(json.dumps({"name": str(number), "lattice": {"matrix": matrix}, "sites": [site]}) + "\n")
    code, _, err = interrupted(fresh, "analyse", str(pile), "--workers", "2", "--output", "numbers")
    assert code == 130
    assert "Traceback" not in err
    assert f"interrupted: nothing was written; run the same command again: coevo analyse '{pile}' --workers 2" in err
    assert not (fresh.directory / "numbers").exists()


LATE_WORKER = """
import concurrent.futures.process as pools, os, signal, threading, time
from contextlib import suppress
from coevo.app.interruption import handle_interrupts
from coevo.processes import map_chunks

interrupted = threading.Event()

def interrupt(_):
    os.kill(int(os.environ["MAIN"]), signal.SIGINT)
    time.sleep(600)

class Pool(pools._ExecutorManagerThread):
    def __init__(self, executor):
        self.executor = executor
        super().__init__(executor)

    def terminate_broken(self, cause):
        interrupted.wait(600)
        queues = self.executor._call_queue, self.executor._result_queue
        self.late = None
        for _ in range(20):  # the server that was killed may not have ended, and a new one may be ended before it serves
            late = self.executor._mp_context.Process(target=pools._process_worker, args=(*queues, None, (), None))
            with suppress(EOFError, OSError):
                late.start()
                self.late = late
                break
        super().terminate_broken(cause)

    def shutdown_workers(self):
        super().shutdown_workers()
        if self.late is not None:
            self.processes[self.late.pid] = self.late

if __name__ == "__main__":
    os.environ["MAIN"] = str(os.getpid())
    pools._ExecutorManagerThread = Pool
    handle_interrupts()
    try:
        list(map_chunks(interrupt, [[1]], workers=2))
    finally:
        interrupted.set()
"""
"""A pool that a thread gets another worker for when the others have been ended and before the pool waits for its workers."""


def test_a_worker_that_starts_late_is_not_waited_for(tmp_path: Path) -> None:
    script = tmp_path / "late.py"
    script.write_text(LATE_WORKER)
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=600, check=False)
    assert "KeyboardInterrupt" in done.stderr


@pytest.mark.parametrize(
    ("function", "arguments", "sentence"),
    [
        ("coevo.campaigns.on_site.opened_queue", ("submit", "li-p-s"), "is not submitted twice"),
        ("coevo.campaigns.on_site.opened_site", ("launch", "--loop"), "sent to the queue or begun go on"),
        ("coevo.campaigns.on_site.opened_site", ("jobs", "tiny", "--watch"), "the jobs go on"),
        ("coevo.node_store.current.current_store", ("export", "tiny", "a b.zip"), "nothing was written"),
        ("coevo.node_store.current.current_store", ("run", "li-p-s", "--branch", "try"), "nothing is lost"),
        ("coevo.node_store.current.current_store", ("log", "tiny"), "nothing was changed"),
    ],
)
def test_each_command_says_what_it_leaves(
    function: str,
    arguments: tuple[str, ...],
    sentence: str,
    printed: Callable[..., Printed],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(function, interrupt)
    monkeypatch.chdir(tmp_path)
    done = printed(*arguments)
    assert (done.code, done.out) == (130, "")
    (line,) = done.err.strip().splitlines()
    assert line.startswith("interrupted: ")
    assert sentence in line
    assert line.endswith("coevo " + " ".join(f"'{word}'" if " " in word else word for word in arguments))


def test_an_interrupt_before_any_command(monkeypatch: pytest.MonkeyPatch) -> None:
    assert what_to_do(None, ["x\x1b"]) == "interrupted: nothing was changed; run the same command again: coevo 'x\x1b'"
