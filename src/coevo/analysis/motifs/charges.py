"""Formal charges of motifs, by counting bonds and lone pairs of main-group atoms; None where the count is not certain.

An atom of V valence electrons with k single bonds and a full octet has the formal charge q = V - 8 + k. So a terminal S counts
-1, a bridging S 0, a P with four neighbours +1, a P with three neighbours and a lone pair 0: PS4 3-, P2S7 4-, P2S6 with a P-P
bond 4-, P2S6 with two shared S 2-, P4S10 0. Double bonds to terminal atoms need no care: P=S is P(+)-S(-) in this count.

What the bonds alone do not say is read off the geometry, or left open:

- Three neighbours: the lone pair is there if the atom is a pyramid (the angles at it add up to 340° or less) and absent, two
  electrons less, if it is flat (350° or more) with a terminal atom of group 16 to share a double bond with: PS3 3- is pyramidal
  (PS3)3-, flat it is the metathiophosphate PS3 -. In between: None.
- Two equal atoms of group 16: S2 2- has a single bond, S2 - and S2 have not. The pair counts 2- if its bond is as long as a
  single one (2.04 Å for S), else None; longer chains count their ends -1 each if the bonds there are at least 1.95 Å (S).
- P with one neighbour, or two of which one is terminal (PS2), other atoms that would need a double bond, more than four
  neighbours, S with three neighbours and no terminal O: None.
"""

from __future__ import annotations

from math import acos, degrees
from typing import TYPE_CHECKING

import numpy as np

from coevo.analysis.motifs.bonds import symbol_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    FloatArray = NDArray[np.float64]

PYRAMID, FLAT = 340.0, 350.0
"""Sum of the three angles at an atom, degrees, up to which it has a lone pair, and from which on it has none."""

SINGLE_BOND = {"O": 1.42, "S": 2.04, "Se": 2.30, "Te": 2.68}
"""Length from which on a pair of equal atoms has a single bond, Å: between the bonds of X2 - and X2 2-."""

_CHAIN_END = 1.95 / 2.04
_GROUP_13, _GROUP_14, _GROUP_15, _GROUP_16, _GROUP_17 = (
    frozenset(group.split()) for group in ("B", "C Si Ge", "N P As Sb", "O S Se Te", "F Cl Br I")
)
_VALENCE = {
    symbol: valence
    for valence, group in enumerate((_GROUP_13, _GROUP_14, _GROUP_15, _GROUP_16, _GROUP_17), start=3)
    for symbol in group
}


class Surroundings:
    """Neighbours of each atom of a motif, with the vectors to them.

    Parameters
    ----------
    numbers : sequence of int
        Atomic numbers.
    neighbours : list of list of (int, ndarray)
        Atom and vector to it, Å, shape (3,).
    """

    def __init__(self, numbers: Sequence[int], neighbours: list[list[tuple[int, FloatArray]]]) -> None:
        self.symbols = [symbol_of(z) for z in numbers]
        self.neighbours = neighbours

    def degree(self, atom: int) -> int:
        """Number of bonds of an atom."""
        return len(self.neighbours[atom])

    def angle_sum(self, atom: int) -> float:
        """Sum of the angles between the bonds of an atom that has three, degrees."""
        a, b, c = (vector / np.linalg.norm(vector) for _, vector in self.neighbours[atom])
        return sum(degrees(acos(max(-1.0, min(1.0, float(u @ v))))) for u, v in ((a, b), (b, c), (a, c)))

    def has_terminal(self, atom: int, group: frozenset[str] = _GROUP_16) -> bool:
        """Whether an atom has a neighbour of a group that has no other one."""
        return any(self.symbols[other] in group and self.degree(other) == 1 for other, _ in self.neighbours[atom])


def formal_charge(around: Surroundings) -> int | None:
    """Charge of all atoms together, elementary charges; None if that of one of them is not certain."""
    total = 0
    for atom in range(len(around.symbols)):
        charge = _atom_charge(around, atom)
        if charge is None:
            return None
        total += charge
    return total


def pyramid_or_flat(around: Surroundings, atom: int) -> str | None:
    """Shape of an atom with three neighbours: ``"pyramidal"``, ``"planar"``, or None in between."""
    angles = around.angle_sum(atom)
    return "pyramidal" if angles <= PYRAMID else "planar" if angles >= FLAT else None


def _atom_charge(around: Surroundings, atom: int) -> int | None:
    symbol, bonds = around.symbols[atom], around.degree(atom)
    if symbol == "H":
        return {0: -1, 1: 0}.get(bonds)
    valence = _VALENCE.get(symbol)
    if valence is None or bonds > 4:
        return None
    rule = {0: _bare, 1: _terminal, 2: _bridge, 3: _three}.get(bonds, _four)
    return rule(around, atom, symbol, valence - 8 + bonds)


def _bare(around: Surroundings, atom: int, symbol: str, octet: int) -> int | None:  # noqa: ARG001 - one signature for all
    return None if symbol in _GROUP_13 else octet


def _terminal(around: Surroundings, atom: int, symbol: str, octet: int) -> int | None:
    if symbol in _GROUP_17:
        return octet
    if symbol not in _GROUP_16:
        return None
    ((other, vector),) = around.neighbours[atom]
    partner = around.symbols[other]
    if partner == "H":
        return octet
    if partner == symbol and around.degree(other) <= 2:
        shortest = SINGLE_BOND[symbol] * (1.0 if around.degree(other) == 1 else _CHAIN_END)
        return octet if float(np.linalg.norm(vector)) >= shortest else None
    # O=S, S=Se and the like, and a terminal atom on one that has only two neighbours itself, may be double bonds.
    return octet if around.degree(other) >= 3 or (partner in _GROUP_16 and symbol not in {"O", "N"} and partner != "O") else None


def _bridge(around: Surroundings, atom: int, symbol: str, octet: int) -> int | None:
    if symbol in _GROUP_16:
        return octet
    hydrogen = all(around.symbols[other] == "H" for other, _ in around.neighbours[atom])
    lone = symbol in _GROUP_15 and symbol != "N" and not any(around.degree(other) == 1 for other, _ in around.neighbours[atom])
    return octet if lone or (symbol in _GROUP_15 and hydrogen) else None


def _three(around: Surroundings, atom: int, symbol: str, octet: int) -> int | None:
    if symbol in _GROUP_13:
        # boron with three bonds has no lone pair
        return octet + 2
    if symbol == "C" and not around.has_terminal(atom):
        return None
    if symbol in _GROUP_16 and not around.has_terminal(atom, frozenset({"O"})):
        return None
    shape = pyramid_or_flat(around, atom)
    if shape == "pyramidal":
        return None if symbol == "C" else octet
    return octet + 2 if shape == "planar" and around.has_terminal(atom) else None


def _four(around: Surroundings, atom: int, symbol: str, octet: int) -> int | None:
    if symbol in _GROUP_16 | _GROUP_17 and not around.has_terminal(atom, frozenset({"O"})):
        return None
    return octet
