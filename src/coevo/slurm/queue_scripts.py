"""What SLURM and FireWorks get from a site: queue adapters, job scripts, workers, and the settings that workers read.

A job script holds no secret: the database, the artifact store and the variables of the environment come from a file that only its
owner can read (:mod:`coevo.slurm.worker_files`).
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any, Literal

from coevo.errors import CampaignError, ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from fireworks.core.fworker import FWorker
    from fireworks.core.launchpad import LaunchPad

    from coevo.configs.site_loading import LoadedSite
    from coevo.configs.step_classes import ClassName
    from coevo.slurm.queue_adapter import SiteQueueAdapter

Mode = Literal["single", "packed"]

JOB_STORE_COLLECTION = "jobflow_outputs"
PACKED_RETRY = 10
"""Seconds after which a packed worker that found no job asks again."""


def comment_of(loaded: LoadedSite, name: ClassName) -> str:
    """Return the comment by which SLURM's jobs of a class are known."""
    return f"coevo:{loaded.site.site}:{name}"


def queue_adapter(loaded: LoadedSite, name: ClassName, *, mode: Mode | None = None) -> SiteQueueAdapter:
    """Return FireWorks' queue adapter of a class.

    Parameters
    ----------
    loaded : LoadedSite
    name : {"gpu", "screen", "label", "small"}
    mode : {"single", "packed"}, optional
        Instead of the class's own; FireWorks' reservation mode (one job, one allocation) needs ``single``.

    Raises
    ------
    ConfigError
        If the site has no queue.
    CampaignError
        If FireWorks is not installed.
    """
    if loaded.site.queue == "none":
        raise ConfigError(f"{loaded.source}: queue: none has no queue to submit to; `coevo launch` runs the jobs itself")
    kind = loaded.site.resources(name)
    _require_fireworks()
    from coevo.slurm.queue_adapter import SiteQueueAdapter

    return SiteQueueAdapter(
        title=f"coevo-{name}",  # FireWorks sets job_name itself, and drops the slashes
        comment=comment_of(loaded, name),
        queue=kind.partition,
        account=kind.account,
        qos=kind.qos,
        nodes=kind.nodes,
        ntasks=kind.tasks,
        cpus_per_task=kind.cpus_per_task,
        gres=kind.gres,
        mem=kind.memory,
        walltime=kind.walltime,
        constraint=kind.constraint,
        extra="\n".join(f"#SBATCH {option}" for option in kind.extra) or None,
        pre_rocket="\n".join(preparation(loaded, name, _fireworks_lines(loaded))),
        rocket_launch=worker_command(loaded, name, mode=mode),
    )


def job_script(
    loaded: LoadedSite, name: ClassName, launch_dir: Path, *, mode: Mode | None = None, fw_id: int | None = None
) -> str:
    """Return the bash script of a job of a class, as sbatch gets it; without a queue, as bash gets it.

    Parameters
    ----------
    loaded : LoadedSite
    name : {"gpu", "screen", "label", "small"}
    launch_dir : Path
        Where the job runs.
    mode : {"single", "packed"}, optional
        Instead of the class's own.
    fw_id : int, optional
        Without a queue: the Firework to run.
    """
    if loaded.site.queue == "slurm":
        return str(queue_adapter(loaded, name, mode=mode).get_script_str(str(launch_dir)))
    change = f"cd {shlex.quote(str(launch_dir))} || exit 1"
    command = worker_command(loaded, name, mode=mode) + (f" --fw_id {fw_id}" if fw_id is not None else "")
    lines = preparation(loaded, name, _fireworks_lines(loaded))
    return "\n".join(["#!/bin/bash -l", "", change, *lines, command, ""])


def _fireworks_lines(loaded: LoadedSite) -> list[str]:
    # FireWorks takes the settings in the working directory before all others, ~/.fireworks among them
    return [f"ln -sfn {shlex.quote(str(loaded.files / 'FW_config.yaml'))} FW_config.yaml"]


def preparation(loaded: LoadedSite, name: ClassName, manager_lines: Sequence[str]) -> list[str]:
    """Return the lines that make the environment of a worker; the first that fails ends the job before it takes any work.

    Parameters
    ----------
    loaded : LoadedSite
    name : {"gpu", "screen", "label", "small"}
    manager_lines : sequence of str
        What the manager of the jobs needs, after the variables and before modules and commands.
    """
    environment, files = loaded.site.environment(name), loaded.files
    variables = shlex.quote(str(files / f"{name}.env"))
    lines = [
        'coevo_stop() { echo "coevo: $1 failed on $(hostname), so no job was taken" >&2; exit 1; }',
        # what the submitting shell happened to have set must not change what a job does
        'unset "${!COEVO_@}" "${!JOBFLOW_@}" "${!FW_@}" "${!JFREMOTE_@}"',
        f". {variables} || coevo_stop {shlex.quote(f'reading {files / name}.env')}",
        # as the command line has it (coevo.processes.hold_numerics), by the processor of the node that runs the job
        'grep -qsw avx2 /proc/cpuinfo && export OPENBLAS_CORETYPE="${OPENBLAS_CORETYPE:-Haswell}"',
        *manager_lines,
    ]
    lines += [f"module load {shlex.quote(module)} || coevo_stop 'module load {module}'" for module in environment.modules]
    for index, command in enumerate(environment.commands):
        lines += [command, f"[ $? -eq 0 ] || coevo_stop 'environments.{_environment(loaded, name)}.commands[{index}]'"]
    return lines


def _environment(loaded: LoadedSite, name: ClassName) -> str:
    return loaded.site.resources(name).environment


def worker_command(loaded: LoadedSite, name: ClassName, *, mode: Mode | None = None) -> str:
    """Return the command of a worker (:mod:`coevo.slurm.worker`): one job, or jobs until the time is up.

    In packed mode no job is taken once ``taking_seconds`` are over; what runs then has the reserve to end in. FireWorks' own
    ``rlaunch multi`` is not used: without ``--timeout`` its processes die of a TypeError once one of them has nothing to do; with
    it they start their clocks anew and take jobs until SLURM kills them; and whoever is on the node can make them run code,
    because their password is the same everywhere.
    """
    kind = loaded.site.resources(name)
    words = ["python", "-m", "coevo.slurm.worker", "--files", str(loaded.files), "--class", name]
    if (mode or kind.mode) == "single":
        words.append("singleshot")  # the word that FireWorks looks for before it adds --fw_id
    else:
        times = ["--seconds", str(kind.taking_seconds), "--idle", str(kind.packed_idle), "--retry", str(PACKED_RETRY)]
        words += ["packed", "--at-once", str(kind.packed_jobs), *times]
    prefix = loaded.site.environment(name).prefix
    return f"{prefix} {shlex.join(words)}" if prefix else shlex.join(words)


def fworker(loaded: LoadedSite, name: ClassName) -> FWorker:
    """Return FireWorks' worker of a class: it takes the jobs of that category."""
    _require_fireworks()
    from fireworks.core.fworker import FWorker

    return FWorker(name=f"{loaded.site.site}-{name}", category=name)


def launchpad_settings(loaded: LoadedSite) -> dict[str, Any]:
    """Return the content of ``my_launchpad.yaml``; it may hold a password."""
    server = loaded.site.launchpad_server
    return {"host": server.uri, "name": server.name, "uri_mode": True, "logdir": None, "strm_lvl": "INFO"}


def launchpad(loaded: LoadedSite) -> LaunchPad:
    """Return FireWorks' launchpad of the site."""
    _require_fireworks()
    from fireworks.core.launchpad import LaunchPad

    return LaunchPad.from_dict({**launchpad_settings(loaded), "strm_lvl": "CRITICAL"})


def job_store_settings(loaded: LoadedSite) -> dict[str, Any]:
    """Return jobflow's job store, which lies beside the launchpad; it may hold a password."""
    server = loaded.site.launchpad_server
    store = {"type": "MongoStore", "uri": server.uri, "database": server.name, "collection_name": JOB_STORE_COLLECTION}
    return {"docs_store": store}


def fireworks_settings(loaded: LoadedSite) -> dict[str, Any]:
    """Return the content of ``FW_config.yaml``."""
    ping = loaded.site.ping_seconds
    return {
        "PING_TIME_SECS": ping,
        "RUN_EXPIRATION_SECS": 4 * ping,  # FireWorks takes it from its default of the former, not from what is set
        "WFLOCK_EXPIRATION_SECS": 60,
        "WFLOCK_EXPIRATION_KILL": True,  # a worker that was killed while it held a workflow must not stop all others
        "PRINT_FW_JSON": False,  # a file in each job's directory that nobody reads
    }


def worker_environment(loaded: LoadedSite, name: ClassName) -> dict[str, str]:
    """Return the environment variables of the workers of a class; they may hold passwords.

    Parameters
    ----------
    loaded : LoadedSite
    name : {"gpu", "screen", "label", "small"}
    """
    site, files = loaded.site, loaded.files
    given = site.environment(name).variables
    defaults = {
        # as the command line has it: numbers must not depend on how many threads a library likes to start
        "OMP_NUM_THREADS": "1",
        "SPGLIB_WARNING": "OFF",
        "COEVO_SPOOL": f"{site.directory}/results-to-store",
    }
    if site.queue == "slurm":
        defaults["COEVO_WORKERS"] = str(site.resources(name).workers)
    return {
        **defaults,
        **given,
        "COEVO_DATABASE": site.database,
        "COEVO_ARTIFACTS": site.artifacts,
        "FW_CONFIG_FILE": str(files / "FW_config.yaml"),
        "JOBFLOW_CONFIG_FILE": str(files / "jobflow.yaml"),
    }


def _require_fireworks() -> None:
    try:
        import fireworks  # noqa: F401
    except ImportError:
        raise CampaignError("FireWorks is not installed, and clusters need it; pip install 'coevo[fireworks]'") from None
