"""Crystals on their way from Uni-3DAR: conditions, faults, and the CIF file that inference.py writes; without torch."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np

_BLOCK = re.compile(r"(?=^data_)", re.MULTILINE)
_CELL = ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma")
_COLUMNS = ("type_symbol", "fract_x", "fract_y", "fract_z")

SMALLEST_VOLUME = 0.5
"""Of a cell over its atoms, Å³; what is denser is no cell."""


class MalformedError(Exception):
    """A block that is no whole crystal."""


def name_of(symbols: Any) -> str:
    """Chemical system of symbols."""
    return "-".join(sorted(set(symbols)))


def amounts(formula: str) -> dict[str, int]:
    """Reduced amounts of a formula such as Li3PS4."""
    found: dict[str, int] = {}
    for symbol, count in re.findall(r"([A-Z][a-z]?)(\d*)", formula):
        found[symbol] = found.get(symbol, 0) + int(count or 1)
    return reduced(found)


def reduced(content: dict[str, int]) -> dict[str, int]:
    """Amounts without a common divisor."""
    divisor = 0
    for amount in content.values():
        divisor = math.gcd(divisor, amount)
    return {symbol: amount // max(divisor, 1) for symbol, amount in content.items()}


def systems_of(conditions: dict[str, Any]) -> dict[str, float]:
    """Chemical systems that can be drawn, and their weights; empty if the conditions allow none."""
    formulas = [f for f in map(amounts, conditions["compositions"]) if sum(f.values()) <= conditions["max_atoms"]]
    if conditions["compositions"] and not formulas:
        return {}
    asked = {name_of(name.split("-")): float(w) for name, w in conditions["chemical_systems"].items() if w > 0}
    if not asked:
        asked = {name_of(f): 1.0 for f in formulas} or {name_of(conditions["elements"]): 1.0}
    if formulas:
        asked = {name: weight for name, weight in asked.items() if name in {name_of(f) for f in formulas}}
    known = set(conditions["elements"])
    return {
        name: weight
        for name, weight in sorted(asked.items())
        if set(name.split("-")) <= known and len(name.split("-")) <= conditions["max_atoms"]
    }


def fault_of(species: list[str], lattice: Any, positions: Any, conditions: dict[str, Any]) -> str:
    """Why a crystal is dropped; empty if it is not."""
    if not (np.isfinite(lattice).all() and np.isfinite(positions).all()):
        return "not_finite"
    if len(species) > conditions["max_atoms"]:
        return "too_many_atoms"
    if name_of(species) not in systems_of(conditions):
        return "off_system"
    formulas = [amounts(formula) for formula in conditions["compositions"]]
    if formulas and reduced({s: species.count(s) for s in species}) not in formulas:
        return "off_composition"
    if abs(np.linalg.det(lattice)) < SMALLEST_VOLUME * len(species):
        return "flat_cell"
    return ""


def of_atoms(atoms: Any) -> tuple[list[str], Any, Any]:
    """Species, lattice (rows, Å) and fractional positions of an ``Atoms`` of ASE."""
    return atoms.get_chemical_symbols(), np.array(atoms.cell), np.array(atoms.get_scaled_positions(wrap=False))


def read_cif(text: str) -> list[Any]:
    """Crystals of a file in their order: (species, lattice, positions), and None for a block that is malformed or cut short."""
    found: list[Any] = []
    for block in _BLOCK.split(text):
        if not block.startswith("data_"):
            continue
        try:
            found.append(_crystal(block))
        except (MalformedError, ValueError, OverflowError):
            found.append(None)
    return found


def _crystal(block: str) -> tuple[list[str], Any, Any]:
    """One block as ASE writes it in P 1."""
    cell = []
    for name in _CELL:
        value = re.search(rf"^_cell_{name}\s+(\S+)\s*$", block, re.MULTILINE)
        if value is None:
            raise MalformedError(name)
        cell.append(float(value[1]))
    # The end of a whole block is an empty line: a number that was cut short would look like another number.
    _head, _, rows = block.partition("_atom_site_")
    if not rows or not block.endswith("\n\n"):
        raise MalformedError("it ends in the middle")
    columns = ["type_symbol", *re.findall(r"^\s*_atom_site_(\S+)\s*$", rows, re.MULTILINE)]
    values = [line.split() for line in rows.splitlines()[1:] if line.strip() and not line.strip().startswith("_")]
    if not values or any(len(row) != len(columns) for row in values) or any(c not in columns for c in _COLUMNS):
        raise MalformedError("the table of atoms")
    symbol, *places = (columns.index(c) for c in _COLUMNS)
    positions = np.array([[float(row[place]) for place in places] for row in values])
    return [row[symbol] for row in values], lattice_of(*cell), positions


def lattice_of(a: float, b: float, c: float, alpha: float, beta: float, gamma: float) -> Any:
    """Rows of a cell, Å, from its lengths (Å) and angles (degrees)."""
    cos_a, cos_b, cos_g = (math.cos(math.radians(angle)) for angle in (alpha, beta, gamma))
    sin_g = math.sin(math.radians(gamma))
    y = (cos_a - cos_b * cos_g) / sin_g if sin_g else math.nan
    z = 1.0 - cos_b * cos_b - y * y
    return np.array([[a, 0.0, 0.0], [b * cos_g, b * sin_g, 0.0], [c * cos_b, c * y, c * math.sqrt(z) if z > 0.0 else 0.0]])
