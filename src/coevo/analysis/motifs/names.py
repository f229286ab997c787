"""Names of known motifs: anions, molecules, cages, chains and layers, recognised by their bond graph.

Each is written as its list of bonds between numbered atoms; ``P1-S4:1`` is a bond to the next repeat of a chain, ``P1-P2:0,1``
one to a neighbouring cell of a layer. The canonical label of the graph finds the name.
"""

from __future__ import annotations

import re
from functools import cache
from itertools import combinations
from typing import TYPE_CHECKING

from coevo.analysis.motifs.periodic_labels import graph_label

if TYPE_CHECKING:
    from collections.abc import Sequence

    from coevo.analysis.motifs.bond_graphs import Bond

KNOWN = {
    "PS4": "P1-S1 P1-S2 P1-S3 P1-S4",
    "P2S7": "P1-S1 P1-S2 P1-S3 P1-S4 S4-P2 P2-S5 P2-S6 P2-S7",
    "P3S10": "P1-S1 P1-S2 P1-S3 P1-S4 S4-P2 P2-S5 P2-S6 P2-S7 S7-P3 P3-S8 P3-S9 P3-S10",
    "P2S6 (edge-sharing)": "P1-S1 P1-S2 P1-S3 P1-S4 P2-S3 P2-S4 P2-S5 P2-S6",
    "P2S6 (P-P bond)": "P1-P2 P1-S1 P1-S2 P1-S3 P2-S4 P2-S5 P2-S6",
    "P2S8 (S-S bridge)": "P1-S1 P1-S2 P1-S3 P1-S4 S4-S5 S5-P2 P2-S6 P2-S7 P2-S8",
    "P3S9 ring": "P1-S1 P1-S2 P1-S3 S3-P2 P2-S4 P2-S5 P2-S6 S6-P3 P3-S7 P3-S8 P3-S9 S9-P1",
    "P3S8 ring (P-P bond)": "P1-S1 P1-S2 P1-P2 P2-S3 P2-S4 P2-S5 S5-P3 P3-S6 P3-S7 P3-S8 S8-P1",
    "P2S7 ring": "P1-S1 P1-S2 P1-S3 S3-P2 P2-S4 P2-S5 P2-S6 S6-S7 S7-P1",
    "P2S8 ring (S2 and S2 bridges)": "P1-S1 P1-S2 P1-S3 S3-S4 S4-P2 P2-S5 P2-S6 P2-S7 S7-S8 S8-P1",
    "P2S8 ring (S and S3 bridges)": "P1-S1 P1-S2 P1-S3 S3-P2 P2-S4 P2-S5 P2-S6 S6-S7 S7-S8 S8-P1",
    "P4 tetrahedron": "P1-P2 P1-P3 P1-P4 P2-P3 P2-P4 P3-P4",
    "P7 cage": "P1-P2 P1-P3 P1-P4 P2-P5 P3-P6 P4-P7 P5-P6 P6-P7 P5-P7",
    "(PS4)n chain": "P1-S1 P1-S2 P1-S3 S3-S4 S4-P1:1",
    "(PS3)n chain": "P1-S1 P1-S2 P1-S3 S3-P1:1",
    "P layer (black P)": "P1-P2 P1-P2:1 P1-P2:0,1",
}
"""Bond graphs by name."""

CAGES = {
    "P4S3 cage": ("12 13 14", ""),
    "P4S4 cage (P-P bonds apart)": ("13 14 23 24", ""),
    "P4S4 cage (P-P bonds at one P)": ("14 23 24 34", ""),
    "P4S5 cage (5 bridges)": ("13 14 23 24 34", ""),
    "P4S5 cage (4 bridges)": ("14 23 24 34", "2"),
    "P4S6 cage (5 bridges)": ("13 14 23 24 34", "3"),
    "P4S6 cage (6 bridges)": ("12 13 14 23 24 34", ""),
    "P4S7 cage": ("13 14 23 24 34", "34"),
    "P4S8 cage": ("12 13 14 23 24 34", "12"),
    "P4S9 cage": ("12 13 14 23 24 34", "123"),
    "P4S10 cage": ("12 13 14 23 24 34", "1234"),
}
"""Cages made from the P4 tetrahedron: which of its six edges hold an S (the others are P-P bonds), which P hold
an S of their own."""

_BOND = re.compile(r"^([A-Z][a-z]?)(\d+)-([A-Z][a-z]?)(\d+)(?::([-\d,]+))?$")


def known_name(label: str, symbols: Sequence[str], degrees: Sequence[int], dimension: int) -> str | None:
    """Name of a motif, None if it has none of its own.

    Parameters
    ----------
    label : str
        Of its bond graph (:func:`coevo.analysis.motifs.periodic_labels.graph_label`).
    symbols, degrees : sequences, length n
        Elements and numbers of bonds of the atoms of the molecule, or of one cell of a chain, layer or framework.
    dimension : int
    """
    own = _names().get(label)
    if own is not None:
        return own
    if len(set(symbols)) == 1:
        return _element_name(symbols[0], sorted(degrees), dimension)
    return _star_name(symbols, degrees) if dimension == 0 else None


def _element_name(symbol: str, degrees: list[int], dimension: int) -> str | None:
    """Single atoms, and chains and rings of one element."""
    n = len(degrees)
    if dimension == 0:
        if n == 1:
            return f"{symbol} (bare)"
        if degrees == [1, 1] + [2] * (n - 2):
            return f"{symbol}2 pair" if n == 2 else f"{symbol}{n} chain"
        if degrees == [2] * n:
            return f"{symbol}{n} ring"
    return f"{symbol} chain" if dimension == 1 and degrees == [2] * n else None


def _star_name(symbols: Sequence[str], degrees: Sequence[int]) -> str | None:
    """One atom with three, four or six equal ones and nothing else: CO3, PO4, BH4, PF6."""
    centres = [atom for atom, bonds in enumerate(degrees) if bonds > 1]
    ends = {symbols[atom] for atom, bonds in enumerate(degrees) if bonds == 1}
    if len(centres) != 1 or len(ends) != 1 or degrees[centres[0]] not in {3, 4, 6} or len(symbols) - 1 != degrees[centres[0]]:
        return None
    return f"{symbols[centres[0]]}{ends.pop()}{degrees[centres[0]]}"


@cache
def _names() -> dict[str, str]:
    """Names by canonical label."""
    graphs = {**KNOWN, **{name: _cage(*parts) for name, parts in CAGES.items()}}
    return {graph_label(*parsed(text)): name for name, text in graphs.items()}


def parsed(text: str) -> tuple[list[str], list[Bond], int]:
    """Elements, bonds and dimension of a written graph."""
    atoms: dict[tuple[str, str], int] = {}
    bonds: list[Bond] = []
    dimension = 0
    for token in text.split():
        match = _BOND.match(token)
        assert match is not None, token
        first, second = (match[1], match[2]), (match[3], match[4])
        shift = [int(part) for part in match[5].split(",")] if match[5] else []
        dimension = max(dimension, len(shift))
        ends = [atoms.setdefault(atom, len(atoms)) for atom in (first, second)]
        x, y, z = [*shift, 0, 0, 0][:3]
        bonds.append((ends[0], ends[1], (x, y, z)))
    return [symbol for symbol, _ in atoms], bonds, dimension


def _cage(bridged: str, terminal: str) -> str:
    tokens, sulfur = [], 0
    for a, b in combinations("1234", 2):
        if a + b in bridged.split():
            sulfur += 1
            tokens += [f"P{a}-S{sulfur}", f"S{sulfur}-P{b}"]
        else:
            tokens.append(f"P{a}-P{b}")
    for atom in terminal:
        sulfur += 1
        tokens.append(f"P{atom}-S{sulfur}")
    return " ".join(tokens)
