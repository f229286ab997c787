"""Charges of units, read off examples, and the formulas that they balance: cations, units and single anions, neutral together.

A unit says more of an element than its oxidation states do: with PS4(3-) seen in one crystal, Li3PS4 is balanced and Li5PS4 is
not, though phosphorus has the states 5 and 3.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from coevo.models.random_crystals.chemistry import electronegativity, is_cation, oxidation_states
from coevo.models.random_crystals.units import MAX_UNIT, bonds, fragments

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pymatgen.core import Structure

HIGHEST = 12
"""Charge of a unit, at most, e; what is beyond is no ion."""

_PASSES = 3
_MULTIPLES = 2
"""Formula units of which a unit may need as many: P2S6 in Li2PS3."""

_MOST_ATOMS = 42
"""Atoms of so many formula units, at most."""

_KINDS = 6
"""Kinds of units that are combined, at most: the smallest go first."""


def unit_formula(species: Iterable[str]) -> str:
    """As units are named: symbols in alphabetic order, each with its number."""
    return "".join(f"{s}{n}" for s, n in sorted(Counter(species).items()))


def simple_charge(symbol: str) -> int | None:
    """Charge of a single ion: the lowest state of a non-metal, the common one of a metal; None if there is no such one state."""
    states = oxidation_states(symbol)
    if not is_cation(symbol):
        return states[0][0] if states[0][0] < 0 else None
    common = [state for state, weight in states if weight == 1.0 and state > 0]
    return common[0] if len(common) == 1 else None


def charges_of(structures: Iterable[Structure]) -> dict[str, int]:
    """Charges of the units in crystals, e, as far as neutrality tells them.

    Parameters
    ----------
    structures : iterable of Structure
        The first that tells counts: the most stable go first.
    """
    equations = [equation for equation in map(_equation, structures) if equation is not None]
    found: dict[str, int] = {}
    for _ in range(_PASSES):
        for units, rest in equations:
            unknown = [u for u in units if u not in found]
            total = rest + sum(n * found[u] for u, n in units.items() if u in found)
            if len(unknown) == 1 and total % units[unknown[0]] == 0 and abs(total) <= HIGHEST * units[unknown[0]]:
                found[unknown[0]] = -total // units[unknown[0]]
    for units, rest in equations:
        # Several kinds in one crystal: the states of their atoms say how the charge is shared, if it comes out.
        guesses = {u: found[u] if u in found else _by_states(u) for u in units}
        if rest + sum(n * guesses[u] for u, n in units.items()) == 0:
            found |= {u: q for u, q in guesses.items() if u not in found and abs(q) <= HIGHEST}
    return dict(sorted(found.items()))


def _equation(structure: Structure) -> tuple[Counter[str], int] | None:
    """Units of a crystal and the charge of all else; None if it has none, or the charge of something else is not known."""
    pieces = fragments(structure)
    if not pieces or any(len(p.species) > MAX_UNIT for p in pieces):
        return None
    inside = {k for p in pieces for k in p.indices}
    bonded = {a for a, _, _ in bonds(structure)}
    rest = 0
    for k, site in enumerate(structure):
        if k in inside:
            continue
        charge = simple_charge(site.specie.symbol)
        if charge is None or k in bonded:  # of a chain or a framework
            return None
        rest += charge
    return Counter(unit_formula(p.species) for p in pieces), rest


def _split(formula: str) -> dict[str, int]:
    found: dict[str, int] = {}
    symbol = number = ""
    for letter in [*formula, ""]:
        if not letter or (letter.isupper() and symbol):
            found[symbol] = int(number)
            symbol = number = ""
        if letter.isdigit():
            number += letter
        else:
            symbol += letter
    return found


def _by_states(formula: str) -> int:
    """The most electronegative element in its lowest state, all others in their highest common one."""
    amounts = _split(formula)
    anion = max(amounts, key=lambda s: (electronegativity(s), s))
    total = amounts[anion] * oxidation_states(anion)[0][0]
    return total + sum(n * max(q for q, w in oxidation_states(s) if w == 1.0 or q == 0) for s, n in amounts.items() if s != anion)


class UnitBalance:
    """Which formulas units of known charge balance.

    Parameters
    ----------
    charges : mapping of str to int
        Formula of a unit to its charge, e.
    """

    def __init__(self, charges: Mapping[str, int]):
        self._units = sorted(
            ((_split(u), q) for u, q in charges.items()), key=lambda u: (sum(u[0].values()), sorted(u[0].items()))
        )

    def speaks_of(self, amounts: Mapping[str, int]) -> bool:
        """Whether a unit is known of the non-metals of a formula, two of them at least."""
        others = {s for s in amounts if not is_cation(s)}
        return len(others) > 1 and any(set(unit) == others for unit, _ in self._units)

    def balances(self, amounts: Mapping[str, int]) -> bool:
        """Whether cations, charged units and single anions make up a formula, or without cations neutral units alone."""
        anion = max(amounts, key=lambda s: (electronegativity(s), s))
        cations = {s: simple_charge(s) for s in amounts if is_cation(s)}
        if any(q is None for q in cations.values()) or is_cation(anion):
            return False
        positive = sum(amounts[s] * q for s, q in cations.items() if q is not None)
        others = {s: n for s, n in amounts.items() if not is_cation(s)}
        # a molecule beside a salt is a mixture, and no reason for a compound
        fitting = [(u, q) for u, q in self._units if set(u) <= set(others) and (q < 0 if cations else q == 0)][:_KINDS]
        most = max(1, min(_MULTIPLES, _MOST_ATOMS // sum(amounts.values())))
        return any(self._fills({s: k * n for s, n in others.items()}, k * positive, anion, fitting) for k in range(1, most + 1))

    def _fills(self, left: dict[str, int], charge: int, anion: str, units: list[tuple[dict[str, int], int]]) -> bool:
        """Whether some units, each any number of times, and single anions take what is left and bring the charge to 0."""
        lonely = simple_charge(anion)
        if not any(n for s, n in left.items() if s != anion):
            rest = left[anion] * lonely if lonely is not None else None
            if charge == 0 == left[anion] or (rest is not None and charge + rest == 0):
                return True
        if not units:
            return False
        (unit, own), *others = units
        most = min(left[s] // n for s, n in unit.items())
        return any(
            self._fills({s: n - k * unit.get(s, 0) for s, n in left.items()}, charge + k * own, anion, others)
            for k in range(most + 1)
        )
