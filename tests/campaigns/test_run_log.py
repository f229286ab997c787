"""The log of a run: what is in it, that it is bounded, and that no disk that is full or read-only stops a run."""

from __future__ import annotations

import logging
import os
import re
import warnings
from pathlib import Path

import pytest

from coevo.campaigns import run_log
from coevo.campaigns.run_log import RunLog, log_file
from coevo.node_store.blobs.artifacts import ArtifactStore
from coevo.node_store.mongodb.database import MongoBackend
from coevo.node_store.store import NodeStore, open_store
from coevo.output.progress import reporter
from coevo.settings import Settings
from tiny_node import Coevo, copy_of


def lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def log(tmp_path: Path, said: list[str]) -> RunLog:
    return RunLog(tmp_path / "logs" / "main.log", ["coevo", "run", "a b"], said.append)


def test_jobs_lines_and_the_command_are_logged(log: RunLog, said: list[str]) -> None:
    with log:
        log.telling(said.append)("transition 1 of 2")
        reporter().job_started("tiny/1/curate")
        reporter().job_finished("tiny/1/curate", 2.04, reused=False)
        reporter().job_finished("tiny/1/select", 0.0, reused=True)
    found = lines(log.path)
    assert all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ INFO    ", line) for line in found)
    told = [line[29:] for line in found]
    assert re.fullmatch(rf"coevo \S+, process {os.getpid()} on \S+: coevo run 'a b'", told[0])
    assert re.search(r"numpy \d.*torch \d.*jobflow \d", told[1])
    assert told[2:6] == [
        "transition 1 of 2",
        "tiny/1/curate begins",
        "tiny/1/curate ended after 2.0 s",
        "tiny/1/select was done before, its result is used",
    ]
    assert re.fullmatch(r"ended after \d+\.\d s", told[6])
    assert said == ["transition 1 of 2"]


def test_warnings_and_records_are_logged_and_shown(log: RunLog, capsys: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        shown: list[str] = []
        warnings.showwarning = lambda message, *rest: shown.append(str(message))
        with log:
            warnings.warn("the cell is thin", UserWarning, stacklevel=1)
            logging.getLogger("some.library").error("no answer")
            logging.getLogger("some.library").info("chatter")
        warnings.warn("afterwards", UserWarning, stacklevel=1)
    text = log.path.read_text()
    assert "WARNING UserWarning: the cell is thin (" in text
    assert "ERROR   some.library: no answer" in text
    assert "chatter" not in text
    assert "afterwards" not in text
    assert shown == ["the cell is thin", "afterwards"]


def test_an_error_is_logged_with_its_traceback(log: RunLog) -> None:
    with pytest.raises(ValueError, match="broken"), log:
        raise ValueError("broken\x1b[31m at mongodb://me:secret@host/db")
    text = log.path.read_text()
    assert "ERROR   failed after" in text
    assert "Traceback (most recent call last)" in text
    assert r"ValueError: broken\x1b[31m at mongodb://***@host/db" in text
    assert all(line.startswith(("20", "    ")) for line in text.splitlines())


def test_an_interrupt_is_logged_as_one(log: RunLog) -> None:
    with pytest.raises(KeyboardInterrupt), log:
        raise KeyboardInterrupt
    assert "WARNING interrupted after" in lines(log.path)[-1]


def test_files_are_set_aside_and_bounded(log: RunLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_log, "LONGEST_FILE", 2000)
    with log:
        for number in range(200):
            log.line(f"line {number} " + "x" * 60)
        log.line("y" * 100_000)
    files = sorted(path.name for path in log.path.parent.iterdir())
    assert files == ["main.log", "main.log.1", "main.log.2", "main.log.3"]
    assert sum(path.stat().st_size for path in log.path.parent.iterdir()) < 4 * 2000 + 25_000


def test_a_full_disk_is_told_once(tmp_path: Path, said: list[str]) -> None:
    (tmp_path / "main.log").symlink_to("/dev/full")
    with RunLog(tmp_path / "main.log", ["coevo"], said.append) as log:
        for _ in range(3):
            log.line("lost")
    assert len(said) == 1
    assert "No space left on device" in said[0]
    assert "goes on without it" in said[0]


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path, said: list[str]) -> None:
    (tmp_path / "logs").write_text("in the way")
    with RunLog(tmp_path / "logs" / "main.log", ["coevo"], said.append) as log:
        log.line("lost")
    assert len(said) == 1
    assert str(tmp_path / "logs" / "main.log") in said[0]


def test_each_branch_has_a_file_beside_its_node(tmp_path: Path) -> None:
    store = open_store(Settings(database=f"file:{tmp_path / 'db'}"))
    assert log_file(store, "tiny", "main") == tmp_path / "db" / "tiny" / "logs" / "main.log"
    assert log_file(store, "tiny", "try") == tmp_path / "db" / "tiny" / "logs" / "try.log"
    assert not (tmp_path / "db").exists()


def test_nodes_on_a_server_are_logged_on_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    backend = MongoBackend("mongodb://me:secret@db.example:27017/materials?authSource=admin")
    store = NodeStore(backend, ArtifactStore(str(tmp_path / "blobs")))
    assert log_file(store, "tiny", "main") == tmp_path / "coevo" / "logs" / "db.example_27017_materials" / "tiny" / "main.log"
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert log_file(store, "tiny", "main").is_relative_to(tmp_path / "home" / ".local" / "state" / "coevo" / "logs")


def test_a_run_has_been_logged_and_nothing_else_knows_of_it(finished: Coevo, tmp_path: Path) -> None:
    log = finished.database / "tiny" / "logs" / "main.log"
    text = log.read_text()
    assert "run tiny -n 2" in text
    for job in ("tiny/1/generate/0000", "tiny/1/train-force-field", "tiny/2/re-evaluate/0000", "tiny/2/commit"):
        assert f"{job} begins" in text
        assert re.search(rf"{job} ended after \d+\.\d s", text)
    assert re.search(r"state [0-9a-f]{64} of iteration 2: \d+ entries", text)
    assert " 0 notes" in finished("verify", "tiny").stderr
    assert "nothing is garbage" in finished("gc").stderr
    finished("export", "tiny", str(tmp_path / "tiny.zip"))
    assert b"logs/main.log" not in (tmp_path / "tiny.zip").read_bytes()


def test_a_run_that_is_refused_is_logged_and_one_that_never_began_is_not(finished: Coevo, tmp_path: Path) -> None:
    coevo = copy_of(finished.directory, tmp_path)
    logs = coevo.database / "tiny" / "logs"
    live = coevo.database / "tiny" / "node.yaml"
    live.write_text(live.read_text().replace("max_steps: 80", "max_steps: many"))
    coevo("run", "tiny", code=2)
    assert "failed after" in (logs / "main.log").read_text().rpartition("run tiny")[2]
    assert "ConfigError" in lines(logs / "main.log")[-1]
    coevo("run", "tiny", "--branch", "nope", code=2)
    assert "cannot name a branch" in coevo("run", "tiny", "--branch", "../../evil", code=2).stderr
    assert [path.name for path in logs.iterdir()] == ["main.log"]
    assert not list(tmp_path.rglob("evil*"))
