"""A relaxation of atoms and cell by ``pw.x``, in rounds, each of which ends with a single point of the label's own settings.

A run with a cell that moves keeps the plane waves of its first cell, so what it calls converged may be under stress with those of
its last one: at 30 Ry Li2S that began 27 % too large ends at -0.4 kbar by the one set and -306 by the other. So its own energies
and its own word are not taken. Its last geometry gets a single point, and where forces or stress of that are too large, the next
round begins there with new plane waves, as long as there are steps left.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from coevo.labelling.contract import LabelResult, RelaxedFrame

if TYPE_CHECKING:
    from collections.abc import Callable

    from pymatgen.core import Structure


@dataclass(frozen=True)
class Moved:
    """What came of one run of ``pw.x``.

    Attributes
    ----------
    structure : Structure or None
        Its geometry of lowest energy, which is the last one where it converged; None where there is none.
    steps : int
        That it took.
    first_energy : float or None
        Of the geometry that it began with, eV/atom: that of a single point there.
    reason : str
        Why it failed; empty if it did not.
    """

    structure: Structure | None
    steps: int = 0
    first_energy: float | None = None
    reason: str = ""


def geometries(text: str) -> list[tuple[Structure, float]]:
    """Return the geometries of an output that have an energy, in order, each with it (eV/atom).

    The single point that pw.x adds to a relaxation that converged is one of them: its geometry is that before it. What cannot be
    read is left out, and nothing is raised.
    """
    from pymatgen.core import Structure

    from coevo.labelling.espresso.parsing import all_atoms

    return [
        (Structure(atoms.cell[:], atoms.get_chemical_symbols(), atoms.get_scaled_positions(wrap=False)), energy / len(atoms))
        for atoms in all_atoms(text)
        if (energy := (atoms.calc.results.get("energy") if atoms.calc is not None else None)) is not None and np.isfinite(energy)
    ]


def moved_to(text: str) -> Moved:
    """Read the output of a relaxation that ended."""
    found = geometries(text)
    if not found:
        return Moved(None, reason="results_missing")
    first = found[0][1]
    if "bfgs converged" in text:
        # what pw.x adds at the end has other plane waves, and so no energy that compares
        return Moved(found[-1][0], max(len(found) - 1 - ("Final scf calculation" in text), 0), first)
    lowest = min(range(len(found)), key=lambda k: found[k][1])
    return Moved(found[lowest][0], len(found) - 1, first)


def largest_force(label: LabelResult, structure: Structure) -> float:
    """Largest force on an atom or generalised force on the cell, as relaxations by force fields have it, eV/Å.

    The generalised force is a row of V σ / n; of a relaxed crystal all rows are small.
    """
    assert label.forces is not None
    assert label.stress is not None
    rows = np.concatenate([label.forces, structure.volume / len(structure) * label.stress])
    return float(np.linalg.norm(rows, axis=1).max())


def relax_in_rounds(
    frame: Structure,
    steps: int,
    fmax: float,
    move: Callable[[Structure, int], Moved],
    label: Callable[[Structure], LabelResult],
) -> RelaxedFrame:
    """Relax a frame.

    Parameters
    ----------
    frame : Structure
    steps : int
        In all rounds together, at most.
    fmax : float
        eV/Å.
    move : callable
        ``move(structure, steps)`` runs one round.
    label : callable
        ``label(structure)`` makes a single point.

    Returns
    -------
    RelaxedFrame
        A round that raises the energy, or whose geometry gets no label, ends the relaxation where it was before. Where none has
        an end that is relaxed, the frame itself counts if it is lower.
    """
    best = RelaxedFrame(frame, LabelResult("failed", "not_moved"))
    start, taken, reason, first = frame, 0, "", None
    while taken < steps:
        moved = move(start, steps - taken)
        taken += max(moved.steps, 1)  # a round without a step costs as much as one
        first = moved.first_energy if first is None else first
        if moved.structure is None:
            reason = moved.reason
            break
        point = label(moved.structure)
        if point.energy is None or point.status != "admitted":
            reason = point.reason
            break
        if best.label.energy is not None and point.energy > best.label.energy:
            reason = "energy_rises"
            break
        best = RelaxedFrame(moved.structure, point, min(taken, steps), largest_force(point, moved.structure) <= fmax)
        if best.converged or moved.steps == 0:
            break
        start = moved.structure
    if best.label.energy is None or (not best.converged and first is not None and first < best.label.energy):
        point = label(frame)
        relaxed = point.status == "admitted" and largest_force(point, frame) <= fmax
        best = RelaxedFrame(frame, point, 0, relaxed)
    return replace(best, reason="" if best.converged else reason)
