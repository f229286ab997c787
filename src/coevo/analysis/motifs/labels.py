"""Canonical labels of bond graphs: the same motif has the same label in every cell, setting and order of atoms."""

from __future__ import annotations

from collections import Counter
from functools import cache
from hashlib import sha256
from math import gcd, inf, isnan
from typing import TYPE_CHECKING

from coevo.analysis.motifs.canonical_graphs import canonical_form
from coevo.analysis.motifs.periodic_labels import periodic_colours

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from coevo.analysis.motifs.bond_graphs import Bond

KINDS = ("molecule", "chain", "layer", "framework")
"""By dimension; single atoms and ions count as molecules."""

_DIGITS = 16


def graph_label(symbols: Sequence[str], bonds: Sequence[Bond], dimension: int) -> str:
    """Label of a connected bond graph.

    For a molecule it is the hash of an exact canonical form (:mod:`coevo.analysis.motifs.canonical_graphs`), for an endless graph
    that of the surroundings of its atoms (:mod:`coevo.analysis.motifs.periodic_labels`).

    Parameters
    ----------
    symbols : sequence of str
        Elements of the molecule, or of one cell.
    bonds : sequence of (int, int, (int, int, int))
        Each once: atoms, and the translation of the second (zero in a molecule).
    dimension : int

    Returns
    -------
    str
        E.g. ``"PS4-molecule-5f0c…"``: formula, kind, 16 hexadecimal digits.
    """
    numbers = [_number(symbol) for symbol in symbols]
    if dimension == 0:
        text = repr(canonical_form(numbers, [(a, b) for a, b, _ in bonds]))
    else:
        text = repr(periodic_colours(numbers, bonds))
    content, _ = formula_content(symbols, dimension)
    return f"{formula_text(content)}-{KINDS[dimension]}-{sha256(text.encode()).hexdigest()[:_DIGITS]}"


def formula_content(symbols: Sequence[str], dimension: int) -> tuple[dict[str, int], int]:
    """Atoms of a molecule or of a reduced formula of an endless motif, and how many of these units there are."""
    counts = Counter(symbols)
    units = gcd(*counts.values()) if dimension else 1
    return {symbol: count // units for symbol, count in counts.items()}, units


def formula_text(content: Mapping[str, int]) -> str:
    """Formula, elements by rising electronegativity (Pauling): PS4, P2S7, SO4."""
    ordered = sorted(content.items(), key=lambda pair: (electronegativity(pair[0]), pair[0]))
    return "".join(f"{symbol}{count if count > 1 else ''}" for symbol, count in ordered)


@cache
def electronegativity(symbol: str) -> float:
    """Of Pauling's scale; infinite where there is none."""
    import warnings

    from pymatgen.core import Element

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        value = float(Element(symbol).X)
    return inf if isnan(value) else value


@cache
def _number(symbol: str) -> int:
    from pymatgen.core import Element

    return int(Element(symbol).Z)
