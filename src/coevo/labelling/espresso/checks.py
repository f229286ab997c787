"""What must hold of a finished ``pw.x`` run: a table of checks, each with the reason that a rejected label is counted under.

pw.x can end with exit code 0 and JOB DONE and still have computed nonsense: atoms on top of each other, an SCF cycle that it
was told to end early and then calls converged, a potential from another directory. So the numbers themselves are asked.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from coevo.labelling.espresso.modder import PwInput
    from coevo.labelling.espresso.parsing import PwOutput

FUNCTIONAL_NAMES: dict[str, frozenset[str]] = {
    "PBE": frozenset({"PBE", "SLA PW PBX PBC", "SLA PW PBE PBE"}),
    "PBEsol": frozenset({"PBESOL", "SLA PW PSX PSC"}),
}
"""Our name of a functional to the names that pw.x and potential files have for it."""

ACCURACY_SLACK = 1.1
"""The accuracy is printed with two digits; it may look larger than a threshold that it has met."""


@dataclass(frozen=True)
class StatedThreshold:
    """In place of an input that is not there: the threshold of the SCF cycle that an output states, Ry."""

    threshold: float

    def get(self, key: str) -> Any:
        """Return the threshold as ``ELECTRONS->conv_thr``; None for every other key."""
        return self.threshold if key == "ELECTRONS->conv_thr" else None


@dataclass(frozen=True)
class Run:
    """What the checks look at."""

    content: PwInput | StatedThreshold
    output: PwOutput
    functional: str | None


def not_done(run: Run) -> str | None:
    """The output must end with JOB DONE."""
    return None if run.output.done else "the output does not end with JOB DONE"


def not_converged(run: Run) -> str | None:
    """The SCF cycle must be converged by its own numbers; the words are printed also by a run told to do without."""
    threshold = float(run.content.get("ELECTRONS->conv_thr") or 1e-6)
    accuracy = run.output.scf_accuracy
    if not run.output.declared_converged or accuracy is None:
        return "the output does not say that the SCF cycle converged"
    if not accuracy <= threshold * ACCURACY_SLACK:
        return f"the SCF cycle ended at an accuracy of {accuracy:.2g} Ry, allowed: conv_thr, {threshold:.2g} Ry"
    return None


def not_finite(run: Run) -> str | None:
    """No number of the result may be NaN, infinite or ``****``."""
    values = (run.output.energy, run.output.forces, run.output.stress)
    if run.output.overflow or not all(np.isfinite(value).all() for value in values if value is not None):
        return "energy, forces or stress hold **** or NaN"
    return None


def results_missing(run: Run) -> str | None:
    """Energy, forces and stress must be there."""
    values = {"energy": run.output.energy, "forces": run.output.forces, "stress": run.output.stress}
    missing = [name for name, value in values.items() if value is None]
    return f"no {', '.join(missing)} in the output" if missing else None


def atoms_differ(run: Run) -> str | None:
    """The output must be about the atoms of the input, with one force each."""
    expected = int(run.content.get("SYSTEM->nat") or 0)
    forces = run.output.forces
    if run.output.n_atoms != expected or (forces is not None and forces.shape != (expected, 3)):
        shape = None if forces is None else forces.shape
        return f"{run.output.n_atoms} atoms and forces {shape} in the output, allowed: {expected} and ({expected}, 3)"
    return None


def wrong_potential(run: Run) -> str | None:
    """The potentials that were read must be the files that the input names; pw.x looks elsewhere where one is missing."""
    if isinstance(run.content, StatedThreshold):
        return None  # no input says which should have been read
    from coevo.labelling.espresso.job import potentials_of

    directory = Path(str(run.content.get("CONTROL->pseudo_dir")))
    for name, label in potentials_of(run.content).items():
        expected = directory / name
        path, md5 = run.output.potentials.get(label, (None, None))
        if path is None:
            return f"the output does not say which potential was read for {label}"
        if md5 is not None and md5 != hashlib.md5(expected.read_bytes(), usedforsecurity=False).hexdigest():
            return f"the potential read for {label} has the MD5 sum {md5}, which is not that of {name}"
        if md5 is None and Path(path) != expected:
            return f"the potential of {label} was read from {path}, allowed: {expected}"
    return None


def wrong_functional(run: Run) -> str | None:
    """The functional, which pw.x takes from the potentials, must be the one that the label will name."""
    if run.functional is None:
        return None
    allowed = FUNCTIONAL_NAMES[run.functional]
    if not run.output.functionals or not set(run.output.functionals) <= allowed:
        return f"the functional was {' and '.join(run.output.functionals) or 'not printed'}, allowed: {run.functional}"
    return None


CHECKS: dict[str, Callable[[Run], str | None]] = {
    "not_done": not_done,
    "scf_not_converged": not_converged,
    "results_missing": results_missing,
    "not_finite": not_finite,
    "atoms_differ": atoms_differ,
    "wrong_potential": wrong_potential,
    "wrong_functional": wrong_functional,
}
"""Reason of a rejected label to its check, in the order in which they are made."""
