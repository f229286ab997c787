"""The jobs of a node as the launchpad and SLURM see them: where each one stands, and which are lost."""

from __future__ import annotations

import socket
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from coevo.slurm.worker import process_start

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from fireworks.core.launchpad import LaunchPad

    from coevo.slurm.queue_state import QueuedJob

JobState = Literal["waiting", "ready", "queued", "running", "completed", "fizzled", "lost", "paused", "cancelled"]
JOB_STATES: tuple[JobState, ...] = (
    "waiting",
    "ready",
    "queued",
    "running",
    "completed",
    "fizzled",
    "lost",
    "paused",
    "cancelled",
)
_STATES: dict[str, JobState] = {
    "WAITING": "waiting",
    "READY": "ready",
    "RESERVED": "queued",
    "RUNNING": "running",
    "COMPLETED": "completed",
    "FIZZLED": "fizzled",
    "PAUSED": "paused",
    "DEFUSED": "cancelled",
    "ARCHIVED": "cancelled",
}
RESERVATION_SECONDS = 120.0
"""A reserved job without a SLURM id is lost after this: its launcher died before it had submitted it."""


@dataclass(frozen=True)
class JobRow:
    """One job.

    Attributes
    ----------
    name : str
        ``NODE/ITERATION/STEP[/SHARD]``.
    fw_id : int
        Of the Firework.
    iteration : int
    step : str
    state : str
        One of :data:`JOB_STATES`.
    category : str
        Its class.
    campaign : str
    slurm_id : str or None
        The SLURM job that it waits for or runs in.
    seconds : float or None
        Since it was queued or started; of a job that has ended, how long it took.
    error : str
        First line that says what went wrong.
    launch_id : int or None
        Of the last launch.
    directory : str
        Where it ran.
    reruns : int
        How often ``coevo rerun`` ran it again.
    walltime : str or None
        Its own, after it ran into that of its class.
    """

    name: str
    fw_id: int
    iteration: int
    step: str
    state: JobState
    category: str
    campaign: str
    slurm_id: str | None = None
    seconds: float | None = None
    error: str = ""
    launch_id: int | None = None
    directory: str = ""
    reruns: int = 0
    walltime: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Plain JSON types."""
        return asdict(self)


def job_rows(
    launchpad: LaunchPad,
    node: str,
    *,
    campaign: str | None = None,
    active: Callable[[], Mapping[str, QueuedJob]] | None = None,
) -> list[JobRow]:
    """Return the jobs of a node, by iteration and name.

    Parameters
    ----------
    launchpad : LaunchPad
    node : str
    campaign : str or None
        Of one campaign only.
    active : callable or None
        Asks SLURM for the jobs that are there still. None: nobody can be asked, and no job of SLURM is called lost.

    Raises
    ------
    QueueError
        If SLURM does not answer.
    """
    query = {"spec.coevo.node": node} | ({"spec.coevo.campaign": campaign} if campaign else {})
    of_spec = ("spec.coevo", "spec._category", "spec.coevo_reruns", "spec._queueadapter")
    fields = dict.fromkeys(("fw_id", "name", "state", "updated_on", "launches", *of_spec), 1)
    fireworks = list(launchpad.fireworks.find(query, fields))
    launches = _last_launches(launchpad, fireworks)
    rows = [_row(firework, launches.get((firework["launches"] or [None])[-1])) for firework in fireworks]
    rows = _with_lost(launchpad, rows, launches, active)
    return sorted(rows, key=lambda row: (row.iteration, row.campaign, row.fw_id))


def _last_launches(launchpad: LaunchPad, fireworks: Iterable[dict[str, Any]]) -> dict[int | None, dict[str, Any]]:
    last = [firework["launches"][-1] for firework in fireworks if firework["launches"]]
    fields = ("launch_id", "state", "state_history", "fworker.env", "launch_dir", "action.stored_data._exception._stacktrace")
    found: dict[int | None, dict[str, Any]] = {}
    for start in range(0, len(last), 1000):
        query = {"launch_id": {"$in": last[start : start + 1000]}}
        found |= {launch["launch_id"]: launch for launch in launchpad.launches.find(query, dict.fromkeys(fields, 1))}
    return found


def _row(firework: dict[str, Any], launch: dict[str, Any] | None) -> JobRow:
    spec = firework["spec"]
    about = spec["coevo"]
    parts = firework["name"].split("/")
    is_named = len(parts) > 2 and parts[0] == about["node"]
    state = _STATES[firework["state"]]
    return JobRow(
        name=firework["name"] if is_named else f"{about['node']}/{about['iteration']}/{firework['name']}",
        fw_id=firework["fw_id"],
        iteration=about["iteration"],
        step=parts[2] if is_named else firework["name"],
        state=state,
        category=spec.get("_category", ""),
        campaign=about["campaign"],
        slurm_id=slurm_id_of(launch) if launch else None,
        seconds=_seconds(launch, state) if launch else _since(firework.get("updated_on"), state),
        error=_first_line(launch) if launch and state == "fizzled" else "",
        launch_id=launch["launch_id"] if launch else None,
        directory=launch["launch_dir"] if launch else "",
        reruns=len(spec.get("coevo_reruns", ())),
        walltime=(spec.get("_queueadapter") or {}).get("walltime"),
    )


def slurm_id_of(launch: Mapping[str, Any]) -> str | None:
    """Return the SLURM job of a launch: where it runs, or what it was queued as."""
    env = (launch.get("fworker") or {}).get("env") or {}
    if env.get("slurm_job_id"):
        return str(env["slurm_job_id"])
    for entry in launch.get("state_history") or ():
        if entry.get("reservation_id"):
            return str(entry["reservation_id"])
    return None


def _when(launch: Mapping[str, Any], state: str, field: str = "created_on") -> datetime | None:
    for entry in launch.get("state_history") or ():
        if entry["state"] == state:
            return _aware(entry[field])
    return None


def _seconds(launch: Mapping[str, Any], state: JobState) -> float | None:
    """Seconds since a job was queued or started, or that it took."""
    began = _when(launch, "RESERVED" if state == "queued" else "RUNNING")
    ended = _when(launch, "COMPLETED") or _when(launch, "FIZZLED")
    if began is None or (state not in {"queued", "running"} and ended is None):
        return None
    until = datetime.now(UTC) if state in {"queued", "running"} or ended is None else ended
    return max(0.0, (until - began).total_seconds())


def _since(stamp: Any, state: JobState) -> float | None:
    """Seconds since a job was taken that has no launch yet: FireWorks writes the launch a moment later."""
    if state not in {"queued", "running"} or stamp is None:
        return None
    return max(0.0, (datetime.now(UTC) - _aware(stamp)).total_seconds())


def _aware(stamp: str | datetime) -> datetime:
    when = datetime.fromisoformat(stamp) if isinstance(stamp, str) else stamp
    return when.replace(tzinfo=UTC) if when.tzinfo is None else when


def _first_line(launch: Mapping[str, Any]) -> str:
    """Return the line of a traceback that says what went wrong: the first one of the exception's own message."""
    stored = ((launch.get("action") or {}).get("stored_data") or {}).get("_exception") or {}
    lines = [line for line in str(stored.get("_stacktrace") or "").splitlines() if line.strip()]
    after = 0
    for index, line in enumerate(lines):
        if line.startswith((" ", "Traceback ", "During handling", "The above exception")):
            after = index + 1
    return lines[after].strip() if after < len(lines) else (lines[-1].strip() if lines else "no error was recorded")


def _with_lost(
    launchpad: LaunchPad,
    rows: list[JobRow],
    launches: Mapping[int | None, dict[str, Any]],
    active: Callable[[], Mapping[str, QueuedJob]] | None,
) -> list[JobRow]:
    """Find the queued and running jobs that nothing runs any more.

    Launches were read before SLURM is asked, and those that SLURM does not have are read once more after it: a job that ended in
    between has said so by then.
    """
    unsettled = [row for row in rows if row.state in {"queued", "running"}]
    if not unsettled:
        return rows
    there = active() if active is not None and any(row.slurm_id for row in unsettled) else None
    suspects = {row.fw_id: _why_lost(row, launches.get(row.launch_id), there) for row in unsettled}
    wanted = [row for row in unsettled if suspects[row.fw_id]]
    query = {"launch_id": {"$in": [row.launch_id for row in wanted]}, "state": {"$in": ["RESERVED", "RUNNING"]}}
    still = {launch["launch_id"] for launch in launchpad.launches.find(query, {"launch_id": 1})}
    query = {"fw_id": {"$in": [row.fw_id for row in wanted]}, "state": "RESERVED", "launches": []}
    still_alone = {firework["fw_id"] for firework in launchpad.fireworks.find(query, {"fw_id": 1})}
    lost = {row.fw_id for row in wanted if row.launch_id in still or row.fw_id in still_alone}
    return [
        JobRow(**{**row.as_json(), "state": "lost", "error": suspects[row.fw_id]}) if row.fw_id in lost else row for row in rows
    ]


def _why_lost(row: JobRow, launch: Mapping[str, Any] | None, there: Mapping[str, QueuedJob] | None) -> str:
    """Say why nothing runs a job any more; empty if something does, or if it cannot be known."""
    if row.slurm_id is not None:
        gone = there is not None and row.slurm_id not in there
        before = " and has not taken it" if row.state == "queued" else ""
        return f"SLURM job {row.slurm_id} is gone{before}" if gone else ""
    if row.state == "queued":
        return "it was reserved and never submitted" if (row.seconds or 0.0) > RESERVATION_SECONDS else ""
    env = ((launch or {}).get("fworker") or {}).get("env") or {}
    if env.get("host") != socket.gethostname() or not env.get("pid"):
        return ""
    alive = process_start(int(env["pid"])) == env.get("started")
    return "" if alive else f"process {env['pid']} of this machine has ended"
