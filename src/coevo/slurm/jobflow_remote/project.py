"""A site as a project of jobflow-remote: queue and outputs in the launchpad's database, workers for the classes of jobs.

The project is a file that holds the database's URI with its password, in a directory that only its owner can enter. Job scripts
and job documents have nothing of it: like those of FireWorks, scripts read what is secret from the files of the site's workers.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from coevo.configs.step_classes import CLASS_NAMES
from coevo.errors import CampaignError, ConfigError
from coevo.node_store.durable import storage_errors
from coevo.slurm.queue_scripts import PACKED_RETRY, comment_of, preparation
from coevo.slurm.worker_files import make_private, write_environments, write_private

if TYPE_CHECKING:
    from jobflow_remote.config.base import Project

    from coevo.configs.site_loading import LoadedSite
    from coevo.configs.step_classes import ClassName

FOLDER, JOBS = "jobflow-remote", "jobflow-remote-jobs"
"""Directories below the site's: projects with their logs, and where jobs run."""
LOCAL_WORKER = "local"
COLLECTIONS = {"jobs": "jfr_jobs", "flows": "jfr_flows", "auxiliary": "jfr_auxiliary", "batches": "jfr_batches"}
OUTPUTS = "jfr_outputs"
RUNNER = {"delay_checkout": 10, "delay_check_run_status": 15, "delay_advance_status": 10}
"""Seconds between looks of the runner; jobflow-remote's own 30 s each add up to a minute and more for each step of the loop."""
SUBMIT_TIMEOUT = 120
"""Seconds that sbatch may take; a controller under load answers late."""


def projects_folder(loaded: LoadedSite) -> Path:
    """Return the directory of the project file, ``JFREMOTE_PROJECTS_FOLDER``."""
    return Path(loaded.site.directory) / FOLDER


def project_variables(project_file: Path) -> dict[str, str]:
    """Return the environment variables by which jobflow-remote finds a project."""
    return {"JFREMOTE_PROJECTS_FOLDER": str(project_file.parent), "JFREMOTE_PROJECT": project_file.stem}


def write_project(loaded: LoadedSite) -> Path:
    """Write the project of a site and the environments of its workers; return the project's file.

    The section ``runner`` of a file that is there is kept: how often the runner looks is set there, by hand.

    Raises
    ------
    CampaignError
        If jobflow-remote is not installed.
    ConfigError
        If jobflow-remote does not take the project.
    StorageError
        If the site's directory cannot be written.
    """
    require_jobflow_remote()
    write_environments(loaded)
    folder = make_private(projects_folder(loaded))
    path = folder / f"{loaded.site.site}.yaml"
    settings = project_settings(loaded)
    if path.exists():
        settings["runner"] = _read(path).get("runner") or settings["runner"]
    _checked(settings, path)
    make_private(Path(settings["base_dir"]))
    write_private(path, yaml.safe_dump(settings, sort_keys=False, width=130))
    return path


def read_project(path: Path) -> Project:
    """Read a project that :func:`write_project` wrote.

    Raises
    ------
    CampaignError
        If there is none, or jobflow-remote is not installed.
    ConfigError
        If jobflow-remote does not take it.
    """
    require_jobflow_remote()
    if not path.exists():
        raise CampaignError(f"{path}: no such project of jobflow-remote; `coevo submit --manager jobflow-remote` writes it")
    return _checked(_read(path), path)


def _read(path: Path) -> dict[str, Any]:
    with storage_errors("reading", path):
        text = path.read_text()
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise ConfigError(f"{path}{where}: not valid YAML; repair it, or remove it and submit again") from None
    return found if isinstance(found, dict) else {}


def _checked(settings: dict[str, Any], path: Path) -> Project:
    from jobflow_remote.config.base import Project
    from pydantic import ValidationError

    try:
        return Project.model_validate(settings)
    except ValidationError as error:
        # its own text repeats the values, and they may hold a password
        places = ", ".join(".".join(str(part) for part in item["loc"]) for item in error.errors(include_input=False))
        raise ConfigError(
            f"{path}: jobflow-remote does not take {places}; repair it, or remove the file and submit again"
        ) from None


def project_settings(loaded: LoadedSite) -> dict[str, Any]:
    """Return the content of the project's file; it may hold a password."""
    site, server = loaded.site, loaded.site.launchpad_server
    store = {"type": "MongoStore", "uri": server.uri, "database": server.name}
    if site.queue == "none":
        workers: dict[str, Any] = {LOCAL_WORKER: _local_worker(loaded)}
        environments = {name: {"pre_run": _pre_run(loaded, name)} for name in CLASS_NAMES}
    else:
        workers, environments = {name: _slurm_worker(loaded, name) for name in CLASS_NAMES}, {}
    return {
        "name": site.site,
        "base_dir": str(projects_folder(loaded) / site.site),
        "runner": dict(RUNNER),
        "queue": {
            "store": {**store, "collection_name": COLLECTIONS["jobs"]},
            "flows_collection": COLLECTIONS["flows"],
            "auxiliary_collection": COLLECTIONS["auxiliary"],
            "batches_collection": COLLECTIONS["batches"],
        },
        "jobstore": {"docs_store": {**store, "collection_name": OUTPUTS}},
        "workers": workers,
        "exec_config": environments,
    }


def job_config(project: Project, name: ClassName) -> dict[str, str]:
    """Return which worker takes a job of a class, and in which environment."""
    if name in project.workers:
        return {"worker": name}
    return {"worker": LOCAL_WORKER, "exec_config": name}


def _local_worker(loaded: LoadedSite) -> dict[str, Any]:
    # one worker for all classes: jobflow-remote has no limit that several workers share
    return {
        "type": "local",
        "scheduler_type": "shell",
        "work_dir": str(Path(loaded.site.directory) / JOBS),
        "max_jobs": loaded.site.workers,
        "timeout_execute": SUBMIT_TIMEOUT,
    }


def _slurm_worker(loaded: LoadedSite, name: ClassName) -> dict[str, Any]:
    kind, directory = loaded.site.resources(name), Path(loaded.site.directory) / JOBS / name
    options = [f"--comment={comment_of(loaded, name)}", "--no-requeue", *kind.extra]
    resources = {
        "partition": kind.partition,
        "account": kind.account,
        "qos": kind.qos,
        "nodes": kind.nodes,
        "ntasks": kind.tasks,
        "cpus_per_task": kind.cpus_per_task,
        "gres": kind.gres,
        "mem": kind.memory,
        "time": kind.walltime,
        "constraint": kind.constraint,
        "qverbatim": "\n".join(f"#SBATCH {option}" for option in options),
    }
    worker: dict[str, Any] = {
        "type": "local",
        "scheduler_type": "slurm",
        "work_dir": str(directory),
        "resources": {key: value for key, value in resources.items() if value is not None},
        "pre_run": _pre_run(loaded, name),
        "max_jobs": kind.max_in_queue,
        "timeout_execute": SUBMIT_TIMEOUT,
    }
    if kind.mode == "packed":
        worker["batch"] = {
            "jobs_handle_dir": str(directory / "batch-files"),
            "work_dir": str(directory / "batches"),
            "max_wait": kind.packed_idle,
            "max_time": kind.taking_seconds,
            "parallel_jobs": kind.packed_jobs,
            "sleep_time": PACKED_RETRY,
        }
    return worker


def _pre_run(loaded: LoadedSite, name: ClassName) -> str:
    """Lines of shell that make the environment of a class, and then the project known and ``jf`` the one of the prefix."""
    environment = loaded.site.environment(name)
    project = project_variables(projects_folder(loaded) / f"{loaded.site.site}.yaml")
    lines = ["unset FW_CONFIG_FILE JOBFLOW_CONFIG_FILE"]
    lines += [f"export {key}={shlex.quote(value)}" for key, value in project.items()]
    if environment.modules:
        # scripts of jobflow-remote are no login shells, which is where many clusters define it
        lines.append("command -v module >/dev/null || . /etc/profile")
    lines = preparation(loaded, name, lines)
    if environment.prefix:
        lines.append(f'jf() {{ {environment.prefix} env jf "$@"; }}')
    return "\n".join(lines) + "\n"


def require_jobflow_remote() -> None:
    """Check that jobflow-remote is there.

    Raises
    ------
    CampaignError
        If it is not.
    """
    try:
        import jobflow_remote  # noqa: F401
    except ImportError:
        raise CampaignError("jobflow-remote is not installed; pip install 'coevo[jobflow-remote]'") from None
