"""Structures on their way to a runner and back: JSON lines, checked on return as the work of a stranger."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from coevo.models.contracts import Candidate

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from coevo.models.contracts import Conditions, Example

_LONGEST = 500.0
"""Largest component of a cell vector, Å."""

_SMALLEST_VOLUME = 0.5
"""Smallest volume of a cell over its atoms, Å³; what is denser is no cell. Screening has limits of its own."""

_ORIGIN_LIMIT = 4000
"""Characters of a candidate's origin as JSON."""


class RejectedCandidateError(Exception):
    """A candidate that is not returned; ``reason`` is a short fixed word that is counted. Never leaves the generator."""

    def __init__(self, reason: str):
        super().__init__(reason)
        self.reason = reason


def write_examples(path: Path, examples: Sequence[Example]) -> None:
    """Write examples as JSON lines, sorted by id: ``id``, ``lattice``, ``species``, ``positions``, ``energy_above_hull``."""
    with path.open("w", encoding="utf-8") as file:
        for example in sorted(examples, key=lambda example: example.id):
            structure = example.structure
            record = {
                "id": example.id,
                "energy_above_hull": float(example.energy_above_hull),
                "lattice": structure.lattice.matrix.tolist(),
                "species": [site.specie.symbol for site in structure],
                "positions": structure.frac_coords.tolist(),
            }
            file.write(json.dumps(record, allow_nan=False) + "\n")


def systems_wanted(conditions: Conditions) -> set[frozenset[str]]:
    """Chemical systems that a candidate may have: those asked for, else those of the compositions, else the whole."""
    from pymatgen.core import Composition

    asked = {frozenset(name.split("-")) for name, weight in conditions.chemical_systems.items() if weight > 0}
    if not asked and conditions.compositions:
        asked = {frozenset(e.symbol for e in Composition(formula)) for formula in conditions.compositions}
    return {system for system in asked or {frozenset(conditions.elements)} if system <= set(conditions.elements)}


class CandidateReader:
    """Reads candidates under given conditions.

    Parameters
    ----------
    conditions : Conditions
    """

    def __init__(self, conditions: Conditions):
        from pymatgen.core import Composition

        self._conditions = conditions
        self._systems = systems_wanted(conditions)
        self._formulas = {Composition(formula).reduced_formula for formula in conditions.compositions}
        self.line_limit = 8192 + 2 * _ORIGIN_LIMIT + 256 * conditions.max_atoms
        """Bytes of one line, at most."""

    def read(self, line: bytes) -> Candidate:
        """Check one line.

        Raises
        ------
        RejectedCandidateError
            With ``malformed``, ``not_finite``, ``too_many_atoms``, ``off_system``, ``off_composition`` or ``flat_cell``.
        """
        from pymatgen.core import Lattice, Structure

        record = _parsed(line)
        species, origin = record.get("species"), record.get("origin")
        if not isinstance(species, list) or not species or not all(isinstance(s, str) for s in species):
            raise RejectedCandidateError("malformed")
        if len(species) > self._conditions.max_atoms:
            raise RejectedCandidateError("too_many_atoms")
        if frozenset(species) not in self._systems:
            raise RejectedCandidateError("off_system")
        matrix, positions = _numbers(record.get("lattice"), 3), _numbers(record.get("positions"), len(species))
        if np.abs(matrix).max() > _LONGEST or abs(np.linalg.det(matrix)) < _SMALLEST_VOLUME * len(species):
            raise RejectedCandidateError("flat_cell")
        structure = Structure(Lattice(matrix), species, positions % 1.0)
        if self._formulas and structure.composition.reduced_formula not in self._formulas:
            raise RejectedCandidateError("off_composition")
        return Candidate(structure, _checked_origin(origin))


def _parsed(line: bytes) -> dict[str, Any]:
    try:
        record = json.loads(line, parse_constant=_refuse_constant)
    except _NotFiniteError:
        raise RejectedCandidateError("not_finite") from None
    except (ValueError, RecursionError):
        raise RejectedCandidateError("malformed") from None
    if not isinstance(record, dict):
        raise RejectedCandidateError("malformed")
    return record


class _NotFiniteError(ValueError):
    """NaN or Infinity, which Python's JSON would read."""


def _refuse_constant(name: str) -> NoReturn:
    raise _NotFiniteError(name)


def _numbers(rows: Any, count: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """An array of shape (count, 3)."""
    if not isinstance(rows, list) or len(rows) != count:
        raise RejectedCandidateError("malformed")
    for row in rows:
        if not isinstance(row, list) or len(row) != 3 or not all(type(x) in {int, float} for x in row):
            raise RejectedCandidateError("malformed")
    try:
        array = np.array(rows, dtype=np.float64)
    except OverflowError:
        raise RejectedCandidateError("not_finite") from None
    if not np.isfinite(array).all() or np.abs(array).max() > 1e6:
        raise RejectedCandidateError("not_finite")
    return array


def _checked_origin(origin: Any) -> dict[str, Any]:
    """The origin, if it is a small flat mapping of plain values with an ``operator``."""
    plain = isinstance(origin, dict) and all(
        isinstance(value, (str, bool, int, type(None))) or (isinstance(value, float) and np.isfinite(value))
        for value in origin.values()
    )
    if not plain or not isinstance(origin.get("operator"), str) or len(json.dumps(origin)) > _ORIGIN_LIMIT:
        raise RejectedCandidateError("malformed")
    return dict(origin)


def checked_counts(counts: Any) -> dict[str, int]:
    """The runner's counts of rejected draws, as far as they are counts; ``unreadable_count`` counts the rest."""
    if not isinstance(counts, dict):
        return {} if counts is None else {"unreadable_count": 1}
    kept: dict[str, int] = {}
    for key, value in list(counts.items())[:100]:
        if key.replace("_", "").isalnum() and key.isascii() and len(key) <= 40 and type(value) is int and 0 <= value < 10**12:
            if value:
                kept[key] = value
        else:
            kept["unreadable_count"] = kept.get("unreadable_count", 0) + 1
    return kept
