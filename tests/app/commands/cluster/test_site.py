"""``coevo site`` and ``coevo doctor --site``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tiny_node import Coevo


@pytest.fixture
def coevo(tmp_path: Path) -> Coevo:
    return Coevo(tmp_path, MONGO_USER="me", MONGO_PASSWORD="h4rd-to-guess")


@pytest.mark.long
def test_a_site_is_written_checked_and_shown(coevo: Coevo, tmp_path: Path) -> None:
    assert "wrote site.yaml" in coevo("site", "init").stderr
    assert "is valid: site my-cluster, queue slurm, digest " in coevo("site", "check").stderr
    shown = coevo("site", "show")
    assert "database: mongodb://***@mongo.example.org/coevo" in shown.stdout
    assert "h4rd-to-guess" not in shown.stdout + shown.stderr
    document = json.loads(coevo("site", "show", "site.yaml", "--format", "json").stdout)
    assert document["launchpad"] == "mongodb://***@mongo.example.org/coevo_launchpad"
    assert document["files"].endswith(f"site-my-cluster-{document['digest']}")


def test_a_file_that_exists_is_never_overwritten(coevo: Coevo, tmp_path: Path) -> None:
    (tmp_path / "site.yaml").write_text("mine")
    done = coevo("site", "init", "--like", "workstation", code=2)
    assert "site.yaml: exists already and is not overwritten" in done.stderr
    assert (tmp_path / "site.yaml").read_text() == "mine"
    coevo("site", "init", "--like", "workstation", "--output", "other.yaml")
    assert "site workstation, queue none" in coevo("site", "check", "other.yaml").stderr
    assert "allowed: gpu-slurm, local-cluster, workstation" in coevo("site", "init", "--like", "pbs", "-o", "x", code=2).stderr


def test_what_is_wrong_with_a_site_is_one_line_each(coevo: Coevo, tmp_path: Path) -> None:
    coevo("site", "init", "--like", "workstation")
    text = (tmp_path / "site.yaml").read_text()
    (tmp_path / "site.yaml").write_text(text.replace("queue: none", "queue: nine").replace("workers:", "worker:"))
    lines = coevo("site", "check", code=2).stderr.splitlines()
    assert lines[0].startswith("coevo: site.yaml:11: queue: got nine, allowed: one of slurm, none")
    assert lines[1].startswith("site.yaml:12: worker: unknown key; did you mean workers?")
    (tmp_path / "site.yaml").write_text(text.replace('". ${HOME}', '"if . ${HOME}'))
    assert "the script is no shell" in coevo("site", "check", code=2).stderr


def test_doctor_tries_a_site(tmp_path: Path, mongodb_uri: str) -> None:
    coevo = Coevo(tmp_path, COLUMNS="400")  # no path is broken into lines
    site = f"site: here\ndatabase: {mongodb_uri}\nartifacts: file://{tmp_path}/blobs\ndirectory: {tmp_path}/jobs\nqueue: none\n"
    (tmp_path / "site.yaml").write_text(site)
    findings = json.loads(coevo("doctor", "--site", "site.yaml", "--format", "json").stdout)
    assert {finding["condition"] for finding in findings} == {"ok"}
    assert [finding["what"] for finding in findings][:5] == ["site", "database", "launchpad", "artifacts", "directory"]
    (tmp_path / "jobs").write_text("a file")
    table = coevo("doctor", "--site", "site.yaml", code=1).stdout
    assert "jobs is a file" in " ".join(table.split())
