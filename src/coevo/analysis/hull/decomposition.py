"""What a phase would decompose into: the most stable mixture of other phases, in formula units."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from coevo.analysis.composition import as_composition, fractions
from coevo.analysis.hull.hull import Hull
from coevo.errors import AnalysisError

if TYPE_CHECKING:
    from collections.abc import Sequence


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
