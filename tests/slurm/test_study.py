"""A study on a real SLURM is that of ``coevo study`` here, and is added once however often it is asked for."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest
from site_on_cluster import SITE, OnCluster

import tiny_study
from coevo.campaigns.on_site import opened_queue
from coevo.campaigns.study import run_study, submit_study
from coevo.campaigns.study_phases import choose_phases
from coevo.flows.studies.registry import KINDS
from coevo.node_store.current import current_store
from slurm_cluster import SlurmCluster
from tiny_node import Coevo, copy_of

pytestmark = [pytest.mark.long, pytest.mark.timing, pytest.mark.filterwarnings("ignore")]


def test_a_study_through_slurm_is_that_of_this_process(
    slurm_cluster: SlurmCluster, tmp_path: Path, finished: Coevo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(KINDS, "tiny", tiny_study.TINY_KIND)
    here = copy_of(finished.directory, tmp_path)
    here("export", "tiny", str(tmp_path / "tiny.zip"))
    # the workers find the kind beside the tests
    text = SITE.replace("{gates}", f"PYTHONPATH: {Path(tiny_study.__file__).parent}")
    site = OnCluster(slurm_cluster, tmp_path, f"study_{uuid.uuid4().hex[:8]}", text)
    site("import", "tiny.zip")
    for name in ("COEVO_DATABASE", "COEVO_ARTIFACTS"):
        monkeypatch.setenv(name, site.environment[name])
    settings = tiny_study.TinyStudy(scale=3.0)
    added = []
    with opened_queue(str(tmp_path / "site.yaml"), "fireworks") as (store, queue):
        view = store.state("tiny")
        phases = choose_phases(view, references=True, limit=4)
        added = [submit_study(store, queue, view, "tiny", settings, phases) for _ in range(2)]
        other = submit_study(store, queue, view, "tiny", tiny_study.TinyStudy(scale=4.0), phases)
    assert [was_added for _, was_added in added] == [True, False]
    assert added[0][0] == added[1][0] != other[0]
    assert "cancelled 2 studies of tiny, 6 jobs" in site("cancel", "tiny", "--studies").stderr
    with opened_queue(str(tmp_path / "site.yaml"), "fireworks") as (store, queue):  # and may be asked for again
        name, was_added = submit_study(store, queue, store.state("tiny"), "tiny", settings, phases)
    assert was_added
    assert "no job is left to run" in site("launch", "--loop", "--every", "1").stderr
    rows = [row for row in site.jobs("tiny", "--all") if row["campaign"] == name]
    assert {row["state"] for row in rows} == {"completed"}
    assert {row["step"]: row["category"] for row in rows} == {"screen": "screen", "assess": "small", "commit-study": "small"}
    assert all(row["slurm_id"] for row in rows)
    (there,) = current_store().state("tiny").studies()
    assert there.document["results"]["volumes"].keys() == {phase["id"] for phase in phases.phases}
    monkeypatch.setenv("COEVO_DATABASE", here.environment["COEVO_DATABASE"])
    monkeypatch.delenv("COEVO_ARTIFACTS")
    store = current_store()
    made = run_study(store, store.state("tiny"), "tiny", settings, phases)
    assert made.id == there.id
    site("verify", "tiny")
    assert there.id[:10] in site("study", "list", "tiny").stdout
    slurm_cluster.wait_for_no_job()
