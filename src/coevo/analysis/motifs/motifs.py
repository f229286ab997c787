"""Motifs: the anions, molecules, chains, layers and frameworks that the non-metal atoms of a crystal form.

A motif is a connected piece of the periodic bond graph (:mod:`coevo.analysis.motifs.bonds`). Its label does not depend on cell,
setting or order of atoms; it holds the charge, so that the flat PS3 - and the pyramidal PS3 3- are two motifs.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from hashlib import sha256
from math import gcd
from typing import TYPE_CHECKING, Any

import numpy as np

from coevo.analysis.cell_reduction import Crystal
from coevo.analysis.motifs.bond_graphs import pieces
from coevo.analysis.motifs.bonds import DEFAULT_RULE, is_metal, symbol_of
from coevo.analysis.motifs.charges import Surroundings, formal_charge, pyramid_or_flat
from coevo.analysis.motifs.names import known_name
from coevo.analysis.motifs.periodic_labels import (
    KINDS,
    electronegativity,
    formula_content,
    formula_text,
    graph_label,
    neighbours_in,
)
from coevo.analysis.motifs.rings import bridges, endless_rings, molecule_rings

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pymatgen.core import Structure

    from coevo.analysis.motifs.bond_graphs import Piece
    from coevo.analysis.motifs.bonds import BondRule

Point = tuple[float, float, float]
_DIGITS = 4


@dataclass(frozen=True)
class Motif:
    """A kind of anion, molecule, chain, layer or framework; two are equal if their labels are.

    Attributes
    ----------
    label : str
        Canonical: formula, kind, hash of the bond graph, charge.
    name : str
        For people, plain text: ``"P2S6 (P-P bond)"``, or formula and four digits of the label, ``"P3S7 #a1b2"``.
    formula : str
        Of the molecule, ``"P2S7"``; of a unit of an endless motif, ``"(PS4)n"``.
    charge : int or None
        Of the molecule, or of a unit, elementary charges; None where it cannot be counted (:mod:`coevo.analysis.motifs.charges`).
    dimension : int
        0 to 3.
    kind : {"molecule", "chain", "layer", "framework"}
        Single atoms and ions are molecules.
    rings : tuple of int
        Of a molecule: sizes of a minimum cycle basis; else: of the smallest ring through each bond, each size once.
    bridges : dict of str to float
        Counts per molecule or unit (:func:`coevo.analysis.motifs.rings.bridges`).
    known : bool
        Whether it has a name of its own.
    count : int
        Pieces of this kind in the cell of the structure.
    units : int
        Their formula units in the cell; the molecules, for molecules.
    atoms : int
        Their atoms in the cell.
    symbols, positions : tuples, length n
        Elements and places (Å) of one example.
    bonds : tuple of (int, int, (float, float, float))
        Each once: two atoms of the example, and the vector from the first to its bonded neighbour, Å; where the bond leaves the
        example, that is an image of the second atom.
    """

    label: str
    name: str = field(compare=False)
    formula: str = field(compare=False)
    charge: int | None = field(compare=False)
    dimension: int = field(compare=False)
    kind: str = field(compare=False)
    rings: tuple[int, ...] = field(compare=False)
    bridges: dict[str, float] = field(compare=False)
    known: bool = field(compare=False)
    count: int = field(compare=False)
    units: int = field(compare=False)
    atoms: int = field(compare=False)
    symbols: tuple[str, ...] = field(compare=False, repr=False)
    positions: tuple[Point, ...] = field(compare=False, repr=False)
    bonds: tuple[tuple[int, int, Point], ...] = field(compare=False, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types, without the example."""
        return {
            "label": self.label,
            "name": self.name,
            "formula": self.formula,
            "charge": self.charge,
            "dimension": self.dimension,
            "kind": self.kind,
            "rings": list(self.rings),
            "bridges": dict(self.bridges),
            "known": self.known,
        }


def motifs_of(structure: Structure | Crystal, rule: BondRule = DEFAULT_RULE) -> list[Motif]:
    """Motifs of a crystal, each kind once, by name and label.

    Parameters
    ----------
    structure : Structure or Crystal
        Ordered.
    rule : BondRule
        Which atoms are bonded.

    Returns
    -------
    list of Motif
        With ``count`` and ``atoms`` of this cell; empty for a metal.
    """
    crystal = structure if isinstance(structure, Crystal) else Crystal.from_structure(structure)
    found: dict[str, list[Motif]] = {}
    for piece in pieces(crystal, rule):
        motif = _motif(crystal, piece)
        found.setdefault(motif.label, []).append(motif)
    kinds = [_counted(alike) for alike in found.values()]
    return sorted(kinds, key=lambda motif: (motif.name, motif.label))


def motif_of_each_atom(structure: Structure | Crystal, rule: BondRule = DEFAULT_RULE) -> list[str | None]:
    """Name of the motif in which each atom sits, in the order of the sites; None for a metal."""
    crystal = structure if isinstance(structure, Crystal) else Crystal.from_structure(structure)
    found: list[str | None] = [None] * len(crystal.numbers)
    for piece in pieces(crystal, rule):
        name = _motif(crystal, piece).name
        for atom in piece.atoms:
            found[atom] = name
    return found


def unbalanced_charge(structure: Structure | Crystal, found: list[Motif]) -> int | None:
    """Sum of the charges of a structure's motifs and of its metals in their usual states; zero if they balance.

    Parameters
    ----------
    structure : Structure or Crystal
    found : list of Motif
        Of that structure.

    Returns
    -------
    int or None
        None if there is no motif, if a charge is unknown, or if a metal has several usual states.
    """
    crystal = structure if isinstance(structure, Crystal) else Crystal.from_structure(structure)
    if not found:
        return None
    total = 0
    for motif in found:
        if motif.charge is None:
            return None
        total += motif.charge * motif.units
    for number, count in Counter(crystal.numbers.tolist()).items():
        if is_metal(number):
            state = _only_state(symbol_of(number))
            if state is None:
                return None
            total += state * count
    return total


def _only_state(symbol: str) -> int | None:
    from pymatgen.core import Element

    states = Element(symbol).common_oxidation_states
    return int(states[0]) if len(states) == 1 else None


def _motif(crystal: Crystal, piece: Piece) -> Motif:
    """A motif from one piece of a crystal, the only one of its kind so far."""
    numbers = crystal.numbers[list(piece.atoms)].tolist()
    symbols = tuple(symbol_of(z) for z in numbers)
    positions = (crystal.fractional[list(piece.atoms)] + np.array(piece.cells)) @ crystal.cell
    vectors = _bond_vectors(crystal, piece, positions)
    around = Surroundings(numbers, _with_vectors(len(numbers), piece, vectors))
    neighbours = neighbours_in(len(numbers), piece.bonds)
    content, units = formula_content(symbols, piece.dimension)
    total = formal_charge(around)
    # A unit whose charge is not whole is taken several times.
    times = 1 if total is None else units // gcd(total, units)
    graph = graph_label(symbols, piece.bonds, piece.dimension)
    charge = None if total is None else total * times // units
    label = f"{graph}{'' if charge is None else f'({charge:+d})'}"
    formula = formula_text({symbol: number * times for symbol, number in content.items()})
    own = _own_name(graph, around, piece.dimension)
    return Motif(
        label=label,
        name=own or _numbered_name(formula, label, piece.dimension),
        formula=f"({formula})n" if piece.dimension else formula,
        charge=charge,
        dimension=piece.dimension,
        kind=KINDS[piece.dimension],
        rings=endless_rings(neighbours) if piece.dimension else molecule_rings(len(numbers), piece.bonds),
        bridges=bridges(symbols, [electronegativity(symbol) for symbol in symbols], neighbours, units // times),
        known=own is not None,
        count=1,
        units=units // times,
        atoms=len(numbers),
        symbols=symbols,
        positions=tuple((x, y, z) for x, y, z in positions.tolist()),
        bonds=tuple((i, j, (x, y, z)) for (i, j, _), (x, y, z) in zip(piece.bonds, vectors.tolist(), strict=True)),
    )


def _own_name(graph: str, around: Surroundings, dimension: int) -> str | None:
    degrees = [around.degree(atom) for atom in range(len(around.symbols))]
    name = known_name(graph, around.symbols, degrees, dimension)
    if name is not None and dimension == 0 and sorted(degrees) == [1, 1, 1, 3]:
        return f"{name} ({pyramid_or_flat(around, degrees.index(3)) or 'between flat and pyramidal'})"
    return name


def _numbered_name(formula: str, label: str, dimension: int) -> str:
    digits = sha256(label.encode()).hexdigest()[:_DIGITS]
    return f"({formula})n {KINDS[dimension]} #{digits}" if dimension else f"{formula} #{digits}"


def _bond_vectors(crystal: Crystal, piece: Piece, positions: NDArray[np.float64]) -> NDArray[np.float64]:
    """From the first atom of each bond to the second, Å, shape (bonds, 3)."""
    if not piece.bonds:
        return np.empty((0, 3))
    first, second = (np.array([bond[end] for bond in piece.bonds]) for end in (0, 1))
    images = np.array([image for _, _, image in piece.bonds])
    return np.asarray(positions[second] + images @ crystal.cell - positions[first])


def _with_vectors(count: int, piece: Piece, vectors: NDArray[np.float64]) -> list[list[tuple[int, NDArray[np.float64]]]]:
    found: list[list[tuple[int, NDArray[np.float64]]]] = [[] for _ in range(count)]
    for (i, j, _), vector in zip(piece.bonds, vectors, strict=True):
        found[i].append((j, vector))
        found[j].append((i, -vector))
    return found


def _counted(alike: list[Motif]) -> Motif:
    count = len(alike)
    return replace(
        alike[0], count=count, units=sum(motif.units for motif in alike), atoms=sum(len(motif.symbols) for motif in alike)
    )
