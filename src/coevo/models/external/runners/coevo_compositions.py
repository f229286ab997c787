"""Compositions for generators that take one as a condition: learned from examples, drawn for a request.

A request's chemical systems share the draws by their weights. Within a system a draw has, in this order of precedence,

1. one of the formulas that the request asks for (``conditions.compositions``), each as often as the others;
2. a formula that the examples have, by its weight; or, in a given share of the draws, a new one;
3. a new one, where the examples have none of this system (before the first fit: always).

The number of formula units of a known formula is one that its examples have. A new composition has a number of atoms that the
examples have (of all systems, by their weights), else one of those that the caller gives, else any that fits; of all ways to
share these atoms among the elements of the system, with at least one of each, any is as likely as another.

It needs Python 3.8 or newer and NumPy, and is copied beside the runners that use it.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

ENERGY_SCALE = 0.1
"""An example counts by exp(−E_hull / this), eV/atom."""
MOST_FORMULAS = 20_000
"""Formulas in a table; of more the heaviest are kept."""
MOST_UNITS = 1000
"""Formula units in a cell; no table says more."""

_FORMULA = re.compile(r"(?:[A-Z][a-z]?[0-9]*)+")


class Draw(NamedTuple):
    """A composition that was drawn.

    Attributes
    ----------
    amounts : dict of str to int
        Atoms of each element in the cell, in alphabetical order.
    source : str
        ``asked``, ``learned`` or ``new``.
    """

    amounts: dict[str, int]
    source: str

    @property
    def atoms(self) -> int:
        """Atoms in the cell."""
        return sum(self.amounts.values())

    @property
    def system(self) -> str:
        """Chemical system: symbols in alphabetical order, joined by ``-``."""
        return "-".join(sorted(self.amounts))

    @property
    def formula(self) -> str:
        """Formula of the cell, such as Li6P2S8."""
        return formula_of(self.amounts)

    def species(self) -> list[str]:
        """The symbol of each atom, those of an element together."""
        return [symbol for symbol, amount in self.amounts.items() for _ in range(amount)]


def learned(examples: Iterable[Mapping[str, Any]], highest: float = math.inf) -> dict[str, dict[str, float]]:
    """The table of what examples are made of.

    Parameters
    ----------
    examples : iterable of mapping
        With ``species`` (a symbol for each atom) and ``energy_above_hull`` (eV/atom).
    highest : float
        Examples above this energy have no weight, eV/atom.

    Returns
    -------
    dict
        JSON: reduced formula → number of formula units (as text) → weight. The weights of a formula sum to the square root of
        what its examples weigh together, so that many polymorphs of one do not crowd out the others; those of the table sum to 1.
    """
    found: dict[str, dict[str, float]] = {}
    for example in examples:
        energy = float(example["energy_above_hull"])
        if not energy <= highest:
            continue
        content = Counter(example["species"])
        formula = reduced(content)
        units = sum(content.values()) // sum(formula.values())
        row = found.setdefault(formula_of(formula), {})
        row[str(units)] = row.get(str(units), 0.0) + math.exp(-max(energy, 0.0) / ENERGY_SCALE)
    totals = {formula: math.sqrt(sum(row.values())) for formula, row in found.items()}
    kept = sorted(found, key=lambda formula: (-totals[formula], formula))[:MOST_FORMULAS]
    whole = sum(totals[formula] for formula in kept)
    return {
        formula: {
            units: float(f"{weight / totals[formula] / whole:.6g}")
            for units, weight in sorted(found[formula].items(), key=lambda item: int(item[0]))
        }
        for formula in sorted(kept)
    }


class Compositions:
    """What a request's draws may be made of.

    Parameters
    ----------
    conditions : mapping
        Those of a request: ``elements``, ``max_atoms``, ``chemical_systems``, ``compositions``.
    table : mapping, optional
        Of :func:`learned`; empty before the first fit.
    new_share : float
        Share of draws with a composition that the examples need not have, where the request asks for none.
    atoms : mapping of int to float, optional
        Numbers of atoms and how often, for new compositions while the table is empty.

    Raises
    ------
    ValueError
        If the table is none, or a formula asked for cannot be read.
    """

    def __init__(
        self,
        conditions: Mapping[str, Any],
        table: Mapping[str, Any] | None = None,
        *,
        new_share: float = 0.2,
        atoms: Mapping[int, float] | None = None,
    ):
        self._most = int(conditions["max_atoms"])
        self._new_share = new_share
        known = _checked(table or {})
        self._atoms = _atoms_of(known) or {int(n): float(w) for n, w in (atoms or {}).items() if w > 0 and n > 0}
        asked = [reduced(amounts_of(formula)) for formula in conditions["compositions"]]
        self._asked = bool(asked)
        systems = {_name(name.split("-")): float(w) for name, w in conditions["chemical_systems"].items() if w > 0}
        if not systems:
            counted = Counter(_name(amounts) for amounts in asked)
            systems = {name: float(n) for name, n in counted.items()} or {_name(conditions["elements"]): 1.0}
        rows: dict[str, dict[str, dict[int, float]]] = {}
        for formula, units in known.items():
            rows.setdefault(_name(amounts_of(formula)), {})[formula] = units
        self._choices: list[tuple[str, list[tuple[dict[str, int], float]]]] = []
        weights = []
        for name, weight in sorted(systems.items()):
            symbols = name.split("-")
            if not set(symbols) <= set(conditions["elements"]) or len(symbols) > self._most:
                continue
            of_system = rows.get(name, {})
            choices = self._cells_asked(asked, name, of_system) if asked else self._cells_learned(of_system)
            if choices or not asked:
                self._choices.append((name, choices))
                weights.append(weight)
        self._weights = np.array(weights) / sum(weights) if weights else np.zeros(0)

    @property
    def possible(self) -> bool:
        """Whether any composition fulfils the conditions."""
        return bool(self._choices)

    @property
    def systems(self) -> set[str]:
        """Chemical systems that draws have."""
        return {name for name, _ in self._choices}

    def draw(self, seed: int, index: int) -> Draw:
        """The composition of one draw, which depends on the seed and its index only.

        Raises
        ------
        ValueError
            If none is :attr:`possible`.
        """
        if not self.possible:
            raise ValueError("no composition fulfils the conditions")
        rng = np.random.default_rng([seed, index])
        name, cells = self._choices[_chosen(self._weights, rng)]
        symbols = name.split("-")
        if self._asked or (cells and (len(symbols) == 1 or rng.random() >= self._new_share)):
            weights = np.array([weight for _, weight in cells])
            return Draw(dict(cells[_chosen(weights, rng)][0]), "asked" if self._asked else "learned")
        sizes = {n: w for n, w in self._atoms.items() if len(symbols) <= n <= self._most}
        sizes = sizes or dict.fromkeys(range(len(symbols), self._most + 1), 1.0)
        n = list(sizes)[_chosen(np.array(list(sizes.values())), rng)]
        return Draw(dict(zip(symbols, _shared(n, len(symbols), rng))), "new")  # noqa: B905 - Python 3.8

    def _cells_learned(self, rows: Mapping[str, Mapping[int, float]]) -> list[tuple[dict[str, int], float]]:
        """Cells of the formulas of one system, and their weights."""
        return [
            (_times(amounts_of(formula), units), weight)
            for formula, row in sorted(rows.items())
            for units, weight in row.items()
            if units * sum(amounts_of(formula).values()) <= self._most
        ]

    def _cells_asked(
        self, asked: Sequence[dict[str, int]], name: str, rows: Mapping[str, Mapping[int, float]]
    ) -> list[tuple[dict[str, int], float]]:
        """Cells of formulas asked for: units that the examples have, else those with as many atoms as these, else any."""
        cells = []
        for amounts in asked:
            size = sum(amounts.values())
            if _name(amounts) != name or size > self._most:
                continue
            fitting = range(1, self._most // size + 1)
            row = {units: w for units, w in rows.get(formula_of(amounts), {}).items() if units in fitting}
            row = row or {units: self._atoms[units * size] for units in fitting if units * size in self._atoms}
            row = row or dict.fromkeys(fitting, 1.0)
            whole = sum(row.values())
            cells += [(_times(amounts, units), weight / whole) for units, weight in sorted(row.items())]
        return cells


def amounts_of(formula: str) -> dict[str, int]:
    """Amounts of a formula such as Li3PS4, in alphabetical order; raises ValueError if it is none."""
    if not _FORMULA.fullmatch(formula):
        raise ValueError(f"got the formula {str(formula)[:80]!r}, allowed: symbols with whole numbers, as in Li3PS4")
    found: dict[str, int] = {}
    for symbol, count in re.findall(r"([A-Z][a-z]?)(\d*)", formula):
        found[symbol] = found.get(symbol, 0) + int(count or 1)
    if min(found.values()) < 1:
        raise ValueError(f"got the formula {formula[:80]!r} with none of an element")
    return {symbol: found[symbol] for symbol in sorted(found)}


def formula_of(amounts: Mapping[str, int]) -> str:
    """Formula of amounts, symbols in alphabetical order: Li3PS4."""
    return "".join(symbol + (str(amounts[symbol]) if amounts[symbol] > 1 else "") for symbol in sorted(amounts))


def reduced(amounts: Mapping[str, int]) -> dict[str, int]:
    """Amounts over their greatest common divisor."""
    divisor = 0
    for amount in amounts.values():
        divisor = math.gcd(divisor, amount)
    return {symbol: amount // divisor for symbol, amount in amounts.items()}


def _checked(table: Mapping[str, Any]) -> dict[str, dict[int, float]]:
    """A table as numbers; it comes from a checkpoint, which anyone may have written."""
    if not isinstance(table, dict) or len(table) > MOST_FORMULAS:
        raise ValueError(f"the table of compositions is no mapping of at most {MOST_FORMULAS} formulas")
    found: dict[str, dict[int, float]] = {}
    for formula, row in table.items():
        sound = isinstance(row, dict) and all(
            units.isascii() and units.isdigit() and 0 < int(units[:9]) <= MOST_UNITS and type(w) in {int, float} and 0 < w < 1e9
            for units, w in row.items()
        )
        amounts = amounts_of(formula)
        if not sound or reduced(amounts) != amounts:
            raise ValueError(f"the table of compositions has no numbers of units with weights for {formula[:80]!r}")
        found[formula_of(amounts)] = {int(units): float(w) for units, w in row.items()}
    return found


def _atoms_of(table: Mapping[str, Mapping[int, float]]) -> dict[int, float]:
    """Numbers of atoms of all cells of a table, with their weights."""
    found: dict[int, float] = {}
    for formula, row in table.items():
        size = sum(amounts_of(formula).values())
        for units, weight in row.items():
            found[units * size] = found.get(units * size, 0.0) + weight
    return dict(sorted(found.items()))


def _name(symbols: Iterable[str]) -> str:
    return "-".join(sorted(symbols))


def _times(amounts: Mapping[str, int], units: int) -> dict[str, int]:
    return {symbol: amount * units for symbol, amount in amounts.items()}


def _chosen(weights: Any, rng: np.random.Generator) -> int:
    """An index, by weight."""
    return int(rng.choice(len(weights), p=weights / weights.sum()))


def _shared(n: int, parts: int, rng: np.random.Generator) -> list[int]:
    """One of all ways to write ``n`` as a sum of ``parts`` positive numbers, each as likely."""
    cuts = np.sort(rng.choice(n - 1, size=parts - 1, replace=False) + 1) if parts > 1 else np.zeros(0, dtype=int)
    return [int(part) for part in np.diff([0, *cuts, n])]
