"""The batched crystal graph that the network reads: bonds, and angles between short bonds, of several crystals at once."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from coevo.models.relaxing.neighbours import JoinedPairs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from coevo.models.contracts import FloatArray
    from coevo.models.relaxing.neighbours import PairList

    IntArray = NDArray[np.int64]


MAX_PAIRS_PER_PASS = 8_000
"""Candidate pairs that pass through the network at once: about 250 atoms and 300 MB; more at once would not be faster."""


@dataclass(frozen=True)
class Graph:
    """Bonds and angles of a batch; every bond is held once, the shorter ones (bond-graph cutoff) first.

    Attributes
    ----------
    numbers : ndarray of int64, shape (n_atoms,)
        Atomic numbers.
    owner : ndarray of int64, shape (n_atoms,)
        Crystal of each atom.
    counts : ndarray of int64, shape (n_crystals,)
        Atoms per crystal.
    first, second : ndarray of int64, shape (n_bonds,)
        Ends of each bond.
    vectors : ndarray, shape (n_bonds, 3)
        From first to second, Å.
    n_short : int
        Bonds below the bond-graph cutoff; they come first.
    angle_atom, angle_first, angle_second : ndarray of int64, shape (n_angles,)
        Centre of each angle and its two (short) bonds, as an ordered pair.
    angle_pair : ndarray of int64, shape (n_angles,)
        Unordered pair of bonds that each angle belongs to; the two orders of a pair have the same angle.
    pair_first, pair_second : ndarray of int64, shape (n_pairs,)
        Short bonds of each unordered pair.
    pair_sign : ndarray, shape (n_pairs,)
        +1 if both bonds leave, or both reach, the centre; −1 otherwise.
    """

    numbers: IntArray
    owner: IntArray
    counts: IntArray
    first: IntArray
    second: IntArray
    vectors: FloatArray
    n_short: int
    angle_atom: IntArray
    angle_first: IntArray
    angle_second: IntArray
    angle_pair: IntArray
    pair_first: IntArray
    pair_second: IntArray
    pair_sign: FloatArray

    @property
    def n_crystals(self) -> int:
        """Crystals in the batch."""
        return len(self.counts)


class CandidatePairs(JoinedPairs):
    """Candidate pairs of a batch, joined from the pair lists of its crystals."""

    def __init__(self, numbers: Sequence[IntArray], pairs: Sequence[PairList]) -> None:
        super().__init__(np.array([len(z) for z in numbers], dtype=np.int64), pairs)
        self.numbers = np.concatenate(numbers)

    def graph(self, positions: FloatArray, cells: FloatArray, atom_cutoff: float, bond_cutoff: float) -> Graph:
        """Keep the pairs that are bonds now and find the angles between the short ones.

        Parameters
        ----------
        positions : ndarray, shape (n_atoms, 3)
            Cartesian, Å.
        cells : ndarray, shape (n_crystals, 3, 3)
            Å.
        atom_cutoff, bond_cutoff : float
            Longest bond, and longest bond that takes part in angles, Å.
        """
        vectors = self.vectors(positions, cells)
        square = (vectors**2).sum(axis=1)
        short = np.flatnonzero(square < bond_cutoff**2)
        long = np.flatnonzero((square >= bond_cutoff**2) & (square < atom_cutoff**2))
        keep = np.concatenate([short, long])
        first, second = self.first[keep], self.second[keep]
        n_short = len(short)
        angle_atom, left, right, pair = _angles(first[:n_short], second[:n_short])
        once = np.zeros(len(left) // 2, dtype=np.int64)
        once[pair[::-1]] = np.arange(len(left))[::-1]  # the first angle of each pair
        divisor = max(n_short, 1)
        return Graph(
            numbers=self.numbers,
            owner=self.owner,
            counts=self.counts,
            first=first,
            second=second,
            vectors=vectors[keep],
            n_short=n_short,
            angle_atom=angle_atom,
            angle_first=left % divisor,
            angle_second=right % divisor,
            angle_pair=pair,
            pair_first=left[once] % divisor,
            pair_second=right[once] % divisor,
            pair_sign=np.where((left[once] < n_short) == (right[once] < n_short), 1.0, -1.0),
        )


class CandidateGroups:
    """A batch cut into consecutive groups of crystals that pass through the network together.

    Parameters
    ----------
    numbers : sequence of ndarray
        Atomic numbers of each crystal.
    pairs : sequence of PairList
        Of each crystal.
    """

    def __init__(self, numbers: Sequence[IntArray], pairs: Sequence[PairList]) -> None:
        self.counts = np.array([len(z) for z in numbers], dtype=np.int64)
        bounds, held = [0], 0
        for k, one in enumerate(pairs):
            if held and held + len(one.first) > MAX_PAIRS_PER_PASS:
                bounds.append(k)
                held = 0
            held += len(one.first)
        bounds.append(len(pairs))
        self.crystals = [slice(start, end) for start, end in itertools.pairwise(bounds)]
        atoms = np.concatenate([[0], np.cumsum(self.counts)])
        self.atoms = [slice(int(atoms[group.start]), int(atoms[group.stop])) for group in self.crystals]
        self.groups = [CandidatePairs(numbers[group], pairs[group]) for group in self.crystals]

    def graphs(self, positions: FloatArray, cells: FloatArray, atom_cutoff: float, bond_cutoff: float) -> list[Graph]:
        """The graph of each group; parameters as in :meth:`CandidatePairs.graph`."""
        return [
            group.graph(positions[atoms], cells[crystals], atom_cutoff, bond_cutoff)
            for group, crystals, atoms in zip(self.groups, self.crystals, self.atoms, strict=True)
        ]


def _angles(first: IntArray, second: IntArray) -> tuple[IntArray, IntArray, IntArray, IntArray]:
    """All ordered pairs of distinct directed bonds that leave the same atom.

    Directed bond ``d`` is bond ``d`` leaving its first atom for ``d < n`` and bond ``d − n`` leaving its second atom otherwise.

    Returns
    -------
    centre, left, right, pair : ndarray of int64, shape (n_angles,)
        Atom, the two directed bonds, and the number of the unordered pair.
    """
    centre = np.concatenate([first, second])
    order = np.argsort(centre, kind="stable")
    sorted_centre = centre[order]
    counts = np.bincount(sorted_centre) if len(centre) else np.zeros(0, dtype=np.int64)
    starts = np.cumsum(counts) - counts
    partners = counts[sorted_centre] - 1
    first_angle = np.cumsum(partners) - partners
    left = np.repeat(np.arange(len(centre)), partners)
    rank = np.arange(len(left)) - first_angle[left]
    position = left - starts[sorted_centre[left]]
    partner = rank + (rank >= position)
    right = starts[sorted_centre[left]] + partner
    # The angle (right, left) lies among those of ``right``, at the place of ``left`` there.
    reverse = first_angle[right] + position - (position > partner)
    upper = left < right
    number = np.cumsum(upper) - 1
    pair = np.where(upper, number, number[reverse])
    return sorted_centre[left], order[left], order[right], pair
