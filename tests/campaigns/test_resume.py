"""Kill ``coevo run`` with SIGKILL and run it again: nothing recomputed, lost or doubled, and the same state id."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from signalled_runs import killed
from tiny_node import Coevo, copy_of


def job_results(coevo: Coevo) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (coevo.database / "jobs").glob("*/*.json")}


def head(coevo: Coevo) -> dict:
    return json.loads(coevo("log", "tiny", "--format", "json").stdout)[0]


@pytest.mark.long
@pytest.mark.timing
def test_killed_again_and_again_ends_in_the_same_state(finished: Coevo, seeded: Path, tmp_path: Path) -> None:
    coevo = copy_of(seeded, tmp_path)
    before = len(job_results(coevo))
    total = len(job_results(finished))
    points = sorted({before + 1, before + 5, before + 9, (before + total) // 2 + 1, total - 2})
    for point in points:
        stored = job_results(coevo)
        killed(coevo, "run", "tiny", "-n", "2", results=point)
        after = job_results(coevo)
        assert {name: after[name] for name in stored} == stored, "a finished job was computed again"
    last = coevo("run", "tiny", "-n", "2")
    assert "result reused" in last.stderr
    assert head(coevo)["id"] == head(finished)["id"]
    assert job_results(coevo).keys() == job_results(finished).keys()
    log = json.loads(coevo("log", "tiny", "--format", "json").stdout)
    assert [state["iteration"] for state in log] == [2, 1, 0]
    states = [path.name for path in (coevo.database / "tiny" / "states").iterdir() if not path.name.startswith(".")]
    assert sorted(states) == sorted(state["id"] for state in log)
    ids = [row["structure_id"] for row in json.loads(coevo("query", "tiny", "--format", "json").stdout)]
    assert len(ids) == len(set(ids)) == log[0]["counts"]["entries"]


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.long
@pytest.mark.timing
def test_workers_of_a_killed_run_end(fresh: Coevo) -> None:
    fresh.environment["COEVO_WORKERS"] = "2"
    workers = killed(fresh, "run", "tiny", results=len(job_results(fresh)) + 3)
    assert workers
    deadline = time.monotonic() + 600
    while any(is_alive(pid) for pid in workers):
        assert time.monotonic() < deadline, f"workers {workers} outlive the run that was killed"
        time.sleep(0.1)


@pytest.mark.long
@pytest.mark.timing
def test_a_killed_init_is_finished_by_running_it_again(tmp_path: Path, tiny_text: str, seeded: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(tiny_text)
    coevo = Coevo(tmp_path)
    killed(coevo, "init", "tiny.yaml", results=1)
    assert (coevo.database / "tiny" / "node.json").exists()
    assert "coevo init" in coevo("run", "tiny", code=2).stderr
    coevo("init", "tiny.yaml")
    assert head(coevo)["id"] == head(Coevo(seeded))["id"]


@pytest.mark.long
def test_the_number_of_workers_does_not_change_the_state(finished: Coevo, seeded: Path, tmp_path: Path) -> None:
    coevo = copy_of(seeded, tmp_path, COEVO_WORKERS="1")
    coevo("run", "tiny", "-n", "1")
    assert head(coevo)["id"] == json.loads(finished("log", "tiny@main~1", "--format", "json").stdout)[0]["id"]
    again = coevo("run", "tiny", "-n", "1")
    assert "result reused" not in again.stderr
    assert head(coevo)["id"] == head(finished)["id"], "two campaigns of one transition must equal one of two"
