"""``submit``, ``pause``, ``resume``, ``cancel``, ``launch`` without a queue: what they say, refuse and leave behind."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

import pytest
from site_on_cluster import OnCluster, kill_with_its_worker

from slurm_cluster import SlurmCluster
from tiny_node import Coevo

pytestmark = pytest.mark.filterwarnings("ignore")

WORKSTATION = """
site: workstation
database: {server}/{database}
artifacts: file://{directory}/artifacts
directory: {directory}/jobs
queue: none
workers: 2
environments:
  default:
    commands: ["export PATH={python}:$PATH"]
    variables: {{COEVO_DEVICE: cpu, {gates}}}
"""


def workstation(cluster: SlurmCluster, directory: Path, tiny_text: str) -> OnCluster:
    """A workstation with the cluster's MongoDB server and no queue, in a directory and with a database of its own."""
    (directory / "tiny.yaml").write_text(tiny_text)
    return OnCluster(cluster, directory, f"workstation_{uuid.uuid4().hex[:8]}", WORKSTATION)


@pytest.fixture(scope="module")
def site(slurm_cluster: SlurmCluster, tmp_path_factory: pytest.TempPathFactory, tiny_text: str) -> OnCluster:
    """The workstation of those tests here that follow one campaign."""
    return workstation(slurm_cluster, tmp_path_factory.mktemp("workstation"), tiny_text)


def states(site: OnCluster) -> dict[str, int]:
    counts: dict[str, int] = {}
    for row in site.jobs():
        counts[row["state"]] = counts.get(row["state"], 0) + 1
    return counts


@pytest.mark.long
@pytest.mark.timing
def test_a_campaign_is_paused_resumed_cancelled_and_submitted_again(site: OnCluster) -> None:
    assert "no node 'tiny'" in site("submit", "tiny", code=2).stderr
    assert "no node 'tiny'" in site("jobs", "tiny", code=2).stderr
    told = json.loads(site("submit", "tiny.yaml", "-n", "1", "--format", "json").stdout)
    assert (told["iteration"], told["added"], told["verdict"]) == (0, True, "continue")
    assert states(site) == {"waiting": 5, "ready": 1}
    assert "6 jobs of tiny are paused" in site("pause", "tiny").stderr
    assert states(site) == {"paused": 6}
    assert "no job is left" in site("launch").stderr
    assert "6 jobs of tiny go on" in site("resume", "tiny").stderr
    assert states(site) == {"waiting": 5, "ready": 1}
    assert "6 jobs" in site("cancel", "tiny").stderr
    assert states(site) == {"cancelled": 6}
    assert "no unfinished campaign" in site("cancel", "tiny", code=2).stderr
    assert "nothing to run again" in site("rerun", "tiny").stderr
    again = json.loads(site("submit", "tiny.yaml", "-n", "1", "--format", "json").stdout)
    assert again["campaign"] != told["campaign"]
    assert again["added"]
    assert states(site) == {"waiting": 5, "ready": 1}


@pytest.mark.long
@pytest.mark.timing
def test_jobs_run_here_and_a_killed_one_is_found(
    slurm_cluster: SlurmCluster, tmp_path: Path, tiny_text: str, seeded: Path
) -> None:
    """Without a queue the launcher starts workers; one whose worker and job were killed together is lost, and run again."""
    site = workstation(slurm_cluster, tmp_path, tiny_text)
    site("submit", "tiny.yaml", "-n", "1")
    name, following = "tiny/0/evaluate-references/0000", "tiny/1/generate/0000"
    site.gates.hold(name, following)
    site.start_launcher()
    launch = site.held(name)
    env = launch["fworker"]["env"]
    assert "slurm_job_id" not in env
    kill_with_its_worker(launch)
    row = site.wait_for_state(name, "lost")
    assert row["error"] == f"process {env['pid']} of this machine has ended"
    site.gates.let_go(name)
    assert f"ready again: {name}" in site("rerun", "tiny", "--lost").stderr
    # the first state is there, and the next one cannot be made
    launch = site.held(following)
    site.kill_launcher()
    kill_with_its_worker(launch)
    site("pause", "tiny")
    ours = json.loads(site("log", "tiny", "--format", "json").stdout)
    theirs = json.loads(Coevo(seeded)("log", "tiny", "--format", "json").stdout)
    assert [state["id"] for state in ours] == [state["id"] for state in theirs]
    logged = site("logs", name)
    assert name in logged.stderr
    assert "no job 'tiny/0/nonsense'" in site("logs", "tiny/0/nonsense", code=2).stderr
    assert "has not run yet" in site("logs", "tiny/1/curate", code=2).stderr


@pytest.mark.timing
def test_jobs_behind_a_failed_one_are_told_of(site: OnCluster) -> None:
    """Nothing is left to run, and a launcher that was not told to stay ends instead of waiting for ever."""
    site("submit", "tiny.yaml", "-n", "1")  # nothing where the test before did it
    site.launchpad.fireworks.update_many({"state": "READY"}, {"$set": {"state": "FIZZLED"}})
    told = site("launch", code=2).stderr
    assert "jobs wait for jobs that have failed: coevo jobs NODE, then coevo rerun NODE" in told


def test_a_site_that_cannot_work_is_refused(site: OnCluster, tmp_path: Path) -> None:
    text = (site.directory / "site.yaml").read_text()
    (tmp_path / "embedded.yaml").write_text(text.replace(f"{site.cluster.mongodb}/", "file:"))
    told = site("submit", "tiny", "--site", str(tmp_path / "embedded.yaml"), code=2).stderr
    assert "database" in told
    assert "embedded" in told
    (tmp_path / "memory.yaml").write_text(text.replace(f"file://{site.directory}", "memory://"))
    assert "memory://" in site("submit", "tiny", "--site", str(tmp_path / "memory.yaml"), code=2).stderr
    away = "mongodb://user:secret@127.0.0.1:9/away?serverSelectionTimeoutMS=500"
    assert site.site.site.database in text
    (tmp_path / "away.yaml").write_text(text.replace(site.site.site.database, away))
    told = site("jobs", "tiny", "--site", str(tmp_path / "away.yaml"), code=2).stderr
    assert "127.0.0.1:9" in told
    assert "secret" not in told
    nowhere = Coevo(tmp_path)
    assert "site.yaml" in nowhere("submit", "tiny", code=2).stderr


@pytest.mark.long
def test_a_transition_of_too_many_jobs_is_refused(site: OnCluster, tiny_text: str) -> None:
    from coevo.configs.loading import parse_config
    from coevo.errors import ConfigError
    from coevo.flows.transition import CoevolutionMaker
    from coevo.node_store.documents import CampaignDocument
    from coevo.slurm.continuation import add_transition
    from coevo.slurm.submission import FireworksQueue

    checkpoint = {"family": "chgnet", "format": "x", "sha256": "0" * 64}
    campaign = CampaignDocument(id="c", node="tiny", branch="main", start=None, iterations=1, status="running", created="now")
    config = parse_config(tiny_text.replace("candidates: 8", "candidates: 8000"), "tiny")
    flow = CoevolutionMaker(config=config).make("e" * 64, 1, checkpoint, checkpoint)
    with pytest.raises(ConfigError, match=r"would have 4010 jobs, allowed: 500 in a workflow; raise generator.shard_size"):
        add_transition(FireworksQueue(site.launchpad), flow, campaign, 1)
