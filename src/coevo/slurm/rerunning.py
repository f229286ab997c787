"""Run jobs again, cancel and pause them. What was computed is found by its key: nothing done here loses or doubles it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from coevo.slurm.queue_state import cancel_jobs, end_of_job

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from fireworks.core.launchpad import LaunchPad

    from coevo.configs.site_tree import Site
    from coevo.node_store.store import NodeStore
    from coevo.slurm.job_table import JobRow

MAX_REASON = 200
LOCK_SECONDS = 30.0
"""A workflow that is locked for this long is locked by a process that is gone."""


@dataclass(frozen=True)
class Rerun:
    """What was decided on a job.

    Attributes
    ----------
    row : JobRow
    done : bool
        Whether it is ready again.
    reason : str
        Why it was run again, or why it was not.
    walltime : str or None
        A longer one than before, where that was the reason.
    """

    row: JobRow
    done: bool
    reason: str
    walltime: str | None = None


def rerun_jobs(launchpad: LaunchPad, site: Site, rows: Iterable[JobRow], *, beyond_limit: bool = False) -> list[Rerun]:
    """Make fizzled and lost jobs ready again.

    A job that ran into its walltime gets the next longer one of its class. A job that was run again as often as the site allows
    is left as it is.

    Parameters
    ----------
    launchpad : LaunchPad
    site : Site
    rows : iterable of JobRow
    beyond_limit : bool
        Run them again however often that was done already.

    Returns
    -------
    list of Rerun
        One for each job that is fizzled or lost; others are left out.
    """
    failed = [row for row in rows if row.state in {"fizzled", "lost"}]
    release_locks(launchpad, failed)
    return [_rerun(launchpad, site, row, beyond_limit=beyond_limit) for row in failed]


def release_locks(launchpad: LaunchPad, rows: Iterable[JobRow]) -> None:
    """Free the workflows of jobs from the locks of processes that were killed in the middle of an update.

    FireWorks locks a workflow for the moment of an update, and a lock does not say whose it is. One that is seen again and again
    for :data:`LOCK_SECONDS` is taken away; FireWorks itself does so after minutes, or never.
    """
    for fw_id in {(row.campaign, row.iteration): row.fw_id for row in rows}.values():
        deadline = time.monotonic() + LOCK_SECONDS
        while launchpad.workflows.find_one({"nodes": fw_id, "locked": True}, {"_id": 1}) is not None:
            if time.monotonic() > deadline:
                launchpad.workflows.update_one({"nodes": fw_id}, {"$unset": {"locked": True}})
                break
            time.sleep(0.25)


def _rerun(launchpad: LaunchPad, site: Site, row: JobRow, *, beyond_limit: bool) -> Rerun:
    ended = end_of_job(row.slurm_id) if row.slurm_id and row.state == "lost" and site.queue == "slurm" else None
    reason = f"{row.error}: {ended}" if ended else row.error
    if row.reruns >= site.retries and not beyond_limit:
        told = f"was run again {row.reruns} times already (retries of the site); last: {reason}"
        return Rerun(row, done=False, reason=f"{told}; repair the cause and name it: --job {row.fw_id}")
    walltime = _longer_walltime(site, row) if ended == "TIMEOUT" else None
    launch = launchpad.launches.find_one({"launch_id": row.launch_id}, {"state": 1}) or {}
    note = {"at": datetime.now(UTC).isoformat(timespec="seconds"), "reason": reason[:MAX_REASON], "slurm_id": row.slurm_id}
    changes: dict[str, dict[str, Any]] = {"$push": {"spec.coevo_reruns": note}}
    if walltime:
        changes["$set"] = {"spec._queueadapter.walltime": walltime}
    launchpad.fireworks.update_one({"fw_id": row.fw_id}, changes)
    if launch.get("state") == "RESERVED":
        launchpad.cancel_reservation(row.launch_id)
        return Rerun(row, done=True, reason=reason, walltime=walltime)
    if launch.get("state") == "RUNNING":
        launchpad.mark_fizzled(row.launch_id)
    launchpad.rerun_fw(row.fw_id)
    return Rerun(row, done=True, reason=reason, walltime=walltime)


def _longer_walltime(site: Site, row: JobRow) -> str | None:
    kind = getattr(site.classes, row.category, None)
    if kind is None or kind.mode == "packed" or kind.walltime is None:
        return None
    longer: str | None = kind.next_walltime(row.walltime or kind.walltime)
    return longer


def cancel_campaign(
    store: NodeStore, launchpad: LaunchPad, campaign: str, rows: Sequence[JobRow], *, packed: frozenset[str]
) -> int:
    """End a campaign: no next transition, its waiting jobs are put out, its jobs in SLURM are cancelled.

    Parameters
    ----------
    store : NodeStore
    launchpad : LaunchPad
    campaign : str
    rows : sequence of JobRow
        Its jobs.
    packed : frozenset of str
        Classes whose allocations are shared with other nodes: what runs there is left to end.

    Returns
    -------
    int
        Jobs that were put out.
    """
    # first, so that a job which decides right now adds nothing any more
    store.finish_campaign(campaign, "cancelled")
    return put_out(launchpad, rows, packed=packed)


def put_out(launchpad: LaunchPad, rows: Sequence[JobRow], *, packed: frozenset[str]) -> int:
    """Put out the jobs that have not ended, and cancel those in SLURM; as :func:`cancel_campaign` does. Return how many."""
    unfinished = [row for row in rows if row.state not in {"completed", "cancelled"}]
    release_locks(launchpad, unfinished)
    queued = [row for row in unfinished if row.state in {"queued", "running"} and row.category not in packed]
    cancel_jobs([row.slurm_id for row in queued if row.slurm_id])
    for row in unfinished:
        launchpad.defuse_fw(row.fw_id)
    return len(unfinished)


def pause_jobs(launchpad: LaunchPad, rows: Iterable[JobRow]) -> int:
    """Hold all jobs that have not begun, until :func:`resume_jobs`; return how many."""
    held = [row for row in rows if row.state in {"waiting", "ready"}]
    release_locks(launchpad, held)
    for row in held:
        launchpad.pause_fw(row.fw_id)
    return len(held)


def resume_jobs(launchpad: LaunchPad, rows: Iterable[JobRow]) -> int:
    """Let paused jobs go on; return how many."""
    held = [row for row in rows if row.state == "paused"]
    release_locks(launchpad, held)
    for row in held:
        launchpad.resume_fw(row.fw_id)
    return len(held)
