"""Job scripts, queue adapters and the files of workers, rendered from sites; the shell is a real one."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from fireworks.utilities.fw_serializers import load_object
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from coevo.configs.site_loading import LoadedSite, example_names, example_text, parse_site
from coevo.configs.step_classes import CLASS_NAMES
from coevo.configs.yaml_tree import write_value
from coevo.errors import ConfigError, StorageError
from coevo.slurm.queue_scripts import fworker, job_script, launchpad_settings, queue_adapter, worker_environment
from coevo.slurm.worker_files import write_worker_files

SECRET = "h%40rd-to-guess"
CLUSTER = {"COEVO_DATABASE": "mongodb://h/c", "COEVO_ARTIFACTS": "file:///x/artifacts", "COEVO_LOCAL_CLUSTER": "/x"}
ENVIRONMENT = {"HOME": "/home/me", "MONGO_USER": "me", "MONGO_PASSWORD": SECRET, **CLUSTER}


def example(name: str, directory: Path | None = None) -> LoadedSite:
    loaded = parse_site(example_text(name), name, ENVIRONMENT)
    if directory is not None:
        loaded = LoadedSite(loaded.site.model_copy(update={"directory": str(directory)}), loaded.written, name)
    return loaded


def site_with(**keys: Any) -> LoadedSite:
    kind = {"walltime": "1:00:00", **keys.pop("label", {})}
    others = {name: {"walltime": "10"} for name in ("gpu", "screen", "small")}
    data = {
        "site": "here",
        "database": f"mongodb://me:{SECRET}@host/coevo",
        "artifacts": "s3://bucket/coevo",
        "directory": "/scratch/me",
        "environments": {"default": keys},
        "classes": {"label": kind, **others},
    }
    return parse_site("\n".join(f"{key}: {write_value(value)}" for key, value in data.items()), "s.yaml", {})


def header(script: str) -> list[str]:
    """The lines that sbatch reads: those before the first one that is neither empty nor a comment."""
    lines = script.splitlines()
    end = next(index for index, line in enumerate(lines) if line.strip() and not line.startswith("#"))
    return [line for line in lines[:end] if line.strip()]


def test_the_header_has_every_key_of_the_class() -> None:
    kind = {
        "partition": "cpu,long",
        "account": "project",
        "qos": "normal",
        "gres": "gpu:a100:2",
        "nodes": 2,
        "tasks": 8,
        "cpus_per_task": 4,
        "memory": "16G",
        "walltime": "2-12",
        "constraint": "a100&nvlink",
        "extra": ["--mail-type=FAIL", "--exclusive"],
    }
    assert header(job_script(site_with(label=kind), "label", Path("/scratch/me/x"))) == [
        "#!/bin/bash -l",
        "#SBATCH --job-name=coevo-label",
        "#SBATCH --comment=coevo:here:label",
        "#SBATCH --output=coevo-%j.out",
        "#SBATCH --error=coevo-%j.err",
        "#SBATCH --no-requeue",
        "#SBATCH --partition=cpu,long",
        "#SBATCH --account=project",
        "#SBATCH --qos=normal",
        "#SBATCH --nodes=2",
        "#SBATCH --ntasks=8",
        "#SBATCH --cpus-per-task=4",
        "#SBATCH --gres=gpu:a100:2",
        "#SBATCH --mem=16G",
        "#SBATCH --time=2-12",
        "#SBATCH --constraint=a100&nvlink",
        "#SBATCH --mail-type=FAIL",
        "#SBATCH --exclusive",
    ]


hostile = st.text(st.sampled_from("a1 \n\r\t#$`'\"\\;&|-=:,()[]{}%/.é\u2028\x00"), max_size=12) | st.sampled_from(
    [
        "x\n#SBATCH --wrap=id",
        "--wrap=id",
        "--mail-user=a b",
        "$$",
        "$${walltime}",
        "$(id)",
        "gpu:1",
        "16G",
        "1-0",
        "--hint=x",
        "a100",
    ]
)
fields = st.dictionaries(
    st.sampled_from(["partition", "account", "qos", "gres", "memory", "walltime", "constraint"]), hostile, min_size=1, max_size=2
)


@pytest.mark.long
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(fields, st.lists(hostile, max_size=2), st.lists(hostile, max_size=2))
def test_whatever_is_written_is_refused_or_stays_one_line(kind: dict[str, str], extra: list[str], commands: list[str]) -> None:
    try:
        loaded = site_with(label={**kind, "extra": extra}, commands=commands)
    except ConfigError:
        return
    script = job_script(loaded, "label", Path("/scratch/me"))
    lines = header(script)
    assert all(re.fullmatch(r"#SBATCH --[a-z-]+(=[!-~]+)?", line) for line in lines[1:])
    given_keys = {key for key in kind if key != "walltime"}
    assert len(lines) == 1 + 5 + 3 + 1 + len(given_keys) + len(extra)
    # nothing was lost on the way, and nothing came in between
    body = script.splitlines()
    assert [line for line in commands if line not in body] == []


@pytest.mark.parametrize("name", example_names())
def test_the_scripts_of_the_examples_are_shell_without_secrets(name: str) -> None:
    for kind in CLASS_NAMES:
        script = job_script(example(name), kind, Path("/scratch/a b/launch"))
        done = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        assert SECRET not in script
        assert not re.search(r"\$\$", script)


def test_a_job_starts_in_its_environment_and_with_its_secrets(tmp_path: Path) -> None:
    """The script is run by a real bash; only the worker's command is another one."""
    odd = 'it\'s "odd" $HOME \\ `id` *'
    environment = {
        "commands": ["export SEEN=$ODD", "export PATH=/usr/bin:/bin"],
        "variables": {"ODD": odd, "COEVO_DEVICE": "cpu"},
        "prefix": "env PREFIXED=yes env #",
    }
    loaded = site_with(**environment, label={"tasks": 2, "cpus_per_task": 3})
    loaded = LoadedSite(loaded.site.model_copy(update={"directory": str(tmp_path / "site")}), loaded.written, "s")
    files = write_worker_files(loaded)
    launch = tmp_path / "launch dir"
    launch.mkdir()
    inherited = {"COEVO_DATABASE": "mongodb://other", "COEVO_WORKERS": "99", "JOBFLOW_JOB_STORE": "x", "HOME": str(tmp_path)}
    script = job_script(loaded, "label", launch)
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True, env={**os.environ, **inherited})
    seen = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
    assert (seen["ODD"], seen["SEEN"], seen["PREFIXED"], seen["PWD"]) == (odd, odd, "yes", str(launch))
    assert seen["COEVO_DATABASE"] == f"mongodb://me:{SECRET}@host/coevo"
    assert {key: seen[key] for key in ("COEVO_ARTIFACTS", "COEVO_WORKERS", "COEVO_DEVICE", "OMP_NUM_THREADS")} == {
        "COEVO_ARTIFACTS": "s3://bucket/coevo",
        "COEVO_WORKERS": "6",
        "COEVO_DEVICE": "cpu",
        "OMP_NUM_THREADS": "1",
    }
    if " avx2 " in Path("/proc/cpuinfo").read_text():
        assert seen["OPENBLAS_CORETYPE"] == os.environ.get("OPENBLAS_CORETYPE", "Haswell")
    assert "JOBFLOW_JOB_STORE" not in seen
    assert (launch / "FW_config.yaml").resolve() == (files / "FW_config.yaml").resolve()


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        ({"modules": ["no-such-module/1.0"]}, "module load no-such-module/1.0"),
        ({"commands": ["true", "false", "touch ran"]}, "environments.default.commands[1]"),
    ],
)
def test_an_environment_that_fails_takes_no_job(tmp_path: Path, environment: dict[str, list[str]], told: str) -> None:
    loaded = site_with(**environment, prefix="touch ran #")
    loaded = LoadedSite(loaded.site.model_copy(update={"directory": str(tmp_path)}), loaded.written, "s")
    write_worker_files(loaded)
    done = subprocess.run(["bash", "-c", job_script(loaded, "label", tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"coevo: {told} failed on " in done.stderr
    assert not (tmp_path / "ran").exists()


def test_files_of_workers_are_their_owners_alone_and_stay_as_they_are(tmp_path: Path) -> None:
    loaded = example("gpu-slurm", tmp_path / "jobs")
    files = write_worker_files(loaded)
    assert files.parent == tmp_path / "jobs"
    assert stat.S_IMODE(files.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in files.iterdir()} == {0o600}
    assert len(list(files.iterdir())) == 3 + 2 * len(CLASS_NAMES)
    before = {path: path.stat().st_mtime_ns for path in files.iterdir()}
    assert write_worker_files(loaded) == files
    assert {path: path.stat().st_mtime_ns for path in files.iterdir()} == before
    (files / "gpu.env").chmod(0o644)
    (files / "gpu.env").write_text("export COEVO_DATABASE=old\n")
    write_worker_files(loaded)
    assert SECRET in (files / "gpu.env").read_text()
    assert stat.S_IMODE((files / "gpu.env").stat().st_mode) == 0o600


def test_a_directory_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "jobs").write_text("a file")
    with pytest.raises(StorageError, match="writing the files of the workers failed"):
        write_worker_files(example("gpu-slurm", tmp_path / "jobs"))


def test_fireworks_and_jobflow_read_the_files(tmp_path: Path, mongodb_uri: str) -> None:
    """Read by the packages themselves, in a process of their own."""
    loaded = example("gpu-slurm", tmp_path)
    loaded = LoadedSite(loaded.site.model_copy(update={"database": mongodb_uri}), loaded.written, "s")
    files = write_worker_files(loaded)
    code = (
        "import fireworks.fw_config as c; from fireworks.core.launchpad import LaunchPad;"
        "from fireworks.core.fworker import FWorker;"
        "from jobflow import SETTINGS;"
        f"lp = LaunchPad.from_file('{files}/my_launchpad.yaml'); w = FWorker.from_file('{files}/label.worker.yaml');"
        "print(c.PING_TIME_SECS, c.RUN_EXPIRATION_SECS, c.WFLOCK_EXPIRATION_KILL, lp.db.name, w.name, w.query['spec._category'],"
        "SETTINGS.JOB_STORE.docs_store.database, SETTINGS.JOB_STORE.docs_store.collection_name); lp.db.list_collection_names()"
    )
    worker = {**os.environ, **worker_environment(loaded, "label"), "HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=worker, cwd=tmp_path)
    name = mongodb_uri.rpartition("/")[2] + "_launchpad"
    assert done.stdout.split() == ["300", "1200", "True", name, "my-cluster-label", "label", name, "jobflow_outputs"]


def test_the_launchpad_of_its_own() -> None:
    text = example_text("gpu-slurm").replace(
        "# launchpad: mongodb://…/fireworks", "launchpad: mongodb://u:${MONGO_PASSWORD}@h/fw"
    )
    loaded = parse_site(text, "s", ENVIRONMENT)
    assert (launchpad_settings(loaded)["host"], launchpad_settings(loaded)["name"]) == (f"mongodb://u:{SECRET}@h/fw", "fw")
    assert launchpad_settings(example("gpu-slurm"))["name"] == "coevo_launchpad"


def test_adapters_survive_fireworks_copies_and_take_what_a_firework_asks_for() -> None:
    """FireWorks copies adapters through dictionaries, then updates them from the spec and adds the job's id to the command."""
    adapter = queue_adapter(example("gpu-slurm"), "gpu")
    copy = load_object(adapter.to_dict())
    assert copy.get_script_str("/x") == adapter.get_script_str("/x")
    copy.update(title="li-p-s/3/generate/0012", walltime="1-00:00:00", job_name="li-p-s3generate0012")
    copy["rocket_launch"] += " --fw_id 7"
    script = copy.get_script_str("/x")
    assert "#SBATCH --job-name=li-p-s/3/generate/0012" in script.splitlines()
    assert "#SBATCH --time=1-00:00:00" in script.splitlines()
    assert script.rstrip().endswith(f"--files {example('gpu-slurm').files} --class gpu singleshot --fw_id 7")


def test_packed_workers_stop_taking_jobs_before_the_walltime() -> None:
    loaded = example("gpu-slurm")
    script = job_script(loaded, "small", Path("/x"))
    assert script.rstrip().endswith("--class small packed --at-once 2 --seconds 10800 --idle 600 --retry 10")
    assert job_script(loaded, "small", Path("/x"), mode="single").rstrip().endswith("--class small singleshot")


def test_without_a_queue_there_is_a_script_and_no_adapter() -> None:
    loaded = example("workstation")
    assert header(job_script(loaded, "label", Path("/x"))) == ["#!/bin/bash -l"]
    with pytest.raises(ConfigError, match="queue: none has no queue to submit to"):
        queue_adapter(loaded, "label")


def test_workers_take_the_jobs_of_their_class() -> None:
    worker = fworker(example("gpu-slurm"), "label")
    assert (worker.name, worker.query["spec._category"]) == ("my-cluster-label", "label")
    assert SECRET not in yaml.safe_dump(worker.to_dict())
