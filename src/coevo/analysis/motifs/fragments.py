"""Bond-graph fragments among the non-metals: which anions a structure is made of.

The default StructureMatcher confuses structures whose anions differ (Li4P2S6 with a P-P bond and other Li2PS3 structures); their
signatures differ, and structures with different signatures never match (docs/architecture.md, curate).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from fractions import Fraction
from math import gcd
from typing import TYPE_CHECKING

from coevo.analysis.cell_reduction import Crystal
from coevo.analysis.motifs.bond_graphs import pieces
from coevo.analysis.motifs.bonds import symbol_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pymatgen.core import Structure


@dataclass(frozen=True)
class Fragment:
    """A connected piece of the bond graph.

    Attributes
    ----------
    atoms : tuple of int
        Sites, sorted.
    dimension : int
        0 for a molecule or ion, 1 for a chain, 2 for a layer, 3 for a network.
    """

    atoms: tuple[int, ...]
    dimension: int


def fragments(structure: Structure) -> list[Fragment]:
    """Connected fragments among the non-metal atoms, with their periodicity, in order of their first site."""
    return [Fragment(piece.atoms, piece.dimension) for piece in pieces(Crystal.from_structure(structure))]


def fragment_signature(crystal: Structure | Crystal) -> str:
    """Canonical signature of the bond-graph fragments, per formula unit of the structure.

    Fragments are named by their formula (of the molecule, or reduced with its dimension, as in ``PS3(1D)``) and counted, bonds
    are counted by their pair of elements. The same crystal has the same signature in every cell and setting.

    Returns
    -------
    str
        E.g. ``"P2S6:1/2|P-P:1/2,P-S:3"`` for Li2PS3 with P2S6 ions; ``"|"`` if there is no non-metal.
    """
    if not isinstance(crystal, Crystal):
        crystal = Crystal.from_structure(crystal)
    symbols = [symbol_of(z) for z in crystal.numbers.tolist()]
    units = _formula_units(Counter(symbols))
    pairs: Counter[str] = Counter()
    amounts: Counter[str] = Counter()
    for fragment in pieces(crystal):
        pairs.update("-".join(sorted((symbols[fragment.atoms[i]], symbols[fragment.atoms[j]]))) for i, j, _ in fragment.bonds)
        content = Counter(symbols[atom] for atom in fragment.atoms)
        if fragment.dimension == 0:
            amounts[_formula(content)] += 1
        else:
            # An endless fragment has no size of its own: it is measured in reduced formulas.
            repeats = _formula_units(content)
            reduced = {symbol: count // repeats for symbol, count in content.items()}
            amounts[f"{_formula(reduced)}({fragment.dimension}D)"] += repeats
    parts = ",".join(f"{name}:{Fraction(count, units)}" for name, count in sorted(amounts.items()))
    bonds = ",".join(f"{pair}:{Fraction(count, units)}" for pair, count in sorted(pairs.items()))
    return f"{parts}|{bonds}"


def _formula_units(content: Mapping[str, int]) -> int:
    return gcd(*content.values())


def _formula(content: Mapping[str, int]) -> str:
    return "".join(f"{symbol}{count if count > 1 else ''}" for symbol, count in sorted(content.items()))
