"""The error handler of ``pw.x`` runs: finds an error in the table of messages and tries the error's corrections in turn.

Also here: what is tried against each error of ``pw.x``, as data: a list per error, tried in order; after the last a run is given
up.

No correction changes what is computed: cutoffs, k-points and potentials are left alone, bands are only added, and smearing is
added only where an input has none. Mixing, diagonalisation and restarts change the way to the ground state and not the ground
state. The sequences follow the practice of the error handlers of aiida-quantumespresso.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from custodian.custodian import ErrorHandler
from custodian.utils import backup

from coevo.labelling.espresso.modder import PwInput, PwModder
from coevo.labelling.espresso.parsing import STATUS_FILE, diagnose, read_text


@dataclass(frozen=True)
class Scaled:
    """The value in the input, times a factor; ``default`` is what pw.x takes where the input has none."""

    factor: float
    default: float


@dataclass(frozen=True)
class MoreBands:
    """The number of bands, raised by a fraction and at least by a number."""

    fraction: float = 0.05
    at_least: int = 4


@dataclass(frozen=True)
class Correction:
    """One correction.

    Attributes
    ----------
    changes : dict
        Input key (``ELECTRONS->mixing_beta``) to its new value, :class:`Scaled` or :class:`MoreBands`.
    unless : dict
        The correction is left out where the input has all these values already.
    """

    changes: dict[str, Any]
    unless: dict[str, Any] = field(default_factory=dict)


def diagonalise_by(method: str) -> Correction:
    """Another iterative diagonalisation, unless it is the one in use."""
    return Correction({"ELECTRONS->diagonalization": method}, unless={"ELECTRONS->diagonalization": method})


AGAIN = Correction({"CONTROL->restart_mode": "from_scratch"})
RESTART = Correction({"CONTROL->restart_mode": "restart"})
SMEARING = Correction(
    {"SYSTEM->occupations": "smearing", "SYSTEM->smearing": "mv", "SYSTEM->degauss": 0.01},
    unless={"SYSTEM->occupations": "smearing"},
)
DIAGONALISATIONS = (diagonalise_by("david"), diagonalise_by("paro"), diagonalise_by("cg"))
LESS_MEMORY = (
    Correction({"ELECTRONS->diago_david_ndim": 2}, unless={"ELECTRONS->diago_david_ndim": 2}),
    diagonalise_by("cg"),
)

CORRECTIONS: dict[str, tuple[Correction, ...]] = {
    "scf_not_converged": (
        Correction({"ELECTRONS->mixing_beta": Scaled(0.8, default=0.7), "CONTROL->restart_mode": "from_scratch"}),
        Correction({"ELECTRONS->mixing_mode": "local-TF"}, unless={"ELECTRONS->mixing_mode": "local-TF"}),
        Correction({"ELECTRONS->electron_maxstep": Scaled(2, default=100)}),
        SMEARING,
    ),
    "smearing_needed": (SMEARING,),
    "too_few_bands": (Correction({"SYSTEM->nbnd": MoreBands()}),) * 3,
    "diagonalisation_failed": DIAGONALISATIONS,
    "s_matrix_not_positive": DIAGONALISATIONS,
    "cholesky_failed": DIAGONALISATIONS,
    "walltime": (RESTART,) * 3,
    "restart_not_read": (AGAIN,),
    "out_of_memory": LESS_MEMORY,
    "killed": LESS_MEMORY,
    "timed_out": (AGAIN,),
    "crashed": (AGAIN, diagonalise_by("david"), diagonalise_by("cg")),
    "output_cut_off": (AGAIN, diagonalise_by("david"), diagonalise_by("cg")),
}
"""Error to its corrections. An error that is not here (overlapping atoms, an unreadable input, …) is given up at once."""

DEFAULTS: dict[str, Any] = {
    "CONTROL->restart_mode": "from_scratch",
    "ELECTRONS->diagonalization": "david",
    "ELECTRONS->mixing_mode": "plain",
    "SYSTEM->occupations": "fixed",
}
"""What pw.x takes where the input names no value."""


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
