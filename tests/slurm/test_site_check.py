"""Sites tried: servers, stores and directories that are real, and classes that a real SLURM judges."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from coevo.configs.site_loading import LoadedSite, example_text, parse_site
from coevo.configs.slurm_syntax import parse_walltime
from coevo.configs.step_classes import CLASS_NAMES
from coevo.slurm.local_cluster.processes import wait_until
from coevo.slurm.queue_adapter import SiteQueueAdapter
from coevo.slurm.queue_scripts import queue_adapter
from coevo.slurm.site_check import check_script, examine_site, read_verdict, try_class
from slurm_cluster import PATIENCE, SlurmCluster

SECRET = "h4rd-to-guess"
DEAD = f"mongodb://me:{SECRET}@127.0.0.1:9/coevo?serverSelectionTimeoutMS=200&connectTimeoutMS=200"


def site_text(directory: Path, database: str = DEAD, queue: str = "none", classes: str = "{}", commands: str = "[]") -> str:
    return (
        f"site: here\ndatabase: {database}\nartifacts: file://{directory}/blobs\ndirectory: {directory}/jobs\nqueue: {queue}\n"
        f"environments: {{default: {{commands: {commands}}}}}\nclasses: {classes}\n"
    )


def site(directory: Path, **keys: str) -> LoadedSite:
    return parse_site(site_text(directory, **keys), "site.yaml", {})


def found(loaded: LoadedSite) -> dict[str, tuple[str, str]]:
    return {finding.what: (finding.condition, finding.found) for finding in examine_site(loaded)}


def test_a_site_that_works(tmp_path: Path, mongodb_uri: str) -> None:
    told = found(site(tmp_path, database=mongodb_uri))
    assert {condition for condition, _ in told.values()} == {"ok"}
    assert told["database"][1].startswith(f"{mongodb_uri}: MongoDB ")
    assert told["directory"][1] == f"{tmp_path}/jobs will be made in {tmp_path}, which can be written"
    assert not [path for path in (tmp_path / "blobs").rglob("*") if path.is_file()]
    assert not (tmp_path / "jobs").exists()


def test_what_does_not_work_is_said_without_secrets(tmp_path: Path) -> None:
    (tmp_path / "blobs").write_text("a file")
    (tmp_path / "jobs").write_text("a file")
    told = found(site(tmp_path, commands='["if true"]'))
    assert [what for what, (condition, _) in told.items() if condition == "ok"] == ["site"]
    assert "asking the server failed at mongodb://127.0.0.1:9/coevo" in told["database"][1]
    assert told["directory"][1] == f"{tmp_path}/jobs is a file"
    assert "the script is no shell: " in told["class gpu"][1]
    assert SECRET not in str(told)


def test_a_script_that_is_no_shell_is_found_before_anything_is_submitted(tmp_path: Path) -> None:
    problem = check_script(site(tmp_path, commands='["echo \'x"]'), "label")
    assert problem is not None
    assert problem.condition == "problem"
    assert "environments.default in site.yaml" in problem.hint
    assert check_script(site(tmp_path, commands="[\"echo 'x'\"]"), "label") is None


@pytest.mark.parametrize(
    ("code", "told", "condition", "hint"),
    [
        (0, "sbatch: Job 7 to start at 2025-01-01T00:00:00 using 8 processors on nodes n1 in partition gpu", "ok", ""),
        (
            1,
            "sbatch: error: invalid partition specified: gpuu\nallocation failure: Invalid partition name specified",
            "problem",
            "sinfo -s",
        ),
        (1, "allocation failure: Invalid account or account/partition combination specified", "problem", "sacctmgr show assoc"),
        (1, "allocation failure: Invalid qos specification", "problem", "sacctmgr show assoc"),
        (1, "allocation failure: Requested node configuration is not available", "problem", "sinfo -o '%P %D %c %m %G'"),
        (1, "", "problem", "see sbatch(1)"),
    ],
)
def test_what_sbatch_says_is_read(code: int, told: str, condition: str, hint: str) -> None:
    finding = read_verdict("class gpu", code, told, "site.yaml")
    assert finding.condition == condition
    assert finding.hint.endswith(hint) or hint in finding.hint
    if condition == "ok":
        assert finding.found.startswith("would start at 2025")


def classes(gpu: str = "", label: str = "") -> str:
    return (
        f"{{gpu: {{partition: gpu, gres: gpu:1, walltime: 0:30:00{gpu}}}, screen: {{partition: gpu, gres: gpu:1, walltime: 10}}, "
        f"label: {{partition: cpu, walltime: 60, memory: 1G{label}}}, "
        "small: {partition: cpu, walltime: 10, mode: packed, packed_jobs: 2, cpus_per_task: 2}}"
    )


@pytest.fixture
def on_the_cluster(slurm_cluster: SlurmCluster, monkeypatch: pytest.MonkeyPatch) -> SlurmCluster:
    """This process's sbatch and squeue talk to the cluster."""
    monkeypatch.setenv("SLURM_CONF", slurm_cluster.environment["SLURM_CONF"])
    return slurm_cluster


@pytest.mark.service
def test_slurm_accepts_every_class_of_a_good_site(on_the_cluster: SlurmCluster, tmp_path: Path) -> None:
    loaded = site(tmp_path, queue="slurm", classes=classes())
    for name, partition in (("gpu", "gpu"), ("screen", "gpu"), ("label", "cpu"), ("small", "cpu")):
        finding = try_class(loaded, name)
        assert (finding.condition, finding.hint) == ("ok", ""), finding
        assert finding.found.endswith(f"in partition {partition}")
    # the cluster may have jobs of other tests
    assert "coevo:here:" not in on_the_cluster.run("squeue", "--noheader", "--format=%k")


@pytest.mark.service
@pytest.mark.parametrize(
    ("changes", "told", "hint"),
    [
        ({"gpu": ", partition: gpus"}, "nvalid partition", "sinfo -s"),
        ({"gpu": ", gres: gpu:9"}, "not available", "sinfo -o '%P %D %c %m %G'"),
        ({"gpu": ", gres: tpu:1"}, "nvalid generic resource", "sinfo -o '%P %G'"),
        ({"gpu": ", constraint: quantum"}, "feature", "sinfo -o '%P %f'"),
        ({"gpu": ", walltime: 2-0"}, "time limit", "sinfo -o '%P %l'"),
        ({"gpu": ", memory: 900G"}, "not available", "sinfo -o '%P %D %c %m %G'"),
    ],
)
def test_slurm_refuses_what_the_cluster_has_not(
    on_the_cluster: SlurmCluster, tmp_path: Path, changes: dict[str, str], told: str, hint: str
) -> None:
    text = classes(**changes)
    # a key that is given again replaces the first one
    key = changes["gpu"].strip(", ").partition(":")[0]
    first = {"partition": "partition: gpu, ", "gres": "gres: gpu:1, ", "walltime": "walltime: 0:30:00, "}.get(key, "")
    finding = try_class(site(tmp_path, queue="slurm", classes=text.replace(first, "", 1)), "gpu")
    assert finding.condition == "problem"
    assert told in finding.found
    assert hint in finding.hint


@pytest.mark.timing
@pytest.mark.service
def test_jobs_are_submitted_counted_by_class_and_show_no_secret(
    on_the_cluster: SlurmCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = site(tmp_path, queue="slurm", classes=classes())
    monkeypatch.chdir(tmp_path)
    adapters = {name: queue_adapter(loaded, name) for name in ("label", "small")}
    adapter = adapters["label"]
    adapter.update(pre_rocket=None, rocket_launch="sleep 3000", title="li-p-s/3/label/0001")
    (tmp_path / "script").write_text(adapter.get_script_str(str(tmp_path)))
    job = adapter.submit_to_queue("script")
    assert job is not None
    try:
        assert {name: each.get_njobs_in_queue() for name, each in adapters.items()} == {"label": 1, "small": 0}
        told = on_the_cluster.job(int(job))
        assert (told["JobName"], told["Comment"], told["Requeue"]) == ("li-p-s/3/label/0001", "coevo:here:label", "0")
        assert SECRET not in str(told)
        on_the_cluster.wait(int(job), "RUNNING")
        # SLURM calls it so a moment before the node has started it
        assert wait_until((tmp_path / f"coevo-{job}.err").exists, PATIENCE)
    finally:
        subprocess.run(["scancel", job], check=True)
    on_the_cluster.wait(int(job), "CANCELLED")
    assert adapter.get_njobs_in_queue() == 0
    assert (tmp_path / f"coevo-{job}.err").exists()


@pytest.mark.service
def test_the_example_of_the_local_cluster_works_there(on_the_cluster: SlurmCluster) -> None:
    told = found(parse_site(example_text("local-cluster"), "local-cluster", on_the_cluster.environment))
    assert {what: line for what, (condition, line) in told.items() if condition != "ok"} == {}
    assert len(told) == 5 + len(CLASS_NAMES)


@pytest.mark.service
def test_slurm_reads_walltimes_as_coevo_does(on_the_cluster: SlurmCluster) -> None:
    """SLURM counts minutes and rounds up."""
    for text in ("7", "7:30", "0:90", "1:2:3", "1:90:00", "0:59:61", "1-0", "0-23", "0-1:90", "0-2:3", "0-2:3:4", "007"):
        job = on_the_cluster.submit("true", "--hold", "--partition=cpu", f"--time={text}")
        limit = on_the_cluster.job(job)["TimeLimit"]
        on_the_cluster.run("scancel", str(job))
        assert parse_walltime(limit) == -(-parse_walltime(text) // 60) * 60, (text, limit)


@pytest.mark.service
def test_why_slurm_refused_a_job_is_kept(on_the_cluster: SlurmCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    adapter = queue_adapter(site(tmp_path, queue="slurm", classes=classes()), "label")
    adapter.update(queue="nowhere")
    (tmp_path / "script").write_text(adapter.get_script_str(str(tmp_path)))
    assert adapter.submit_to_queue("script") is None
    assert "invalid partition" in (SiteQueueAdapter.last_error or "")
