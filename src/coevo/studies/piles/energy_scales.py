"""Where energies of a pile come from, and whether they may meet in one hull.

Files say which calculation an energy is of: a run type, a functional, U values, corrections. Energies of two calculations never
meet in one hull; where a file holds several there is none, and the reason names them.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from coevo.studies.piles.rows import Row

_CHECKED = 50
"""Compounds without a correction that pymatgen is asked about, at most: a guess of oxidation states may take a second."""
_ZERO = 1e-6
"""eV/atom."""


_SAME_CALCULATION = {
    "PBE": "GGA",
    "PE": "GGA",
    "GGA_U": "GGA+U",
    "PBE+U": "GGA+U",
    "PBE_U": "GGA+U",
    "PS": "PBESOL",
    "HSE": "HSE06",
    "R2SCAN_U": "R2SCAN+U",
    "SCAN_U": "SCAN+U",
}
"""Names for one calculation: pymatgen and the Materials Project call PBE ``GGA``."""


def calculation_named(text: str) -> str:
    """Return the name of a run type or functional by which two are compared: ``PBE`` and ``GGA Static`` are ``GGA``."""
    words = text.strip().upper().split()
    # "GGA Structure Optimization" is a calc_type or task_type of the Materials Project
    name = words[0] if words else ""
    return _SAME_CALCULATION.get(name, name)[:40]


def why_not_one_scale(rows: Sequence[Row]) -> str | None:
    """Say why the energies of some structures make no common hull; None if nothing speaks against it.

    Parameters
    ----------
    rows : sequence of Row
        With energies, of the pile and of the references that take part.
    """
    named = Counter(row.origin.calculation for row in rows if row.origin.calculation)
    if len(named) > 1:
        several = ", ".join(f"{name} ({count} structures)" for name, count in sorted(named.items()))
        return f"energies of several calculations: {several}; give a file for each, or --force-field chgnet"
    return _half_corrected(rows)


def _half_corrected(rows: Sequence[Row]) -> str | None:
    """Whether of compounds of one anion some have a correction and others lack theirs."""
    corrected = {_anion(row) for row in rows if abs(row.origin.correction or 0.0) > _ZERO}
    if not corrected - {None}:
        return None
    lacking = [row for row in rows if row.origin.correction is not None and abs(row.origin.correction) <= _ZERO]
    lacking = [row for row in lacking if _anion(row) in corrected - {None}]
    found = next((row for row in lacking[:_CHECKED] if _is_due(row)), None)
    if found is None:
        return None
    return (
        f"some energies hold a correction and others not: {found.id} ({found.formula}) has none and MP2020 has one for it; "
        "correct all of them or none"
    )


def _anion(row: Row) -> str | None:
    """The most electronegative element of a compound; None of an element."""
    from pymatgen.core import Element

    elements = [Element(symbol) for symbol in set(row.packed().symbols())]
    return max(elements, key=lambda element: (element.X, element.symbol)).symbol if len(elements) > 1 else None


def _is_due(row: Row) -> bool:
    from coevo.analysis.hull.energy_scale import anion_correction
    from coevo.errors import AnalysisError

    try:
        return abs(anion_correction(row.packed().structure())) > _ZERO
    except AnalysisError:
        return False


def notes_on(rows: Sequence[Row]) -> list[str]:
    """What a reader of the numbers has to know of the energies of a pile: several names, silent ones, and those not taken."""
    notes = []
    with_energy = [row for row in rows if row.energy_per_atom is not None]
    refused = [row for row in rows if row.origin.problem]
    if refused:
        reasons = Counter(row.origin.problem.partition(":")[0] for row in refused)
        first = refused[0]
        counts = ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items()))
        notes.append(f"energies not taken: {counts} (of {first.id}: {first.origin.problem.partition(': ')[2]})")
    keys = Counter(row.origin.key for row in with_energy if row.origin.key)
    if len(keys) > 1:
        several = ", ".join(f"{key} ({count})" for key, count in keys.most_common())
        notes.append(f"energies stand under several names, see that they are of one calculation: {several}")
    silent = sum(not row.origin.calculation for row in with_energy)
    if 0 < silent < len(with_energy):
        notes.append(f"{silent} of {len(with_energy)} energies do not say which calculation they are of, the others do")
    unsaid = sum(row.origin.correction is None for row in with_energy)
    if unsaid and any(abs(row.origin.correction or 0.0) > _ZERO for row in with_energy):
        notes.append(f"{unsaid} of {len(with_energy)} energies do not say whether they hold a correction, and others hold one")
    return notes
