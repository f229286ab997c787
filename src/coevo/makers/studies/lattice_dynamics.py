"""Phonons of many crystals by a force field: relaxed tightly, displaced supercells evaluated in batches, modes followed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from coevo.errors import AnalysisError
from coevo.output.progress import task

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pymatgen.core import Structure

    from coevo.analysis.phonons.dynamics import Dynamics
    from coevo.analysis.phonons.supercells import DisplacedCells
    from coevo.configs.studies.phonons import PhononSettings
    from coevo.models.contracts import Failure, ForceField, Relaxation

    Document = dict[str, Any]

HARMONIC, FOLLOWED, UNSTABLE, OUTSIDE, FAILED = STATUSES = ("harmonic", "followed", "unstable", "outside_volumes", "failed")
"""What became of a phase. Only the first two have a free energy."""
GAIN = 2e-5
"""eV/atom; a relaxation that is lower by less came back to where it started: forces of 0.005 eV/Å are worth as much."""
ATOMS_AT_ONCE = 30_000
"""Atoms of the supercells that are held at a time."""


def relax_tightly(
    force_field: ForceField, structures: Sequence[Structure], settings: PhononSettings, workers: int, **how: Any
) -> list[Relaxation | Failure]:
    """Relax to the forces that phonons need; ``how`` is of :class:`~coevo.models.contracts.RelaxationSettings`."""
    from coevo.models.contracts import RelaxationSettings

    wanted = RelaxationSettings(fmax=settings.fmax, max_steps=settings.max_steps, **how)
    with task("relaxing", len(structures), "structures") as advance:
        return force_field.relax(structures, wanted, workers=workers, progress=advance)


def dynamics_of(
    force_field: ForceField, structures: Sequence[Structure], settings: PhononSettings, workers: int
) -> list[Dynamics | str]:
    """Return the lattice dynamics of relaxed crystals, or why there is none.

    Displaced supercells of all crystals are evaluated together, in the order of the crystals.

    Parameters
    ----------
    force_field : ForceField
    structures : sequence of Structure
    settings : PhononSettings
    workers : int
    """
    from coevo.analysis.phonons.supercells import displaced_cells

    found: list[Dynamics | str] = ["" for _ in structures]
    waiting: list[tuple[int, DisplacedCells]] = []
    for place, structure in enumerate(structures):
        try:
            cells = displaced_cells(structure, length=settings.length, displacement=settings.displacement)
        except AnalysisError as error:
            found[place] = str(error)
            continue
        waiting.append((place, cells))
        if sum(len(one.structures) * len(one.structures[0]) for _, one in waiting) >= ATOMS_AT_ONCE:
            _evaluate(force_field, waiting, found, workers)
            waiting = []
    _evaluate(force_field, waiting, found, workers)
    return found


def _evaluate(
    force_field: ForceField, waiting: Sequence[tuple[int, DisplacedCells]], found: list[Dynamics | str], workers: int
) -> None:
    from coevo.analysis.phonons.dynamics import dynamics
    from coevo.models.contracts import Failure

    cells = [one for _, each in waiting for one in each.structures]
    if not cells:
        return
    with task("displaced supercells", len(cells), "cells") as advance:
        predictions = iter(force_field.evaluate(cells, workers=workers, progress=advance))
    for place, each in waiting:
        mine = [next(predictions) for _ in each.structures]
        failed = [one for one in mine if isinstance(one, Failure)]
        if failed:
            found[place] = f"{failed[0].reason}: {failed[0].detail}"
        else:
            found[place] = dynamics(each, [one.forces for one in mine if not isinstance(one, Failure)])


@dataclass
class Followed:
    """A crystal on its way to one without unstable modes.

    Attributes
    ----------
    structure : Structure
        Relaxed.
    energy : float
        eV/atom.
    status : str
        Empty until it is known.
    reason : str
    path : list of dict
        Of each crystal that was looked at: ``energy`` (eV/atom), ``lowest`` (THz), ``space_group``, ``atoms`` of the primitive
        cell, ``unstable_share``, and ``amplitude`` (Å) of the mode that led to it; None for the first.
    dynamics : Dynamics or None
        Of the last one.
    """

    structure: Structure
    energy: float
    status: str = ""
    reason: str = ""
    path: list[Document] = field(default_factory=list)
    dynamics: Dynamics | None = None


def follow(force_field: ForceField, starts: Sequence[Followed], settings: PhononSettings, workers: int) -> None:
    """Find the phonons of relaxed crystals; follow unstable modes down to a crystal that has none, or say that it is unstable.

    Of an unstable crystal the softest mode is followed: it is displaced along it by several amplitudes, in the smallest cell that
    the mode fits, and relaxed without symmetry; the lowest of these, if it is lower, is looked at in its place.

    Parameters
    ----------
    force_field : ForceField
    starts : sequence of Followed
        Changed in place: each gets a status.
    settings : PhononSettings
    workers : int
    """
    pending, amplitudes = list(starts), [None] * len(starts)
    for left in range(settings.follow, -1, -1):
        found = dynamics_of(force_field, [one.structure for one in pending], settings, workers)
        unstable = []
        for one, result, amplitude in zip(pending, found, amplitudes, strict=True):
            if isinstance(result, str):
                one.status, one.reason = FAILED, result
                continue
            one.dynamics = result
            one.path.append(_looked_at(one, result, amplitude))
            if result.is_stable:
                one.status = HARMONIC if len(one.path) == 1 else FOLLOWED
            elif left == 0:
                one.status, one.reason = UNSTABLE, _why_unstable(one, settings)
            else:
                unstable.append(one)
        pending, amplitudes = _displace_and_relax(force_field, unstable, settings, workers)
        if not pending:
            return


def _why_unstable(one: Followed, settings: PhononSettings) -> str:
    lowest = f"a mode at {one.path[-1]['lowest']:.2f} THz"
    return lowest if settings.follow == 0 else f"{lowest} after {settings.follow} modes were followed"


def _looked_at(one: Followed, result: Dynamics, amplitude: float | None) -> Document:
    from coevo.analysis.phonons.supercells import symmetrised

    return {
        "energy": one.energy,
        "lowest": result.lowest,
        "space_group": symmetrised(one.structure).number,
        "atoms": result.atoms,
        "unstable_share": result.unstable_share,
        "amplitude": amplitude,
    }


def _displace_and_relax(
    force_field: ForceField, unstable: Sequence[Followed], settings: PhononSettings, workers: int
) -> tuple[list[Followed], list[Any]]:
    """Follow the softest mode of each; return those that came to a lower crystal, and by which amplitudes."""
    from coevo.analysis.phonons.dynamics import along_softest
    from coevo.models.contracts import Relaxation

    trials: list[tuple[Followed, float, Structure]] = []
    for one in unstable:
        assert one.dynamics is not None
        for amplitude, structure in zip(settings.amplitudes, along_softest(one.dynamics, settings.amplitudes), strict=True):
            if len(structure) > settings.max_atoms:
                one.status = UNSTABLE
                one.reason = f"its softest mode needs a cell of {len(structure)} atoms, more than {settings.max_atoms}"
                break
            trials.append((one, amplitude, structure))
    relaxed = relax_tightly(force_field, [structure for _, _, structure in trials], settings, workers) if trials else []
    lower, amplitudes = [], []
    for one in unstable:
        if one.status:
            continue
        mine = [
            (result.prediction.energy, amplitude, result.structure)
            for (owner, amplitude, _), result in zip(trials, relaxed, strict=True)
            if owner is one and isinstance(result, Relaxation)
        ]
        best = min(mine, key=lambda found: found[0], default=None)
        if best is None:
            one.status, one.reason = UNSTABLE, "no relaxation along its softest mode converged"
        elif best[0] > one.energy - GAIN:
            one.status, one.reason = UNSTABLE, "relaxations along its softest mode found nothing lower"
        else:
            one.energy, one.structure = best[0], best[2]
            lower.append(one)
            amplitudes.append(best[1])
    return lower, amplitudes
