"""One undisturbed iteration on a real SLURM ends in the state of ``coevo run``; disturbed: test_disturbed_campaign.py."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

import pytest
from site_on_cluster import OnCluster

from slurm_cluster import SlurmCluster
from tiny_node import Coevo

pytestmark = [pytest.mark.timing, pytest.mark.filterwarnings("ignore")]


def test_an_iteration_through_slurm_is_that_of_coevo_run(
    slurm_cluster: SlurmCluster, tmp_path: Path, seeded: Path, finished: Coevo
) -> None:
    """Of a node that was begun elsewhere: the first state through SLURM is one of the disturbed campaign's."""
    site = OnCluster(slurm_cluster, tmp_path, f"campaign_{uuid.uuid4().hex[:8]}")
    Coevo(seeded)("export", "tiny", str(tmp_path / "tiny.zip"))
    site("import", "tiny.zip")
    assert "submitted iteration 1 of tiny@main" in site("submit", "tiny", "-n", "1").stderr
    assert "no job is left to run" in site("launch", "--loop", "--every", "1").stderr
    rows = site.jobs()
    assert {row["state"] for row in rows} == {"completed"}
    assert {row["category"] for row in rows} == {"gpu", "screen", "label", "small"}
    assert all(row["slurm_id"] for row in rows)
    there, here = (json.loads(coevo("log", "tiny", "--format", "json").stdout) for coevo in (site, finished))
    assert [state["id"] for state in there] == [state["id"] for state in here][1:]
    site("verify", "tiny")
    slurm_cluster.wait_for_no_job()
