"""The files that the workers of a site read, in a directory of their own that only their owner can enter.

They hold what must not stand in a job script: the URIs of the database and the launchpad with their passwords, and the variables
of the environments. The directory is named after what the site's file says, so jobs in the queue keep the settings they were
submitted with, while a new password reaches them too.

Also here: what a job printed, wherever it ran.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from coevo.configs.step_classes import CLASS_NAMES
from coevo.errors import CampaignError
from coevo.node_store.durable import make_directory, replace_file, storage_errors
from coevo.slurm.queue_scripts import fireworks_settings, fworker, job_store_settings, launchpad_settings, worker_environment
from coevo.slurm.worker import ERRORS, OUTPUT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from coevo.configs.site_loading import LoadedSite
    from coevo.slurm.job_table import JobRow


PRIVATE_FILE, PRIVATE_DIRECTORY = 0o600, 0o700


def write_worker_files(loaded: LoadedSite) -> Path:
    """Write the files that workers read, those that differ; return their directory.

    Returns
    -------
    Path
        ``LoadedSite.files``, with ``my_launchpad.yaml``, ``FW_config.yaml``, ``jobflow.yaml`` and for each class
        ``CLASS.worker.yaml`` and ``CLASS.env``; mode 0600 in a directory of mode 0700.

    Raises
    ------
    StorageError
        If the site's directory cannot be written.
    """
    folder = write_environments(loaded)
    contents = {
        "my_launchpad.yaml": _yaml(launchpad_settings(loaded)),
        "FW_config.yaml": _yaml(fireworks_settings(loaded)),
        "jobflow.yaml": _yaml({"JOB_STORE": job_store_settings(loaded)}),
    }
    for name in CLASS_NAMES:
        contents[f"{name}.worker.yaml"] = _yaml(fworker(loaded, name).to_dict())
    for file, text in contents.items():
        write_private(folder / file, text)
    return folder


def write_environments(loaded: LoadedSite) -> Path:
    """Write ``CLASS.env`` for each class, those that differ; return their directory. Needs no FireWorks.

    Raises
    ------
    StorageError
        If the site's directory cannot be written.
    """
    folder = make_private(loaded.files)
    for name in CLASS_NAMES:
        write_private(folder / f"{name}.env", environment_file(worker_environment(loaded, name)))
    return folder


def make_private(folder: Path) -> Path:
    """Make a directory that only its owner can enter; return it."""
    with storage_errors("writing the files of the workers", folder):
        make_directory(folder)
        folder.chmod(PRIVATE_DIRECTORY)
    return folder


def environment_file(variables: dict[str, str]) -> str:
    """Write variables as lines that bash reads back unchanged."""
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in variables.items())


def _yaml(data: dict[str, Any]) -> str:
    return yaml.safe_dump(data, sort_keys=False)


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, if it differs."""
    data = text.encode()
    with storage_errors("reading", path):
        same = path.exists() and path.read_bytes() == data
    if not same:
        replace_file(path, data, PRIVATE_FILE)


MAX_BYTES = 200_000
"""Of each file the end is shown."""


@dataclass(frozen=True)
class JobLog:
    """One file that a job wrote to.

    Attributes
    ----------
    path : Path
    text : str
        Its end.
    size : int
        Of the whole file, bytes.
    """

    path: Path
    text: str
    size: int


def find_job(rows: Sequence[JobRow], wanted: str) -> JobRow:
    """Return the job that a user names: by its FireWorks id, its name, or the end of its name (``3/screen/0012``).

    Raises
    ------
    CampaignError
        If there is none, or several.
    """
    if wanted.isdigit():
        found = [row for row in rows if row.fw_id == int(wanted)]
    else:
        found = [row for row in rows if row.name == wanted] or [row for row in rows if row.name.endswith(f"/{wanted}")]
    # a job of an earlier campaign that had the same name is history
    found = [row for row in found if row.campaign == found[-1].campaign]
    if not found:
        raise CampaignError(f"no job {wanted!r}; allowed: an id or a name that `coevo jobs` lists")
    if len(found) > 1:
        names = ", ".join(f"{row.name} ({row.fw_id})" for row in found[:5])
        raise CampaignError(f"{wanted!r} is the name of {len(found)} jobs: {names}; give the id")
    return found[0]


def logs_of(row: JobRow) -> list[JobLog]:
    """Return what a job printed: its own output first, then that of the allocation it ran in.

    Raises
    ------
    CampaignError
        If it has not run, or its directory cannot be seen from here.
    """
    if not row.directory:
        raise CampaignError(f"{row.name} has not run yet ({row.state}), so there is no log")
    directory = Path(row.directory)
    if not directory.is_dir():
        raise CampaignError(f"{row.name} ran in {directory}, which cannot be seen from here; look where the site's directory is")
    files = [directory / ERRORS, directory / OUTPUT, *sorted(directory.glob("coevo-*.err")), directory / "worker.log"]
    if directory.name.startswith("job-"):  # of a packed allocation
        files += sorted(directory.parent.glob("coevo-*.err"))
    return [_read(path) for path in files if path.is_file() and path.stat().st_size]


def _read(path: Path) -> JobLog:
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(0, size - MAX_BYTES))
        return JobLog(path, file.read().decode(errors="replace"), size)
