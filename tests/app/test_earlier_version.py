"""What users had with an earlier version (tests/earlier_version) verifies, is imported, runs on and keeps the ids of states."""

from __future__ import annotations

import json
import os
from importlib.metadata import version
from pathlib import Path

import pytest

from earlier_node import STATES, THIN_BUNDLE, earlier_node, write_bundle
from tiny_node import Coevo

MADE_WITH = {"chgnet": "0.4.2", "torch": "2.13.0+cpu", "numpy": "2.4.6", "pymatgen-core": "2026.10.16", "spglib": "2.8.0"}
"""Versions in the keys of the jobs that were done; others are other work."""


@pytest.fixture
def same_packages() -> None:
    """Skip, or fail where nothing may be missing, with other versions than those that the finished jobs are of."""
    others = [f"{name} {version(name)} (of the jobs: {made})" for name, made in MADE_WITH.items() if version(name) != made]
    if others:
        reason = f"results of other package versions are not reused: {', '.join(others)}; install those of constraints.txt"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)


def state_ids(coevo: Coevo) -> set[str]:
    lines = json.loads(coevo("log", "earlier", "--all", "--format", "json").stdout)
    return {line["id"] for line in lines}


def test_it_verifies_and_keeps_its_ids(tmp_path: Path) -> None:
    coevo = earlier_node(tmp_path)
    done = coevo("verify", "earlier")
    assert "no problem" in done.stdout + done.stderr
    assert state_ids(coevo) == set(STATES)


@pytest.mark.usefixtures("same_packages")
def test_it_runs_on_and_finished_jobs_are_reused(tmp_path: Path) -> None:
    coevo = earlier_node(tmp_path)
    done = coevo("run", "earlier", "-n", "1")
    lines = (done.stdout + done.stderr).splitlines()
    reused = {line.split()[1] for line in lines if "result reused" in line}
    finished = [*(f"{step}/{n:04d}" for step in ("generate", "screen") for n in (0, 1)), "curate", "select", "label/0000"]
    assert reused == {f"earlier/4/{step}" for step in finished}
    found = state_ids(coevo)
    assert found > set(STATES)
    assert len(found) == len(STATES) + 1
    coevo("verify", "earlier")


def imported(directory: Path) -> Coevo:
    """A database with the bundle of the node, which verifies."""
    coevo = Coevo(directory)
    coevo("import", str(write_bundle(directory / "bundle.zip")))
    assert state_ids(coevo) == set(STATES)
    coevo("verify", "earlier")
    return coevo


def test_its_bundle_is_imported_and_verifies(tmp_path: Path) -> None:
    imported(tmp_path)


@pytest.mark.long
def test_what_its_bundle_brought_runs_on(tmp_path: Path) -> None:
    coevo = imported(tmp_path)
    coevo("run", "earlier", "--branch", "try", "-n", "1")
    found = state_ids(coevo)
    assert found > set(STATES)
    assert len(found) == len(STATES) + 1


def test_its_thin_bundle_is_imported_and_verifies(tmp_path: Path) -> None:
    coevo = Coevo(tmp_path)
    coevo("import", str(THIN_BUNDLE))
    assert state_ids(coevo) == set(STATES)
    coevo("verify", "earlier")


@pytest.mark.long
@pytest.mark.service
def test_its_bundle_is_imported_on_a_server(mongodb_uri: str, tmp_path: Path) -> None:
    coevo = Coevo(tmp_path, COEVO_DATABASE=mongodb_uri, COEVO_ARTIFACTS=f"file://{tmp_path}/artifacts")
    coevo("import", str(write_bundle(tmp_path / "bundle.zip")))
    assert state_ids(coevo) == set(STATES)
    coevo("verify", "earlier")
