"""One frame's run under custodian, and what is made of its end.

Also here: the checks of a finished ``pw.x`` run as a validator of custodian.
"""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

from custodian import Custodian
from custodian.custodian import CustodianError, ReturnCodeError, ValidationError, Validator

from coevo.errors import LabellingError
from coevo.labelling.contract import LabelResult
from coevo.labelling.espresso.checks import CHECKS, Run
from coevo.labelling.espresso.handlers import PwErrorHandler
from coevo.labelling.espresso.job import PwJob
from coevo.labelling.espresso.modder import PwInput
from coevo.labelling.espresso.parsing import last_words, parse_output, read_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from coevo.configs.tree import EspressoConfig


class PwValidator(Validator):
    """Make every check of :data:`CHECKS`; the first that fails ends the run.

    Parameters
    ----------
    functional : str or None
        ``PBE`` or ``PBEsol``; None accepts any.
    input_file, output_file : str
        Names in the directory of the run.

    Attributes
    ----------
    reason, detail : str
        Of the check that failed; empty while none has.
    """

    def __init__(self, functional: str | None = None, input_file: str = "pw.in", output_file: str = "pw.out"):
        self.functional = functional
        self.input_file = input_file
        self.output_file = output_file
        self.reason = ""
        self.detail = ""

    def check(self, directory: str = "./") -> bool:
        """Whether the run is not to be trusted."""
        folder = Path(directory)
        content = PwInput.from_file(folder / self.input_file)
        run = Run(content, parse_output(read_text(folder / self.output_file)), self.functional)
        self.reason, self.detail = "", ""
        for reason, check in CHECKS.items():
            problem = check(run)
            if problem is not None:
                self.reason, self.detail = reason, problem
                return True
        return False


FAULTS = frozenset({"disk_full", "directory_not_writable", "potential_not_found", "potential_not_read"})
"""Errors of the machine and not of a frame: no further frame would fare better, so they end the job."""

REJECTED = {"overlapping_atoms": "overlap"}
"""Errors that speak of the frame and not of the run, and the reason they are counted under."""

GRACE = 120.0
"""Seconds beyond ``max_seconds`` after which a run hangs."""

STEPS_USED_UP = 3
"""Exit code of a pw.x that moved atoms as often as it was to, and has not converged."""


def run_frame(
    folder: Path, command: Sequence[str], config: EspressoConfig, jobs: set[PwJob], *, moves: bool = False
) -> LabelResult:
    """Run custodian on the input in a directory.

    Parameters
    ----------
    folder : Path
        Holds ``pw.in``.
    command : sequence of str
    config : EspressoConfig
    jobs : set of PwJob
        Holds the job while it runs, so that another thread can cancel it.
    moves : bool
        Whether the input moves atoms; that pw.x has used up its steps is no error then.

    Returns
    -------
    LabelResult
        The numbers of an output that the validator accepts, or why there are none.

    Raises
    ------
    LabellingError
        If the machine fails and not the frame.
    """
    validator = PwValidator(config.functional)
    job = PwJob(list(command), timeout=config.max_seconds + GRACE, accepted=[STEPS_USED_UP] if moves else [])
    custodian = Custodian(
        [PwErrorHandler()],
        [job],
        [validator],
        max_errors=config.max_corrections + 1,
        directory=str(folder),
    )
    jobs.add(job)
    try:
        custodian.run()
    except ValidationError:
        return LabelResult("rejected", validator.reason, detail=validator.detail)
    except ReturnCodeError as err:
        return LabelResult("failed", "return_code", detail=err.message)
    except CustodianError:
        return _failure(folder, custodian)
    finally:
        jobs.discard(job)
    output = parse_output(read_text(folder / "pw.out"))
    return LabelResult("admitted", "", output.energy, output.forces, output.stress, _story(custodian))


def _failure(folder: Path, custodian: Custodian) -> LabelResult:
    error = custodian.run_log[-1]["corrections"][-1]["errors"][0]
    words = last_words(read_text(folder / "pw.out"), read_text(folder / "std_err.txt"))
    if error in FAULTS:
        raise LabellingError(f"pw.x cannot work on this machine ({error}): {words}")
    told = "; ".join(part for part in (words, _story(custodian)) if part)
    if error in REJECTED:
        return LabelResult("rejected", REJECTED[error], detail=told)
    return LabelResult("failed", error, detail=told)


def _story(custodian: Custodian) -> str:
    """What was corrected on the way, in words."""
    steps = []
    for correction in custodian.run_log[-1]["corrections"]:
        for action in correction["actions"] or []:
            values = ", ".join(f"{key.partition('->')[2]} = {value}" for key, value in action["action"]["_set"].items())
            steps.append(f"{correction['errors'][0]} ({values})")
    return "corrected: " + "; ".join(steps) if steps else ""


def keep_run(folder: Path, archive: Path) -> Path:
    """Keep a run without its charge density and wavefunctions."""
    shutil.rmtree(folder / "out", ignore_errors=True)
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(folder, arcname=archive.name.removesuffix(".tar.gz"))
    return archive
