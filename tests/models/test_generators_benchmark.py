"""The benchmark of generators runs, says what is missing, keeps what it measured, and the page has what it wrote."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import generators

    return generators


def row(family: str, status: str, date: str, **more) -> dict:
    return {"family": family, "status": status, "date": date, "reason": "no environment here", **more}


def test_a_family_that_is_not_here_is_a_row_that_says_so(benchmark, tmp_path, monkeypatch):
    monkeypatch.setenv("COEVO_ENVIRONMENTS", str(tmp_path / "none"))
    node = SimpleNamespace(examples=[], digest="0" * 12)
    found = benchmark.row_of("mattergen", node, Namespace(quick=False, seed=0, samples=4))
    assert found["status"] == "absent"
    assert found["reason"] == "no environment here: coevo env create mattergen"
    assert found["settings"]["mattergen"]["weights"] == "small"
    printed = benchmark.table([found])
    assert "| `mattergen` | absent: no environment here: coevo env create mattergen |" in printed
    assert len({line.count("|") for line in printed.splitlines()}) == 1


def test_what_was_measured_is_kept_when_the_family_is_gone(benchmark):
    measured = row("adit", "measured", "2026-11-30T10:00:00+00:00", seed=3)
    gone = row("adit", "absent", "2026-12-02T10:00:00+00:00")
    (kept,) = benchmark.merged([measured], [gone])
    assert (kept["status"], kept["date"], kept["seed"]) == ("measured", measured["date"], 3)
    assert kept["since"] == {"date": gone["date"], "status": "absent", "reason": "no environment here"}
    again = row("adit", "measured", "2026-12-03T10:00:00+00:00")
    (both,) = benchmark.merged([kept], [again])
    assert (both["date"], [r["date"] for r in both["earlier"]]) == (again["date"], [measured["date"]])
    assert benchmark.merged([both], [again]) == [both]  # the same row, from the working directory
    assert [r["family"] for r in benchmark.merged([gone], [row("embedded", "measured", "2026")])] == ["embedded", "adit"]


def test_messages_lose_the_places_of_a_machine(benchmark):
    text = "checkout of A: got /home/someone/A (named by B), allowed: one of https://github.com/a/A; do this\nand that"
    assert benchmark.without_places(text) == "checkout of A: got A (named by B), allowed: one of https://github.com/a/A"
    assert benchmark.without_places("") == ""


def test_the_page_has_the_table_of_the_last_results(benchmark):
    report = json.loads(benchmark.RESULT.read_text())
    page = (ROOT / "docs" / "generators.md").read_text()
    assert benchmark.table(report["rows"]) in page
    assert report["label"] in page
    assert [r["family"] for r in report["rows"]] == list(benchmark.FAMILIES)
    # all families learned the same
    assert len({r["examples_digest"] for r in report["rows"]}) == 1


@pytest.mark.long
def test_a_small_run_measures_and_writes_nothing(benchmark, tmp_path, monkeypatch, capsys):
    output = tmp_path / "generators.json"
    arguments = ["--quick", "--families", "embedded", "--work", str(tmp_path / "work"), "--output", str(output)]
    monkeypatch.setattr(sys, "argv", ["generators.py", *arguments])
    benchmark.main()
    assert not output.exists()
    (kept,) = (tmp_path / "work").glob("embedded-*.json")
    found = json.loads(kept.read_text())
    sample, times = found["sample"], found["times"]
    assert (found["status"], sample["asked"], sample["returned"], found["environment"]) == ("measured", 4, 4, None)
    assert sample["valid"] + sum(sample["invalid"].values()) == 4
    assert sample["relaxed"] + sum(sample["not_relaxed"].values()) == sample["valid"]
    assert sample["new_within"] <= sample["distinct_within"] <= sample["within"] <= sample["relaxed"]
    assert times["judge"]["cpu_seconds"] > 0
    before = kept.stat().st_mtime_ns
    benchmark.main()  # goes on from what is kept
    assert kept.stat().st_mtime_ns == before
    assert "| `embedded` |" in capsys.readouterr().out
