"""One frame through a Maker: its job, and what that is replaced by or detours to, in a directory of its own and in this process.

The job runs inside the job that asked for the label. jobflow keeps the running job in a global, so that is put back afterwards.
Outputs stay in memory. A Maker works in the current directory, so only one frame at a time can run in a process.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from coevo.errors import CoevoError, LabellingError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from jobflow import Maker
    from pymatgen.core import Structure

MOST_JOBS = 20
"""Jobs of one frame: a static calculation is one, or a few where it is restarted or prepared by another."""

PRINTED = "maker.out"
"""File of what a Maker prints."""

OF_THE_MACHINE = (CoevoError, ImportError, MemoryError, NameError, NotImplementedError)
"""What a Maker raises where not the frame is to blame; so is an OSError, but for :data:`OF_THE_FRAME`."""

OF_THE_FRAME = (FileNotFoundError, TimeoutError)
"""Errors of the operating system's kind that end a calculation: files that it did not write, the time that it was given."""


class TooManyJobsError(Exception):
    """A frame has had as many jobs as one may have."""


@dataclass(frozen=True)
class MakerRun:
    """What came of a frame.

    Attributes
    ----------
    document : object
        Output of the Maker's job: a task document, or a mapping. None if there is an error.
    directory : Path
        Where the last job ran.
    error : str
        The exception that ended the run.
    too_many : bool
        Whether it was ended because its jobs had no end.
    """

    directory: Path
    document: Any = None
    error: str = ""
    too_many: bool = False


def run_frame(maker: Maker, structure: Structure, directory: Path) -> MakerRun:
    """Run a Maker on a structure.

    Parameters
    ----------
    maker : Maker
    structure : Structure
    directory : Path
        An empty directory; each job runs in a directory of its own within it.

    Raises
    ------
    LabellingError
        If the Maker does not make jobs, or the machine is to blame: a package is missing, the disk is full.
    """
    from jobflow import Flow, Job, JobStore, run_locally
    from jobflow.core.reference import find_and_resolve_references
    from maggma.stores import MemoryStore

    class Bounded(JobStore):
        """Keeps outputs whole, and refuses those of endless jobs."""

        done = 0

        def update(self, docs: Any, key: Any = None, save: Any = None) -> None:  # noqa: ARG002
            self.done += 1
            if self.done > MOST_JOBS:
                raise TooManyJobsError
            super().update(docs, key=key, save={})

    store = Bounded(MemoryStore())
    try:
        with open(directory / PRINTED, "w", encoding="utf-8") as out, contextlib.redirect_stdout(out), _own_job():  # noqa: PTH123
            made = maker.make(structure.copy())  # what a Maker does to its structure must not hide that it computed another
            if not isinstance(made, Job | Flow):
                raise LabellingError(
                    f"{type(maker).__name__}.make gives a {type(made).__name__}, allowed: a Job or a Flow (decorate make with "
                    "jobflow.job)"
                )
            output = made.output  # that of a Flow is not to be had after it is run
            run_locally(made, store=store, log=False, root_dir=directory, create_folders=True, raise_immediately=True)
            document = find_and_resolve_references(output, store)
    except TooManyJobsError:
        return MakerRun(_last(directory), error=f"its jobs did not end after {MOST_JOBS}", too_many=True)
    except LabellingError:
        raise
    except OF_THE_MACHINE as err:
        raise LabellingError(f"{type(maker).__name__}: {type(err).__name__}: {err}") from err
    except OSError as err:
        if not isinstance(err, OF_THE_FRAME):
            raise LabellingError(f"{type(maker).__name__}: {type(err).__name__}: {err}") from err
        return MakerRun(_last(directory), error=_told(err, directory))
    except (Exception, SystemExit) as err:  # noqa: BLE001  (whatever a calculation ends with is the failure of its frame)
        return MakerRun(_last(directory), error=_told(err, directory))
    return MakerRun(_last(directory), document)


def _told(err: BaseException, directory: Path) -> str:
    text = f"{type(err).__name__}: {err}".replace(str(directory), "").strip()
    return text.splitlines()[0][:400]


def _last(directory: Path) -> Path:
    """Directory of the last job; that of the frame if none was begun."""
    jobs = [path for path in directory.iterdir() if path.is_dir() and path.name.startswith("job_")]
    return max(jobs, key=lambda path: path.stat().st_mtime_ns, default=directory)


@contextlib.contextmanager
def _own_job() -> Iterator[None]:
    """Let jobs run within a job: jobflow's note of the running one is put back."""
    from jobflow import CURRENT_JOB

    job, store = CURRENT_JOB.job, CURRENT_JOB.store
    try:
        yield
    finally:
        CURRENT_JOB.job, CURRENT_JOB.store = job, store
