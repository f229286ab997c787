"""What ADiT's decoder gives, as crystals: elements under a mask, cells from lengths and angles; and which draws are wanted.

Numbers and lists only: nothing of ADiT or torch is needed here.
"""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
from coevo_cells import fault_of

_SYMBOLS = (
    "X H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr Rb Sr Y Zr Nb Mo Tc Ru "
    "Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi Po At "
    "Rn Fr Ra Ac Th Pa U Np Pu Am Cm Bk Cf Es"
)
SYMBOLS = tuple(_SYMBOLS.split())
"""Symbol by atomic number, as the decoder's logits are ordered; the first is what training masks atoms with."""


def draws_wanted(conditions: dict[str, Any], n: int, seed: int, oversampling: float, atoms: dict[int, float]) -> list[Any]:
    """System and number of atoms of each draw, those that take the place of rejected ones included.

    Parameters
    ----------
    conditions : dict
        Of the request.
    n, seed : int
    oversampling : float
        Draws per candidate, at most.
    atoms : dict
        Number of atoms to how often crystals have it.

    Returns
    -------
    list of dict
        ``draw`` (its number), ``system``, ``atoms``; empty if nothing fulfils the conditions.
    """
    formulas = [amounts(formula) for formula in conditions["compositions"]]
    weights = {name: w for name, w in conditions["chemical_systems"].items() if w > 0}
    if not weights:
        weights = {name_of(f): 1.0 for f in formulas} or {name_of(conditions["elements"]): 1.0}
    choices = []
    for name, weight in sorted(weights.items()):
        symbols = sorted(name.split("-"))
        sizes = {k: p for k, p in atoms.items() if len(symbols) <= k <= conditions["max_atoms"] and p > 0}
        if formulas:
            units = [sum(f.values()) for f in formulas if name_of(f) == name_of(symbols)]
            sizes = sizes_of(units, sizes, conditions["max_atoms"])
        if sizes and set(symbols) <= set(conditions["elements"]) & set(SYMBOLS[1:]):
            choices.append((name_of(symbols), weight, sizes))
    if not choices:
        return []
    share = np.array([weight for _, weight, _ in choices])
    draws = []
    for draw in range(math.ceil(n * oversampling)):
        rng = np.random.default_rng([seed, draw])
        system, _, sizes = choices[rng.choice(len(choices), p=share / share.sum())]
        p = np.array(list(sizes.values()))
        draws.append({"draw": draw, "system": system, "atoms": int(rng.choice(list(sizes), p=p / p.sum()))})
    return draws


def sizes_of(units: list[int], atoms: dict[int, float], most: int) -> dict[int, float]:
    """Numbers of atoms of cells of formulas asked for, and how often.

    Where crystals have none of the numbers that a formula can have, any of them up to ``most`` is as likely, and all of them
    together as those of the other formulas are on average.
    """
    found = {k: p for k, p in atoms.items() if any(k % unit == 0 for unit in units)}
    known = [unit for unit in units if any(k % unit == 0 for k in found)]
    share = sum(found.values()) / len(known) if known else 1.0
    for unit in units:
        if unit not in known:
            fitting = range(unit, most + 1, unit)
            found.update({k: share / len(fitting) for k in fitting})
    return found


def equal_batches(draws: list[dict[str, Any]], size: int) -> list[list[dict[str, Any]]]:
    """Draws of one number of atoms together, at most ``size`` a batch: ADiT is told one number for a batch."""
    batches = []
    for atoms in sorted({draw["atoms"] for draw in draws}):
        alike = [draw for draw in draws if draw["atoms"] == atoms]
        batches += [alike[start : start + size] for start in range(0, len(alike), size)]
    return batches


def candidates_of(out: dict[str, Any], batch: list[dict[str, Any]], conditions: dict[str, Any]) -> list[Any]:
    """Candidates of a batch as the decoder gives it, or for each that is none the reason.

    Parameters
    ----------
    out : dict
        Arrays of the decoder: ``atom_types`` (logits by atomic number), ``frac_coords``, one row for each atom of all crystals;
        ``lengths`` (Å over the cube root of the number of atoms) and ``angles`` (radians), one row for each crystal.
    batch : list of dict
        The draws.
    conditions : dict
        Of the request.

    Returns
    -------
    list of (dict or str)
    """
    formulas = [amounts(formula) for formula in conditions["compositions"]]
    wanted = {name_of(name.split("-")) for name, weight in conditions["chemical_systems"].items() if weight > 0}
    rows_wanted, crystals = sum(draw["atoms"] for draw in batch), len(batch)
    shapes = [len(out[name]) for name in ("atom_types", "frac_coords", "lengths", "angles")]
    if shapes != [rows_wanted, rows_wanted, crystals, crystals]:
        raise ValueError(f"the decoder gave {shapes} rows for {rows_wanted} atoms in {crystals} crystals")
    found: list[Any] = []
    start = 0
    for place, draw in enumerate(batch):
        rows = slice(start, start + draw["atoms"])
        start += draw["atoms"]
        crystal = crystal_of(
            out["atom_types"][rows], out["frac_coords"][rows], out["lengths"][place], out["angles"][place], draw["system"]
        )
        if not isinstance(crystal, str):
            # a draw that came out in another of the systems asked for is as good
            if name_of(set(crystal["species"])) not in (wanted | {draw["system"]}):
                crystal = "off_system"
            elif formulas and reduced_counts(crystal["species"]) not in formulas:
                crystal = "off_composition"
            else:
                crystal["origin"] = {"operator": "adit", "draw": draw["draw"], "system": draw["system"]}
        found.append(crystal)
    return found


def crystal_of(logits: Any, positions: Any, lengths: Any, angles: Any, system: str) -> Any:
    """One crystal, or why it is none: ``no_cell``, or one of the faults that :mod:`coevo_cells` names."""
    logits, positions, lengths, angles = (np.asarray(a, dtype=float) for a in (logits, positions, lengths, angles))
    if not all(np.isfinite(a).all() for a in (logits, positions, lengths, angles)):
        return "not_finite"
    allowed = sorted(SYMBOLS.index(symbol) for symbol in system.split("-"))
    species = [SYMBOLS[allowed[k]] for k in logits[:, allowed].argmax(axis=1)]
    cell = cell_of(lengths * len(species) ** (1 / 3), angles)
    if cell is None:
        return "no_cell"
    fault = fault_of(cell, positions)
    return fault or {"lattice": cell.tolist(), "species": species, "positions": (positions % 1.0).tolist()}


def cell_of(lengths: Any, angles: Any) -> Any:
    """Cell vectors (rows, Å) from lengths (Å) and angles (radians), oriented as pymatgen and so ADiT's data do; None if none."""
    a, b, c = lengths
    if min(a, b, c) <= 0 or min(angles) <= 0 or max(angles) >= math.pi:
        return None
    (cos_a, cos_b, cos_g), (sin_a, sin_b, _) = np.cos(angles), np.sin(angles)
    cos_star = (cos_a * cos_b - cos_g) / (sin_a * sin_b)
    if abs(cos_star) >= 1:
        return None
    sin_star = math.sqrt(1 - cos_star**2)
    return np.array([[a * sin_b, 0.0, a * cos_b], [-b * sin_a * cos_star, b * sin_a * sin_star, b * cos_a], [0.0, 0.0, c]])


def name_of(symbols: Any) -> str:
    """Chemical system of symbols."""
    return "-".join(sorted(symbols))


def amounts(formula: str) -> dict[str, int]:
    """Reduced amounts of a formula such as Li3PS4."""
    found: dict[str, int] = {}
    for symbol, count in re.findall(r"([A-Z][a-z]?)(\d*)", formula):
        found[symbol] = found.get(symbol, 0) + int(count or 1)
    return _reduced(found)


def reduced_counts(species: list[str]) -> dict[str, int]:
    """Reduced amounts of a cell's content."""
    return _reduced({symbol: species.count(symbol) for symbol in set(species)})


def _reduced(found: dict[str, int]) -> dict[str, int]:
    divisor = 0
    for amount in found.values():
        divisor = math.gcd(divisor, amount)
    return {symbol: amount // divisor for symbol, amount in found.items()}
