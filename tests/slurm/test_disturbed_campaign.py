"""A campaign on a real SLURM, disturbed in every way that a cluster has, ends in the state of ``coevo run``."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from site_on_cluster import PATIENCE, OnCluster, wait_for

from slurm_cluster import SlurmCluster
from tiny_node import Coevo

pytestmark = [pytest.mark.long, pytest.mark.filterwarnings("ignore")]


HELD = (
    "tiny/0/evaluate-references/0000",
    "tiny/1/generate/0000",
    "tiny/1/screen/0000",
    "tiny/1/label/0000",
    "tiny/1/label/0001",
    "tiny/1/assess",
    "tiny/1/train-generator",
    "tiny/2/generate/0000",
)
"""Jobs that wait when they run until the campaign lets them go, so that each disturbance meets its job at work."""

NOT_TRIED = ("None", "Priority")
"""Why a job waits that SLURM has not yet tried to start."""
OUTAGE = 3.0
"""Seconds without the database; nothing is assumed of what happens in them."""


@pytest.fixture(scope="module")
def site(slurm_cluster: SlurmCluster, tmp_path_factory: pytest.TempPathFactory, tiny_text: str) -> OnCluster:
    directory = tmp_path_factory.mktemp("site")
    (directory / "tiny.yaml").write_text(tiny_text)
    return OnCluster(slurm_cluster, directory, f"disturbed_{uuid.uuid4().hex[:8]}")


@pytest.fixture(scope="module")
def campaign(site: OnCluster) -> Iterator[OnCluster]:
    """The campaign from its submission to its end, with every disturbance on the way."""
    told = site("submit", "tiny.yaml", "-n", "2").stderr
    assert "submitted iteration 0 of tiny@main" in told
    assert "in the launchpad already" in site("submit", "tiny.yaml", "-n", "2").stderr
    site.gates.hold(*HELD)
    site.start_launcher()
    try:
        scancel_a_running_job(site)
        kill_the_process_of_a_job(site)
        fail_a_node(site)
        reach_the_walltime_of_a_job(site)
        take_an_artifact_away(site)
        kill_the_launcher(site)
        drain_nodes(site)
        restart_the_database(site)
        finish(site)
        yield site
    finally:
        if site.launcher is not None and site.launcher.poll() is None:
            site.kill_launcher()
        site.cluster.wait_for_no_job(cancel=True)


def rerun(site: OnCluster, name: str, *options: str) -> str:
    """Run a job again by the documented command, and return what it says of it."""
    told = site("rerun", "tiny", *options).stderr
    assert f"ready again: {name}" in told
    return told


def scancel_a_running_job(site: OnCluster) -> None:
    name = "tiny/0/evaluate-references/0000"
    launch = site.held(name)
    job = launch["fworker"]["env"]["slurm_job_id"]
    site.cluster.run("scancel", job)
    row = site.wait_for_state(name, "lost")
    assert (row["slurm_id"], row["error"]) == (job, f"SLURM job {job} is gone")
    site.wait_for_the_end_of(launch)
    site.gates.let_go(name)
    assert "CANCELLED" in rerun(site, name, "--lost")


def kill_the_process_of_a_job(site: OnCluster) -> None:
    name = "tiny/1/generate/0000"
    launch = site.held(name)
    assert site.job(name)["state"] == "running"
    os.kill(launch["fworker"]["env"]["pid"], signal.SIGKILL)
    row = site.wait_for_state(name, "fizzled")
    assert row["error"] == "the process of the job was killed by SIGKILL (out of memory?)"
    site.gates.let_go(name)
    rerun(site, name, "--fizzled", "--step", "generate")


def fail_a_node(site: OnCluster) -> None:
    name = "tiny/1/screen/0000"
    launch = site.held(name)
    site.ended("tiny/1/screen/0001")  # which may be on the same node
    job = launch["fworker"]["env"]["slurm_job_id"]
    node = site.cluster.job(int(job))["NodeList"]
    site.cluster.fail(node)
    site.wait_for_state(name, "lost")
    site.wait_for_the_end_of(launch)
    site.gates.let_go(name)
    assert "NODE_FAIL" in rerun(site, name)
    # slurmd may have registered its node again by itself
    site.cluster.run("scontrol", "update", f"nodename={node}", "state=resume", check=False)


def reach_the_walltime_of_a_job(site: OnCluster) -> None:
    """The job runs again in more time, and is held there: what follows begins before its descendants do."""
    name = "tiny/1/label/0001"
    launch = site.held(name)
    site.cluster.reach_walltime(int(launch["fworker"]["env"]["slurm_job_id"]))
    site.wait_for_state(name, "lost")
    site.wait_for_the_end_of(launch)
    told = rerun(site, name, "--lost", "--step", "label")
    assert "TIMEOUT" in told
    assert "4:00:00" in told
    again = site.held(name)["fworker"]["env"]["slurm_job_id"]
    assert site.cluster.job(int(again))["TimeLimit"] == "04:00:00"
    # another one runs meanwhile, in an allocation of its own: these two end well
    assert site.held("tiny/1/label/0000")["fworker"]["env"]["slurm_job_id"] != again


def take_an_artifact_away(site: OnCluster) -> None:
    """A job that fails by an error of its own: shown with its message, repaired, run again."""
    name = "tiny/1/train-force-field"
    head = json.loads(site("show", "tiny", "--format", "json").stdout)
    sha256 = head["checkpoints"]["force_field"]["sha256"]
    blob = site.directory / "artifacts" / sha256[:2] / sha256[2:]
    away = site.directory / "away"
    # no job that needs it runs at this time: labels are made by the teacher
    blob.rename(away)
    site.gates.let_go("tiny/1/label/0000")
    site.gates.let_go("tiny/1/label/0001")
    row = site.wait_for_state(name, "fizzled")
    assert "CheckpointError" in row["error"]
    assert sha256[:8] in row["error"]
    logged = site("logs", name).stdout
    assert "Traceback" in logged
    assert "CheckpointError" in logged
    table = site("jobs", "tiny").stdout
    assert re.search(r"train-force-field.*fizzled", table)
    away.rename(blob)
    rerun(site, name, "--fizzled")


def kill_the_launcher(site: OnCluster) -> None:
    name = "tiny/1/assess"  # whether anything is evaluated again hangs on the fit, which differs between classes of machines
    site.held(name)
    site.kill_launcher()
    site.gates.let_go(name)
    site.ended(name)
    site.start_launcher()
    site.held_after_the_launcher("tiny/1/train-generator")


def drain_nodes(site: OnCluster) -> None:
    """Nodes that are drained take no job; those in the queue wait, and are not lost."""
    before, name = "tiny/1/train-generator", "tiny/2/generate/0000"
    site.held(before)
    for node in ("gpu1", "gpu2"):
        site.cluster.drain(node)
    site.gates.let_go(before)
    # it is reserved first, and has a SLURM job as soon as sbatch has answered
    row = wait_for(lambda: with_slurm_job(site.wait_for_state(name, "queued")), "a SLURM job in the queue", every=0.5)
    # SLURM has tried to start it: only then its nodes are the reason
    wait_for(lambda: site.cluster.job(int(row["slurm_id"]))["Reason"] not in NOT_TRIED, "SLURM to find no node", every=0.5)
    assert site.job(name)["state"] == "queued"
    for node in ("gpu1", "gpu2"):
        site.cluster.resume(node)


def with_slurm_job(row: dict[str, Any]) -> dict[str, Any] | None:
    return row if row["slurm_id"] else None


def restart_the_database(site: OnCluster) -> None:
    """Kill the server while jobs run, and start it again; what they do in between is theirs to survive or to repeat."""
    name = "tiny/2/generate/0000"
    site.held(name)
    site.cluster.kill("mongodb")
    site.gates.let_go(name)
    time.sleep(OUTAGE)
    site.cluster.repair()


def finish(site: OnCluster) -> None:
    """Wait for the end; what was lost with the database is run again as the guide says."""

    def ended() -> bool:
        rows = site.jobs()
        if any(row["state"] in {"fizzled", "lost"} for row in rows):
            site("rerun", "tiny")
        return {row["state"] for row in rows} == {"completed"} and max(row["iteration"] for row in rows) == 2

    wait_for(ended, "the campaign to end", every=1.0, patience=3 * PATIENCE)
    assert site.launcher is not None
    told = site.launcher.communicate(timeout=PATIENCE)[1]
    assert site.launcher.returncode == 0
    assert "no job is left to run" in told
    # FireWorks writes that a workflow has ended after it wrote that its jobs have, and a packed allocation waits for more
    site.cluster.wait_for_no_job()


def documents(coevo: Coevo) -> dict[str, int]:
    shown = json.loads(coevo("show", "tiny", "--format", "json").stdout)
    counts: dict[str, int] = shown["counts"]
    return counts


def log(coevo: Coevo) -> list[str]:
    return [state["id"] for state in json.loads(coevo("log", "tiny", "--format", "json").stdout)]


def test_it_ends_in_the_state_of_coevo_run(campaign: OnCluster, finished: Coevo) -> None:
    assert log(campaign) == log(finished)
    assert documents(campaign) == documents(finished)


def test_nothing_is_lost_or_doubled(campaign: OnCluster) -> None:
    campaign("verify", "tiny")
    pad = campaign.launchpad
    assert sorted(w["metadata"]["coevo"]["iteration"] for w in pad.workflows.find({})) == [0, 1, 2]
    assert all(w["state"] == "COMPLETED" for w in pad.workflows.find({}))
    status = json.loads(campaign("status", "tiny", "--format", "json").stdout)
    assert "running" not in json.dumps(status.get("campaigns", []))


def test_jobs_ran_at_the_same_time(campaign: OnCluster) -> None:
    """At least two workers, of SLURM jobs of their own, ran at once: those of two labels, of which each waited for the other."""
    spans = []
    for launch in campaign.launchpad.launches.find({"state": "COMPLETED"}):
        times = {entry["state"]: str(entry["created_on"]) for entry in launch["state_history"]}
        spans.append((times["RUNNING"], times["COMPLETED"], launch["fworker"]["env"]["slurm_job_id"]))
    pairs = [(a, b) for a in spans for b in spans if a[2] != b[2] and a[0] <= b[0] < a[1]]
    assert pairs


def test_names_classes_and_metadata_are_inherited(campaign: OnCluster) -> None:
    for firework in campaign.launchpad.fireworks.find({}):
        about = firework["spec"]["coevo"]
        assert about["node"] == "tiny"
        assert firework["spec"]["_category"] in {"gpu", "screen", "label", "small"}
        assert "_allow_fizzled_parents" not in firework["spec"]
        if firework["name"] != "store_inputs":
            assert firework["name"].startswith(f"tiny/{about['iteration']}/")
    by_name = {firework["name"]: firework["spec"]["_category"] for firework in campaign.launchpad.fireworks.find({})}
    assert by_name["tiny/1/re-evaluate"] == "small"
    assert by_name["tiny/0/evaluate-references/0000"] == "screen"
    assert by_name["tiny/1/label/0000"] == "label"


def test_no_secret_is_in_a_launch_or_a_job(campaign: OnCluster) -> None:
    """The URI of the database stands for the password that it may hold."""
    pad = campaign.launchpad
    told = json.dumps([*pad.fireworks.find({}), *pad.launches.find({})], default=str)
    assert campaign.site.site.database not in told
    scripts = list(Path(campaign.site.site.directory).glob("launches-*/*/*.script"))
    assert scripts
    assert all(campaign.site.site.database not in script.read_text() for script in scripts)


# the second takes all its descendants along, for a minute
@pytest.mark.parametrize("step", ["continue", "generate/0001"])
def test_lpad_rerun_of_a_finished_job_adds_and_doubles_nothing(campaign: OnCluster, step: str) -> None:
    before, counts = log(campaign), documents(campaign)
    workflows = campaign.launchpad.workflows.count_documents({})
    first = campaign.launchpad.fireworks.find_one({"name": f"tiny/1/{step}"})
    lpad, files = Path(sys.executable).with_name("lpad"), campaign.site.files / "my_launchpad.yaml"
    subprocess.run([str(lpad), "-l", str(files), "rerun_fws", "-i", str(first["fw_id"])], check=True)
    # a packed allocation that still waits for jobs may have run it by now
    campaign("launch", "--loop", "--every", "1")
    again = campaign.launchpad.fireworks.find_one({"fw_id": first["fw_id"]})
    assert set(again["archived_launches"]) == {*first["archived_launches"], *first["launches"]}
    assert set(again["launches"]).isdisjoint(again["archived_launches"])
    rows: list[dict[str, Any]] = campaign.jobs()
    assert {row["state"] for row in rows} == {"completed"}, [row for row in rows if row["state"] != "completed"]
    assert (log(campaign), documents(campaign)) == (before, counts)
    assert campaign.launchpad.workflows.count_documents({}) == workflows
    campaign("verify", "tiny")
