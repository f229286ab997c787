"""Results of jobs that finished while the database was away: waited for, and kept in a file if it does not come back in time.

A job of hours must not be computed again because a server was restarted in its last second (the fate of FireWorks' launches,
FireWorks issue 396).
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coevo.errors import StorageError
from coevo.node_store.durable import make_directory, replace_file, storage_errors
from coevo.settings import read_settings

if TYPE_CHECKING:
    from coevo.node_store.store import NodeStore

FIRST_WAIT, LONGEST_WAIT = 1.0, 30.0
"""Seconds between attempts; each wait is twice the one before."""


def put_patiently(store: NodeStore, key: str, document: dict[str, Any]) -> dict[str, Any]:
    """Store the result of a job; wait for a server that is away, then leave the result in the spool.

    Parameters
    ----------
    store : NodeStore
    key : str
        Of the job.
    document : dict
        Its output and provenance.

    Returns
    -------
    dict
        The document that is stored now: of whoever was first.

    Raises
    ------
    StorageError
        If it could not be stored; with a spool (``COEVO_SPOOL``), the next run of the job finds it there.
    """
    settings = read_settings()
    deadline = time.monotonic() + (0 if settings.is_embedded else settings.patience)
    wait = FIRST_WAIT
    while True:
        try:
            return store.put_job_result(key, document)
        except StorageError as err:
            left = deadline - time.monotonic()
            if left <= 0:
                if settings.spool is None or settings.is_embedded:
                    raise
                path = _spool(Path(settings.spool), key, document)
                raise StorageError(
                    f"{err}; the result is kept in {path}, and running the job again takes it from there"
                ) from None
        time.sleep(min(wait, left))
        wait = min(2 * wait, LONGEST_WAIT)


def take_in_spooled(store: NodeStore, key: str) -> None:
    """Store the result of a job that an earlier run left in the spool, if there is one."""
    spool = read_settings().spool
    if spool is None:
        return
    path = Path(spool) / f"{key}.json"
    try:
        document = json.loads(path.read_bytes())
    except FileNotFoundError:
        return
    except (OSError, ValueError):
        # a file that cannot be read is no result: the job computes it again
        return
    store.put_job_result(key, document)
    path.unlink(missing_ok=True)


def _spool(directory: Path, key: str, document: dict[str, Any]) -> Path:
    path = directory / f"{key}.json"
    with storage_errors("keeping a result while the database is away", directory):
        make_directory(directory)
        replace_file(path, json.dumps(document).encode())
    return path
