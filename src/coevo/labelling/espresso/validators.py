"""The checks of a finished ``pw.x`` run as a validator of custodian."""

from __future__ import annotations

from pathlib import Path

from custodian.custodian import Validator

from coevo.labelling.espresso.checks import CHECKS, Run
from coevo.labelling.espresso.messages import read_text
from coevo.labelling.espresso.modder import PwInput
from coevo.labelling.espresso.parsing import parse_output


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
