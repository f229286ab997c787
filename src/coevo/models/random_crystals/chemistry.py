"""What any chemist knows before the first calculation: radii, oxidation states, which elements are cations.

These are priors for any system; what is special about one system is learned (:mod:`coevo.models.random_crystals.fitting`).
"""

from __future__ import annotations

from functools import lru_cache
from itertools import product
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pymatgen.core import Structure

_PACKING = {True: 1.6, False: 4.0}
"""Volume of an atom in a compound over that of its covalent sphere, for metals (True) and non-metals; the fit corrects it."""

_STATES_AT_MOST = 20_000


@lru_cache(maxsize=256)
def covalent_radius(symbol: str) -> float:
    """Covalent radius, Å (Cordero et al., Dalton Trans. 2008, 2832), as tabulated by ASE."""
    from ase.data import atomic_numbers, covalent_radii

    return float(covalent_radii[atomic_numbers[symbol]])


@lru_cache(maxsize=256)
def is_cation(symbol: str) -> bool:
    """Whether an element is left out when anions are cut from a structure: the metals."""
    from pymatgen.core import Element

    return bool(Element(symbol).is_metal)


def prior_volume(symbol: str) -> float:
    """Volume of an atom before anything is learned, Å³."""
    return max(_PACKING[is_cation(symbol)] * 4.18879 * covalent_radius(symbol) ** 3, 8.0)


@lru_cache(maxsize=256)
def oxidation_states(symbol: str) -> tuple[tuple[int, float], ...]:
    """Oxidation states of an element with their prior weight: common ones 1, other known ones 0.4."""
    from pymatgen.core import Element

    element = Element(symbol)
    common = set(element.common_oxidation_states)
    known = sorted(common | set(element.oxidation_states))
    return tuple((state, 1.0 if state in common else 0.4) for state in known) or ((0, 1.0),)


@lru_cache(maxsize=256)
def electronegativity(symbol: str) -> float:
    """Pauling electronegativity; 0 where none is known."""
    from pymatgen.core import Element

    value = float(Element(symbol).X)
    return value if value == value else 0.0


def neutrality(amounts: Mapping[str, int]) -> float:
    """Prior weight of a composition by charge neutrality, in (0, 1].

    The most electronegative element takes its lowest state and every other element one known state; the weight falls with the
    charge per atom that is left. An element alone is neutral.
    """
    import math

    symbols = sorted(s for s, n in amounts.items() if n > 0)
    if len(symbols) == 1:
        return 1.0
    anion = max(symbols, key=lambda s: (electronegativity(s), s))
    options = []
    for symbol in symbols:
        states = oxidation_states(symbol)
        options.append(states[:1] if symbol == anion else tuple(s for s in states if s[0] > 0 or not is_cation(symbol)) or states)
    atoms = sum(amounts.values())
    best = 0.0
    for count, states in enumerate(product(*options)):
        if count >= _STATES_AT_MOST:
            break
        charge = sum(amounts[symbol] * state for symbol, (state, _) in zip(symbols, states, strict=True))
        weight = math.prod(w for _, w in states)
        best = max(best, weight * math.exp(-abs(charge) / atoms / 0.05))
    return max(best, 1e-3)


def formal_charges(amounts: Mapping[str, int]) -> dict[str, float] | None:
    """Charges that make a composition neutral, by the same rule, or None where no choice does."""
    symbols = sorted(s for s, n in amounts.items() if n > 0)
    if len(symbols) < 2:
        return None
    anion = max(symbols, key=lambda s: (electronegativity(s), s))
    options = [oxidation_states(s)[:1] if s == anion else oxidation_states(s) for s in symbols]
    best: tuple[float, tuple[int, ...]] | None = None
    for count, states in enumerate(product(*options)):
        if count >= _STATES_AT_MOST:
            break
        if sum(amounts[s] * state for s, (state, _) in zip(symbols, states, strict=True)):
            continue
        weight = sum(w for _, w in states)
        if best is None or weight > best[0]:
            best = (weight, tuple(state for state, _ in states))
    return None if best is None else {s: float(q) for s, q in zip(symbols, best[1], strict=True)}


def electrostatic_energy(structure: Structure) -> float | None:
    """Ewald energy of formal point charges, eV/atom; None where no neutral choice of charges is known.

    It ranks ways of placing the same atoms in the same cell, nothing more.
    """
    from pymatgen.analysis.ewald import EwaldSummation

    symbols = [site.specie.symbol for site in structure]
    charges = formal_charges({s: symbols.count(s) for s in sorted(set(symbols))})
    if charges is None:
        return None
    charged = structure.copy()
    charged.add_oxidation_state_by_element(charges)
    return float(EwaldSummation(charged, acc_factor=6).total_energy) / len(structure)
