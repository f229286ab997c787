"""Drawing parents: which stored example, as which supercell, and at what volume its child starts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from coevo.models.random_crystals.geometry import RejectedDrawError, reduced

if TYPE_CHECKING:
    from collections.abc import Callable

    from pymatgen.core import Structure

    from coevo.models.random_crystals.context import SamplingContext
    from coevo.models.random_crystals.knowledge import Parent


def parent_structure(parent: Parent) -> Structure:
    """The structure of a stored parent."""
    from pymatgen.core import Lattice, Structure

    return Structure(Lattice(parent.lattice), list(parent.species), np.array(parent.coordinates))


def supercell(structure: Structure, multiple: int, rng: np.random.Generator) -> Structure:
    """A supercell of random shape (a random Hermite normal form of the given determinant), reduced."""
    if multiple == 1:
        return structure
    shapes = [
        (a, b, multiple // (a * b)) for a in range(1, multiple + 1) for b in range(1, multiple + 1) if multiple % (a * b) == 0
    ]
    a, b, c = shapes[int(rng.integers(len(shapes)))]
    matrix = [[a, int(rng.integers(a)) if a > 1 else 0, 0], [0, b, 0], [0, 0, c]]
    if b > 1:
        matrix[1][2] = int(rng.integers(b))
    return reduced(structure.copy().make_supercell(matrix, in_place=False))


def pick_parent(
    context: SamplingContext, rng: np.random.Generator, accept: Callable[[Parent], bool] = lambda _: True
) -> tuple[Parent, Structure]:
    """Draw a parent by weight, as a supercell of random size that still fits the conditions.

    Raises
    ------
    RejectedDrawError
        If no parent is small enough.
    """
    limit = context.conditions.max_atoms
    options = [(p, w) for p, w in context.parents if len(p.species) <= limit and accept(p)]
    if not options:
        raise RejectedDrawError("no_parent")
    parent = options[context.pick([w for _, w in options], rng)][0]
    multiples = np.arange(1, limit // len(parent.species) + 1)
    # Large cells hold more distinct structures: they are drawn as the square of their size.
    multiple = int(rng.choice(multiples, p=multiples**2 / (multiples**2).sum()))
    return parent, supercell(parent_structure(parent), multiple, rng)


def allowed(context: SamplingContext, parent: Parent) -> bool:
    """Whether a parent's own composition may be returned under the conditions."""
    return context.wants({s: parent.species.count(s) for s in sorted(set(parent.species))})


def scaled(structure: Structure, context: SamplingContext, rng: np.random.Generator) -> Structure:
    """The structure at a volume near the prediction for its composition."""
    amounts = {s: int(n) for s, n in sorted(structure.composition.get_el_amt_dict().items())}
    copy = structure.copy()
    copy.scale_lattice(0.5 * (structure.volume + context.draw_volume(amounts, rng)))
    return copy


def origin(operator: str, *parents: Parent) -> dict[str, Any]:
    """Origin of a child (JSON): its operator and the ids of its parents."""
    return {"operator": operator, "parents": [p.id for p in parents]}
