"""Operators of the ASE genetic algorithm (package ``ase_ga``): cut-and-splice, permutation, unit rotation, rattle and strain.

Also here, drawing parents: which stored example, as which supercell, and at what volume its child starts.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from coevo.models.random_crystals.compositions import reduced_key
from coevo.models.random_crystals.geometry import RejectedDrawError, reduced
from coevo.models.random_crystals.units import fragments

if TYPE_CHECKING:
    from collections.abc import Callable

    from ase import Atoms
    from numpy.typing import NDArray
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


_LOOSE = 0.95
"""ASE's operators try again while atoms are too close; they get this fraction of the distances, and the draw is checked after."""


class _OutOfDrawsError(Exception):
    """An ASE operator used up its random numbers."""


class _BoundedRandom:
    """A RandomState that stops after a number of draws, because ASE's operators would try for seconds.

    ``choice`` gives a plain int, which ``CutAndSplicePairing`` asks for to tell a cell vector from a normal.
    """

    def __init__(self, random: np.random.RandomState, draws: int):
        self._random = random
        self._left = draws

    def _use(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise _OutOfDrawsError

    def random(self, *args: Any) -> Any:
        self._use()
        return self._random.random_sample(*args)

    def choice(self, a: Any, *args: Any, **kwargs: Any) -> Any:
        self._use()
        found = self._random.choice(a, *args, **kwargs)
        return int(found) if isinstance(found, np.integer) else found

    def randint(self, *args: Any, **kwargs: Any) -> Any:
        self._use()
        return self._random.randint(*args, **kwargs)

    def normal(self, *args: Any, **kwargs: Any) -> Any:
        self._use()
        return self._random.normal(*args, **kwargs)


def _blmin(context: SamplingContext) -> dict[tuple[int, int], float]:
    from ase.data import atomic_numbers

    return {(atomic_numbers[a], atomic_numbers[b]): _LOOSE * d for (a, b), d in context.minima.items()}


def _legacy(rng: np.random.Generator) -> np.random.RandomState:
    """ASE's operators use the interface of RandomState."""
    return np.random.RandomState(int(rng.integers(2**32 - 1)))


@lru_cache(maxsize=1)
def _atoms_type() -> type[Atoms]:
    from ase import Atoms

    class Placed(Atoms):
        """Atoms that remember their scaled positions, which a pairing asks for again for each of them."""

        _remembered: tuple[bytes, NDArray[np.float64]] | None = None

        def get_scaled_positions(self, wrap: bool = True) -> NDArray[np.float64]:
            of = b"".join((self.positions.tobytes(), np.asarray(self.cell).tobytes(), self.pbc.tobytes(), bytes([wrap])))
            if self._remembered is None or self._remembered[0] != of:
                self._remembered = of, super().get_scaled_positions(wrap)
            return self._remembered[1].copy()

    return Placed


def _atoms(structure: Structure, *, tags: bool) -> Atoms:
    """The structure as ASE atoms sorted by element; with ``tags``, atoms of one unit share a tag, and the units come first."""
    symbols = [site.specie.symbol for site in structure]
    groups: list[list[int]] = [list(f.indices) for f in fragments(structure)] if tags else []
    inside = {i for g in groups for i in g}
    groups += [[i] for i in range(len(symbols)) if i not in inside]
    groups.sort(key=lambda g: (-len(g), [symbols[i] for i in g], g))
    order = [i for g in groups for i in g]
    return _atoms_type()(
        [symbols[i] for i in order],
        scaled_positions=structure.frac_coords[order],
        cell=structure.lattice.matrix,
        pbc=True,
        tags=[t for t, g in enumerate(groups) for _ in g],
    )


def _structure(atoms: Atoms | None, reason: str) -> Structure:
    from pymatgen.core import Structure

    if atoms is None:
        raise RejectedDrawError(reason)
    return reduced(Structure(np.array(atoms.cell), atoms.get_chemical_symbols(), atoms.get_scaled_positions()))


def _mutated(mutation: Any, atoms: Atoms) -> Structure:
    try:
        return _structure(mutation.mutate(atoms), "no_offspring")
    except _OutOfDrawsError:
        raise RejectedDrawError("no_offspring") from None


def crossover(context: SamplingContext, rng: np.random.Generator) -> tuple[Structure, dict[str, Any]]:
    """Cut-and-splice of two parents of one composition (Deaven and Ho; variable cells after Glass, Oganov and Hansen)."""
    from ase import Atoms
    from ase_ga.cutandsplicepairing import CutAndSplicePairing

    first, a = pick_parent(context, rng, lambda p: allowed(context, p))
    key = reduced_key({s: first.species.count(s) for s in set(first.species)})

    def mate(p: Parent) -> bool:
        return (
            p.id != first.id
            and reduced_key({s: p.species.count(s) for s in set(p.species)}) == key
            and len(a) % len(p.species) == 0
        )

    options = [(p, w) for p, w in context.parents if mate(p)]
    second = options[context.pick([w for _, w in options], rng)][0] if options else first
    if len(a) % len(second.species):
        raise RejectedDrawError("no_mate")
    b = supercell(parent_structure(second), len(a) // len(second.species), rng)
    tags = bool(rng.random() < 0.7)
    x, y = _atoms(a, tags=tags), _atoms(b, tags=tags)
    if tags and not (np.array_equal(x.numbers, y.numbers) and np.array_equal(x.get_tags(), y.get_tags())):
        tags = False
        x, y = _atoms(a, tags=False), _atoms(b, tags=False)
    pairing = CutAndSplicePairing(
        Atoms(cell=x.cell, pbc=True),
        len(x),
        _blmin(context),
        number_of_variable_cell_vectors=3,
        p2=0.5,
        minfrac=0.2,
        use_tags=tags,
        rng=_BoundedRandom(_legacy(rng), 500),
    )
    try:
        child = pairing.cross(x, y)
    except _OutOfDrawsError:
        child = None
    return scaled(_structure(child, "no_offspring"), context, rng), origin("crossover", first, second)


def permutation(context: SamplingContext, rng: np.random.Generator) -> tuple[Structure, dict[str, Any]]:
    """Atoms of different elements change places, then the cell is strained."""
    from ase_ga.standardmutations import PermutationMutation

    parent, structure = pick_parent(context, rng, lambda p: allowed(context, p) and len(set(p.species)) > 1)
    random = _BoundedRandom(_legacy(rng), 2000)
    mutation = PermutationMutation(len(structure), probability=0.3, blmin=_blmin(context), rng=random)
    return scaled(_mutated(mutation, _atoms(structure, tags=False)), context, rng), origin("permutation", parent)


def rotation(context: SamplingContext, rng: np.random.Generator) -> tuple[Structure, dict[str, Any]]:
    """Some units turn by a large angle."""
    from ase_ga.standardmutations import RotationalMutation

    parent, structure = pick_parent(context, rng, lambda p: allowed(context, p))
    atoms = _atoms(structure, tags=True)
    if len(set(atoms.get_tags())) == len(atoms):
        raise RejectedDrawError("no_unit")
    mutation = RotationalMutation(
        _blmin(context), n_top=len(atoms), fraction=0.6, min_angle=0.6, rng=_BoundedRandom(_legacy(rng), 2000)
    )
    return scaled(_mutated(mutation, atoms), context, rng), origin("rotation", parent)


def rattle(context: SamplingContext, rng: np.random.Generator) -> tuple[Structure, dict[str, Any]]:
    """Most atoms move by up to 0.9 Å along each axis in a strained cell."""
    from ase_ga.standardmutations import RattleMutation, StrainMutation
    from ase_ga.utilities import CellBounds

    parent, structure = pick_parent(context, rng, lambda p: allowed(context, p))
    random = _BoundedRandom(_legacy(rng), 1500)
    bounds = CellBounds({"phi": [30, 150], "chi": [30, 150], "psi": [30, 150]})
    strained = _mutated(
        StrainMutation(_blmin(context), cellbounds=bounds, stddev=0.12, rng=random), _atoms(structure, tags=False)
    )
    mutation = RattleMutation(_blmin(context), len(structure), rattle_strength=0.9, rattle_prop=0.6, rng=random)
    return scaled(_mutated(mutation, _atoms(strained, tags=False)), context, rng), origin("rattle", parent)
