"""What a job printed, wherever it ran."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from coevo.errors import CampaignError
from coevo.slurm.worker import ERRORS, OUTPUT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from coevo.slurm.job_table import JobRow

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
