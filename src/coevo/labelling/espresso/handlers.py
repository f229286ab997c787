"""The error handler of ``pw.x`` runs: finds an error in the table of messages and tries the error's corrections in turn."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

from custodian.custodian import ErrorHandler
from custodian.utils import backup

from coevo.labelling.espresso.corrections import CORRECTIONS, DEFAULTS, Correction, MoreBands, Scaled
from coevo.labelling.espresso.messages import STATUS_FILE, diagnose, read_text
from coevo.labelling.espresso.modder import PwInput, PwModder


class PwErrorHandler(ErrorHandler):
    """Correct the errors of ``pw.x``.

    Of several errors in one output the most important one is corrected. Each error has its own count: the first time it is met
    its first correction is applied, the second time its second, and when none is left the run is given up (``actions`` None).

    Parameters
    ----------
    input_file, output_file, stderr_file : str
        Names in the directory of the run.
    """

    is_monitor = False

    def __init__(self, input_file: str = "pw.in", output_file: str = "pw.out", stderr_file: str = "std_err.txt"):
        self.input_file = input_file
        self.output_file = output_file
        self.stderr_file = stderr_file
        self.errors: list[str] = []
        self.tried: Counter[str] = Counter()

    def check(self, directory: str = "./") -> bool:
        """Whether something went wrong."""
        self.errors = diagnose(directory, self.output_file, self.stderr_file)
        return bool(self.errors)

    def correct(self, directory: str = "./") -> dict[str, Any]:
        """Keep the failed attempt as ``error.N.tar.gz`` and change the input.

        Returns
        -------
        dict
            ``errors`` (most important first) and ``actions``, None if nothing is left to try.
        """
        backup([self.input_file, self.output_file, self.stderr_file, STATUS_FILE, "CRASH"], directory=directory)
        (Path(directory) / "CRASH").unlink(missing_ok=True)
        actions = self._next_actions(self.errors[0], directory)
        if actions is not None:
            PwModder(self.input_file, directory=directory).apply_actions(actions)
        return {"errors": list(self.errors), "actions": actions}

    def _next_actions(self, error: str, directory: str) -> list[dict[str, Any]] | None:
        content = PwInput.from_file(Path(directory) / self.input_file)
        output = read_text(Path(directory) / self.output_file)
        corrections = CORRECTIONS.get(error, ())
        while self.tried[error] < len(corrections):
            correction = corrections[self.tried[error]]
            self.tried[error] += 1
            if correction.unless and all(_current(content, key) == value for key, value in correction.unless.items()):
                continue
            return [{"dict": self.input_file, "action": {"_set": resolve(correction, content, output)}}]
        return None


def _current(content: PwInput, key: str) -> Any:
    value = content.get(key)
    return DEFAULTS.get(key) if value is None else value


def resolve(correction: Correction, content: PwInput, output: str) -> dict[str, Any]:
    """Return the values that a correction sets, given the input and the output that it corrects."""
    values: dict[str, Any] = {}
    for key, change in correction.changes.items():
        if isinstance(change, Scaled):
            current = content.get(key)
            scaled = (change.default if current is None else current) * change.factor
            values[key] = int(scaled) if isinstance(change.factor, int) else round(scaled, 6)
        elif isinstance(change, MoreBands):
            bands = _number_of_bands(content, output)
            values[key] = bands + max(int(change.fraction * bands), change.at_least)
        else:
            values[key] = change
    return values


def _number_of_bands(content: PwInput, output: str) -> int:
    printed = re.search(r"number of Kohn-Sham states\s*=\s*(\d+)", output)
    return int(printed.group(1)) if printed else int(content.get("SYSTEM->nbnd") or 0)
