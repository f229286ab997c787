"""One frame through VASP: an atomate2 job in its own directory, with custodian's VaspJob, handlers and validators.

The job runs in this process and not through a jobflow manager, because a label is a part of the job that asked for it. atomate2
works in the current directory, so only one frame at a time can run in a process.
"""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from coevo.labelling.vasp.input_sets import maker_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pymatgen.core import Structure

    from coevo.configs.tree import VaspConfig

POLLING_SECONDS = 0.2
MONITOR_EVERY = 150
"""custodian looks every 0.2 s whether VASP has ended (10 s by default), and every 30 s into the files of a running one."""

LARGE_FILES = ("WAVECAR", "CHGCAR", "CHG", "AECCAR0", "AECCAR1", "AECCAR2", "PROCAR", "DOSCAR", "LOCPOT", "ELFCAR", "vaspwave.h5")
WALLTIME_VARIABLE = "CUSTODIAN_WALLTIME_START"
PARSER_ERRORS = (
    *(ArithmeticError, AssertionError, AttributeError, FileNotFoundError, LookupError),
    *(RuntimeError, SyntaxError, TypeError, ValueError),
)
"""What custodian raises where it gives up (RuntimeError), and the parsers of VASP's files on half-written output."""

STDOUT_LINES = 5
EDIFF_REACHED = "aborting loop because EDIFF is reached"


@dataclass
class VaspRun:
    """What came of a frame.

    Attributes
    ----------
    document : TaskDoc or None
        atomate2's task document, where VASP ended and its output could be read.
    error : str
        The exception that ended the run; empty if there is a document.
    corrections : list of dict
        ``errors``, ``actions`` and ``handler`` (class name) of each correction, in order, from custodian.json.
    verdicts : dict
        ``handler``, ``validator``, ``max_errors``, … of custodian.json: what custodian ended with, if not with success.
    stdout : str
        Last lines of VASP's standard output.
    reached_ediff : bool
        Whether OUTCAR says that the electronic loop ended because it converged.
    """

    document: Any = None
    error: str = ""
    corrections: list[dict[str, Any]] = field(default_factory=list)
    verdicts: dict[str, Any] = field(default_factory=dict)
    stdout: str = ""
    reached_ediff: bool = False


def run_frame(structure: Structure, config: VaspConfig, *, command: str, directory: Path) -> VaspRun:
    """Run VASP on a structure.

    Parameters
    ----------
    structure : Structure
        As VASP shall see it (:func:`coevo.labelling.vasp.labels.prepare`).
    config : VaspConfig
    command : str
        How VASP is started.
    directory : Path
        An empty directory.

    Returns
    -------
    VaspRun
        Whatever goes wrong with VASP or its output is in it; large files are removed from the directory.
    """
    run = VaspRun()
    with contextlib.chdir(directory), own_walltime_clock():
        maker = maker_for(config, run_vasp_kwargs(config, command))
        try:
            # The function of the job itself: Job.run would take the place of the job that is running this one.
            make: Any = type(maker).make
            response = make.original(maker, structure)
            run.document = response.output
        except PARSER_ERRORS as err:
            run.error = f"{type(err).__name__}: {err}".replace(f"{directory}{os.sep}", "")
    read_run(directory, run)
    remove_large_files(directory)
    return run


def read_run(directory: Path, run: VaspRun) -> None:
    """Add to a run what the files of its directory say of it: custodian's log, what VASP printed, and why its loop ended."""
    _read_log(directory, run)
    printed = [line.strip() for line in _text(directory, "vasp.out").splitlines() if line.strip()]
    run.stdout = " | ".join(printed[-STDOUT_LINES:])
    run.reached_ediff = EDIFF_REACHED in _text(directory, "OUTCAR")


def remove_large_files(directory: Path) -> None:
    """Remove wave functions, charge densities and the like, compressed or not."""
    for name in LARGE_FILES:
        for path in (directory / name, directory / f"{name}.gz"):
            path.unlink(missing_ok=True)


def handlers_for(config: VaspConfig) -> list[Any]:
    """Return new error handlers: those of atomate2, less the ones that adapt the settings to one frame.

    They count what they have tried, so each frame has its own. Left out are those that change smearing or k-points by the gap of
    the frame (large sigma, incorrect smearing, k-spacing of metals): labels of one digest must have been made with one setting.
    """
    from atomate2.vasp.run import DEFAULT_HANDLERS
    from custodian.vasp.handlers import IncorrectSmearingHandler, KspacingMetalHandler, LargeSigmaHandler, WalltimeHandler

    adapting = (LargeSigmaHandler, IncorrectSmearingHandler, KspacingMetalHandler)
    handlers: list[Any] = [type(handler)() for handler in DEFAULT_HANDLERS if not isinstance(handler, adapting)]
    if config.walltime is not None:
        # A static run has one ionic step only: it is stopped between electronic ones.
        handlers.append(WalltimeHandler(wall_time=config.walltime, buffer_time=0, electronic_step_stop=True))
    return handlers


def run_vasp_kwargs(config: VaspConfig, command: str) -> dict[str, Any]:
    """Return the arguments of :func:`atomate2.vasp.run.run_vasp` for one frame."""
    return {
        "vasp_cmd": command,
        "max_errors": config.max_errors,
        "handlers": handlers_for(config),
        # The command that is configured is the one that runs, also where there is one k-point only.
        "vasp_job_kwargs": {"auto_gamma": False},
        "custodian_kwargs": {"polling_time_step": POLLING_SECONDS, "monitor_freq": MONITOR_EVERY},
    }


@contextlib.contextmanager
def own_walltime_clock() -> Iterator[None]:
    """Let custodian's walltime start with the frame: it notes the start of the first in the environment, for all that follow."""
    before = os.environ.pop(WALLTIME_VARIABLE, None)
    try:
        yield
    finally:
        os.environ.pop(WALLTIME_VARIABLE, None)
        if before is not None:
            os.environ[WALLTIME_VARIABLE] = before


def _read_log(directory: Path, run: VaspRun) -> None:
    text = _text(directory, "custodian.json")
    try:
        entries = json.loads(text) if text else []
    except ValueError:
        return
    for entry in entries:
        run.verdicts = {
            key: _class_name(value) for key, value in entry.items() if value and key not in {"job", "corrections", "job_n"}
        }
        run.corrections += [
            {
                "errors": list(map(str, correction["errors"])),
                "actions": correction["actions"],
                "handler": _class_name(correction["handler"]),
            }
            for correction in entry["corrections"]
        ]


def _class_name(value: Any) -> Any:
    return value.get("@class", "") if isinstance(value, dict) else value


def _text(directory: Path, name: str) -> str:
    from monty.io import zopen

    for path in (directory / name, directory / f"{name}.gz"):
        if path.is_file():
            with zopen(path, mode="rt", encoding="utf-8", errors="replace") as file:
                return str(file.read())
    return ""
