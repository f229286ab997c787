"""Energies of a batch: by a force field for pile and references alike, and their distance to the convex hull."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from coevo.errors import AnalysisError
from coevo.families import DEFAULT_FORCE_FIELD
from coevo.output.progress import task
from coevo.studies.piles.energy_scales import why_not_one_scale
from coevo.studies.piles.rows import EnergyOrigin, PackedCrystal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from coevo.analysis.hull.hull import Hull
    from coevo.studies.analyse.batch import Batch
    from coevo.studies.piles.rows import Row

MAX_ELEMENTS = 6
"""The hull of more elements has too many facets."""

_AT_A_TIME = 512
"""Structures in memory together; a multiple of the batch sizes, on which the numbers depend."""


@dataclass(frozen=True)
class ForceFieldWork:
    """What a force field is to do.

    Attributes
    ----------
    family : str
    relax : bool
    fmax : float
        eV/Å.
    max_steps : int
    device : str
    """

    family: str
    relax: bool
    fmax: float
    max_steps: int
    device: str


@dataclass(frozen=True)
class HullReport:
    """The hull that E_hull refers to, or why there is none.

    Attributes
    ----------
    scale : str or None
        What the energies are.
    phases : int
        Points that the hull was made of.
    of_references : int
        Those of them that are references.
    reason : str or None
        Why there is no hull.
    """

    scale: str | None
    phases: int = 0
    of_references: int = 0
    reason: str | None = None


def evaluate(batch: Batch, work: ForceFieldWork, workers: int) -> None:
    """Compute the energies of pile and references with published weights, after relaxation if wanted.

    Energies of files are put aside: all are on the scale of the force field then. A structure that fails is rejected with the
    reason, a reference that fails is left out with a note.
    """
    from coevo.models.contracts import RelaxationSettings
    from coevo.models.registry import force_field_from

    force_field = force_field_from(work.family, device=work.device)
    settings = RelaxationSettings(fmax=work.fmax, max_steps=work.max_steps) if work.relax else None
    rows = [*batch.valid(), *batch.references]
    if any(row.energy_per_atom is not None for row in rows):
        batch.notes.append(f"energies of the files were put aside for those of {work.family}")
    what = f"{'relaxing' if work.relax else 'evaluating'} with {work.family}"
    with task(what, len(rows), "structures") as advance:
        for start in range(0, len(rows), _AT_A_TIME):
            part = rows[start : start + _AT_A_TIME]
            structures = [row.packed().structure() for row in part]
            if settings is None:
                results: Any = force_field.evaluate(structures, workers=workers, progress=advance)
            else:
                results = force_field.relax(structures, settings, workers=workers, progress=advance)
            for row, result in zip(part, results, strict=True):
                _take(row, result, relaxed=work.relax)
    failed = [row for row in batch.references if row.reason is not None]
    batch.notes += [f"reference {row.id} is left out: {row.detail}" for row in failed]
    batch.references = [row for row in batch.references if row.reason is None]
    batch.scale = f"{force_field.energy_scale}, {work.family} {'relaxed' if work.relax else 'single points'}"
    batch.one_scale = True
    for rank, row in enumerate(sorted(batch.valid(), key=lambda row: (row.energy_per_atom, row.content or "", row.id))):
        row.rank = rank


def _take(row: Row, result: Any, *, relaxed: bool) -> None:
    from coevo.models.contracts import Failure

    row.energy_per_atom, row.origin = None, EnergyOrigin()
    if isinstance(result, Failure):
        row.reject("force_field", f"{result.reason}: {result.detail}")
    elif relaxed:
        row.crystal, row.energy_per_atom = PackedCrystal.pack(result.structure), result.prediction.energy
    else:
        row.energy_per_atom = result.energy


def check_references(batch: Batch) -> None:
    """Refuse references whose energies cannot make a hull, before the long work.

    Raises
    ------
    AnalysisError
        If an element has no phase of its own, which the message names.
    """
    usable = [row for row in batch.references if row.energy_per_atom is not None] if batch.one_scale else []
    if not usable or batch.scale is None:
        return
    pile = [row for row in batch.valid() if row.energy_per_atom is not None]
    missing = _without_terminal(batch.elements, [*usable, *pile])
    if missing:
        raise AnalysisError(
            f"--references {batch.reference_set}: no phase of {', '.join(missing)} alone, without which there is no hull; "
            "add the elemental crystal with its energy"
        )


_OF_NO_STATE = {"kind": "entry"}


def above_hull(batch: Batch) -> HullReport:
    """Set the energies above hull of all rows that have an energy.

    Energies of references take part only where they are on the scale of the pile's.
    """
    from coevo.analysis.hull.hull import Hull
    from coevo.makers.populations.hull_members import is_counted

    pile = [row for row in batch.valid() if row.energy_per_atom is not None]
    known = [row for row in batch.references if row.energy_per_atom is not None] if batch.one_scale else []
    # of a state whose hull is made of labelled phases, these make it here too
    counted = np.array([is_counted(batch.stored.get(row.id, _OF_NO_STATE)) for row in (*known, *pile)], dtype=bool)
    report = HullReport(_scale_of(batch, pile), int(counted.sum()), len(known), _no_hull(batch, pile, known))
    if report.reason is not None:
        return report
    x = composition_fractions([*known, *pile], batch.elements)
    energies = np.array([row.energy_per_atom for row in (*known, *pile)], dtype=float)
    hull = Hull.from_points(batch.elements, x[counted], energies[counted])
    above = _above(hull, x, energies)
    to_known: Sequence[float | None] = [None] * len(energies)
    if known and not _without_terminal(batch.elements, known):
        to_known = _above(Hull.from_points(batch.elements, x[: len(known)], energies[: len(known)]), x, energies)
    for row, e_hull, e_reference_hull in zip((*known, *pile), above, to_known, strict=True):
        row.energy_above_hull, row.energy_above_reference_hull = e_hull, e_reference_hull
    return report


def _scale_of(batch: Batch, pile: Sequence[Row]) -> str | None:
    """What the energies are, with the calculation where the file names one."""
    named = sorted({row.origin.calculation for row in pile if row.origin.calculation})
    return batch.scale if batch.scale is None or not named else f"{batch.scale}, {', '.join(named)}"


def _above(hull: Hull, x: np.ndarray, energies: np.ndarray) -> list[float]:
    return [float(value) for value in hull.energy_above_hull(x, energies)]


def _no_hull(batch: Batch, pile: Sequence[Row], known: Sequence[Row]) -> str | None:
    """Why there is no hull; None if there is one."""
    if not pile:
        return f"the structures have no energies: give a file with energies, or --force-field {DEFAULT_FORCE_FIELD.name}"
    if len(batch.elements) > MAX_ELEMENTS:
        return f"{len(batch.elements)} elements, allowed {MAX_ELEMENTS}: choose a chemical system with --elements"
    apart = why_not_one_scale([*known, *pile])
    if apart is not None:
        return apart
    missing = _without_terminal(batch.elements, [*known, *pile])
    if not missing:
        return None
    reason = f"no phase of {', '.join(missing)} alone"
    if batch.references and not batch.one_scale:
        return (
            reason + ", and energies of the references are not known to be on the pile's scale (--same-scale, or "
            f"--force-field {DEFAULT_FORCE_FIELD.name})"
        )
    return (
        reason + ": give --references with energies on the same scale (--same-scale), or "
        f"--force-field {DEFAULT_FORCE_FIELD.name} with --references"
    )


def _without_terminal(elements: Sequence[str], rows: Sequence[Row]) -> list[str]:
    """Elements without a structure of their own."""
    pure = {row.packed().symbols()[0] for row in rows if len(set(row.packed().numbers.tolist())) == 1}
    return [element for element in elements if element not in pure]


def composition_fractions(rows: Sequence[Row], elements: Sequence[str]) -> np.ndarray:
    """Atomic fractions, shape (n, k)."""
    from pymatgen.core import Element

    column = {Element(symbol).Z: index for index, symbol in enumerate(elements)}
    counts = np.zeros((len(rows), len(elements)))
    for index, row in enumerate(rows):
        numbers, amounts = np.unique(row.packed().numbers, return_counts=True)
        for number, amount in zip(numbers.tolist(), amounts.tolist(), strict=True):
            counts[index, column[number]] = amount
    return counts / counts.sum(axis=1, keepdims=True)
