"""Lower convex hull of energy over composition: formation energies and energies above hull, for many structures at once.

Also here, what a phase would decompose into: the most stable mixture of other phases, in formula units.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from coevo.analysis.composition import as_composition, fractions
from coevo.analysis.hull.facets import INSIDE, PURE, FacetSearch, distinct_rows, lower_hull, weighted_sum
from coevo.errors import AnalysisError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    FloatArray = NDArray[np.float64]
    IntArray = NDArray[np.int64]

ROUNDING = 1e-12
"""eV/atom; a point this little below the hull lies on it: Qhull merges facets whose points agree to rounding."""


@dataclass(frozen=True)
class Hull:
    """Convex hull of one chemical system on one energy scale.

    Made by :meth:`from_points`. The value of the hull at a composition is
    the energy of the simplex of stable points that contains it; where rounding leaves several, the lowest. (Interpolation inside
    a simplex is bounded by its vertices, while the planes of sliver facets, extended to other compositions, are not.)

    Attributes
    ----------
    elements : tuple of str, length k
    terminals : ndarray, shape (k,)
        Lowest energy of each element, eV/atom.
    vertices : ndarray of int, shape (v,)
        Indices, into the points given, of the corners of the hull: the stable phases. Of equal points the first.
    simplices : ndarray of int, shape (s, k)
        Facets, as positions in ``vertices``.
    vertex_fractions : ndarray, shape (v, k)
    vertex_energies : ndarray, shape (v,)
        Formation energies, eV/atom.
    """

    elements: tuple[str, ...]
    terminals: FloatArray
    vertices: IntArray
    simplices: IntArray
    vertex_fractions: FloatArray
    vertex_energies: FloatArray

    @classmethod
    def from_points(cls, elements: Sequence[str], fractions: ArrayLike, energies_per_atom: ArrayLike) -> Hull:
        """Build the hull of all the points.

        Parameters
        ----------
        elements : sequence of str, length k
        fractions : array, shape (n, k)
            Atomic fractions, rows sum to 1.
        energies_per_atom : array, shape (n,)
            eV/atom, all on one scale.

        Raises
        ------
        AnalysisError
            If elements have no point of their own (all of them are named), a number is not finite, or shapes or fractions do
            not fit.
        """
        symbols = tuple(elements)
        x, energies = _checked(symbols, fractions, energies_per_atom)
        terminal_indices = _terminals(symbols, x, energies)
        terminals = energies[terminal_indices]
        formation = energies - weighted_sum(x, terminals)
        vertices, simplices = lower_hull(x, formation, terminal_indices)
        return cls(symbols, terminals, vertices, simplices, x[vertices], formation[vertices])

    def formation_energy(self, fractions: ArrayLike, energies_per_atom: ArrayLike) -> FloatArray:
        """Energy relative to the lowest phase of each element, shape (m,), eV/atom."""
        x, energies = _checked(self.elements, fractions, energies_per_atom)
        return energies - weighted_sum(x, self.terminals)

    def energy_above_hull(self, fractions: ArrayLike, energies_per_atom: ArrayLike) -> FloatArray:
        """Energy above hull.

        Each composition is looked for once, however many points share it.

        Parameters
        ----------
        fractions : array, shape (m, k)
        energies_per_atom : array, shape (m,)
            eV/atom, on the scale of the hull's points.

        Returns
        -------
        ndarray, shape (m,)
            eV/atom. Never negative for points that the hull was made of; a point that was not among them may lie below.
        """
        x, energies = _checked(self.elements, fractions, energies_per_atom)
        above = energies - weighted_sum(x, self.terminals) - self._hull_formation_energy(x)
        above[(above < 0) & (above > -ROUNDING)] = 0.0
        return above

    def energy(self, fractions: ArrayLike) -> FloatArray:
        """Energy of the hull itself at compositions of shape (m, k); shape (m,), eV/atom."""
        x = self._compositions(fractions)
        return weighted_sum(x, self.terminals) + self._hull_formation_energy(x)

    def decomposition(self, fractions: ArrayLike) -> dict[int, float]:
        """Stable phases into which one composition, shape (k,), decomposes.

        Where more phases than elements lie on one plane the decomposition is not unique: one of equal energy is given.

        Returns
        -------
        dict of int to float
            Index of the point the hull was made of, to its share of the atoms; shares of no more than 1e-9 are left out.
        """
        _, (facet,), (weights,) = self._search.locate(self._compositions(np.atleast_2d(np.asarray(fractions, dtype=float))))
        corners = self.vertices[self.simplices[facet]]
        return {corner: share for corner, share in zip(corners.tolist(), weights.tolist(), strict=True) if share > INSIDE}

    @cached_property
    def _search(self) -> FacetSearch:
        return FacetSearch(self.vertex_fractions[self.simplices], self.vertex_energies[self.simplices])

    def _compositions(self, fractions: ArrayLike) -> FloatArray:
        rows = np.asarray(fractions, dtype=float)
        return _checked(self.elements, rows, np.zeros(rows.shape[:1]))[0]

    def _hull_formation_energy(self, x: FloatArray) -> FloatArray:
        order, starts = distinct_rows(x)
        values, _, _ = self._search.locate(x[order[starts]])
        result = np.empty(len(x))
        result[order] = np.repeat(values, np.diff(starts, append=len(x)))
        return result


def _checked(elements: tuple[str, ...], fractions: ArrayLike, energies: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Both arrays as floats, or an error that says which number is wrong."""
    x = np.asarray(fractions, dtype=float)
    e = np.asarray(energies, dtype=float)
    if x.ndim != 2 or x.shape[1] != len(elements) or e.shape != (len(x),):
        raise AnalysisError(
            f"fractions have shape {x.shape} and energies {e.shape}; "
            f"expected (n, {len(elements)}) for {'-'.join(elements)} and (n,)"
        )
    if not np.isfinite(e).all():
        raise AnalysisError(f"energy number {int(np.flatnonzero(~np.isfinite(e))[0])} is not finite; leave failed structures out")
    wrong = ~(np.abs(x.sum(axis=1) - 1.0) < 1e-8) | ~(x >= 0).all(axis=1)
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise AnalysisError(f"fractions of point {row} are {x[row].tolist()}; they must be >= 0 and sum to 1")
    return x, e


def _terminals(elements: tuple[str, ...], x: FloatArray, energies: FloatArray) -> IntArray:
    """Index of the lowest point of each element; the first of equals."""
    pure = [np.flatnonzero(x[:, column] > PURE) for column in range(len(elements))]
    missing = [symbol for symbol, points in zip(elements, pure, strict=True) if not len(points)]
    if missing:
        each = "each of the elements" if len(missing) > 1 else "the element"
        raise AnalysisError(
            f"the hull has no phase of pure {', '.join(missing)}; "
            f"add at least one reference structure of {each} {', '.join(missing)}"
        )
    return np.array([points[energies[points].argmin()] for points in pure], dtype=np.int64)


@dataclass(frozen=True)
class Product:
    """One phase of a mixture.

    Attributes
    ----------
    index : int
        Of the phase, as given.
    amount : float
        Formula units of it for one formula unit of the phase that decomposes.
    atomic_fraction : float
        Share of the atoms; those of all products sum to 1.
    """

    index: int
    amount: float
    atomic_fraction: float


@dataclass(frozen=True)
class Decomposition:
    """The products, the largest share first; ``energy`` is that of the phase less theirs, eV/atom."""

    products: list[Product]
    energy: float


def decomposition(
    elements: Sequence[str], formula: Any, energy_per_atom: float, others: Sequence[tuple[Any, float]]
) -> Decomposition | None:
    """Decompose a phase into others.

    Parameters
    ----------
    elements : sequence of str
        Chemical system.
    formula : Composition or str
    energy_per_atom : float
        eV/atom, on the scale of ``others``.
    others : sequence of (composition, eV/atom)
        All phases that may form; the phase itself and its copies are not among them.

    Returns
    -------
    Decomposition or None
        With a positive energy if the phase is unstable, and a negative one if it is a phase of the hull: by so much it is more
        stable than the mixture. None if the others have not each of the phase's elements.
    """
    composition = as_composition(formula)
    wanted = [element for element in elements if composition[element] > 0]
    within = [number for number, (other, _) in enumerate(others) if set(_symbols(other)) <= set(wanted)]
    try:
        hull = Hull.from_points(
            wanted, fractions([others[number][0] for number in within], wanted), [others[number][1] for number in within]
        )
    except AnalysisError:
        return None
    shares = hull.decomposition(fractions([composition], wanted)[0])
    (at_hull,) = hull.energy(fractions([composition], wanted))
    atoms = composition.reduced_composition.num_atoms
    products = [
        Product(within[corner], share * atoms / as_composition(others[within[corner]][0]).reduced_composition.num_atoms, share)
        for corner, share in shares.items()
    ]
    return Decomposition(sorted(products, key=lambda p: -p.atomic_fraction), float(energy_per_atom - at_hull))


def _symbols(source: Any) -> list[str]:
    return [element.symbol for element in as_composition(source)]
