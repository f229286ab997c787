"""Operators: variation of good parents.

Cut-and-splice, permutation, unit rotation, rattle and strain are those of the ASE genetic algorithm (package ``ase_ga``);
re-placing cations, changing the composition and sliding layers are ours.

Each operator changes enough that relaxation does not simply lead back to the parent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from coevo.models.embedded.cells import Cell, best_filling
from coevo.models.embedded.chemistry import is_cation
from coevo.models.embedded.compositions import reduced_key
from coevo.models.embedded.geometry import RejectedDrawError, reduced
from coevo.models.embedded.units import fragments

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ase import Atoms
    from pymatgen.core import Structure

    from coevo.models.embedded.context import SamplingContext
    from coevo.models.embedded.knowledge import Parent

    Operator = Callable[[SamplingContext, np.random.Generator], tuple[Structure, dict[str, Any]]]

_LOOSE = 0.95
"""ASE's operators try again while atoms are too close; they get this fraction of the distances, and the draw is checked after."""

_VOID_POINTS = 24
"""Random points of which an added atom takes the roomiest."""

_FILLINGS = 6
"""Ways of filling the voids, at most, of which the one of lowest electrostatic energy is taken."""

_LARGEST_ORDER = 48

_LARGEST_CHANGE = 5
"""Atoms that are substituted, added or removed, at most."""


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


def _allowed(context: SamplingContext, parent: Parent) -> bool:
    """Whether a parent's own composition may be returned under the conditions."""
    return context.wants({s: parent.species.count(s) for s in sorted(set(parent.species))})


def _blmin(context: SamplingContext) -> dict[tuple[int, int], float]:
    from ase.data import atomic_numbers

    return {(atomic_numbers[a], atomic_numbers[b]): _LOOSE * d for (a, b), d in context.minima.items()}


def _legacy(rng: np.random.Generator) -> np.random.RandomState:
    """ASE's operators use the interface of RandomState."""
    return np.random.RandomState(int(rng.integers(2**32 - 1)))


def _atoms(structure: Structure, *, tags: bool) -> Atoms:
    """The structure as ASE atoms sorted by element; with ``tags``, atoms of one unit share a tag, and the units come first."""
    from ase import Atoms

    symbols = [site.specie.symbol for site in structure]
    groups: list[list[int]] = [list(f.indices) for f in fragments(structure)] if tags else []
    inside = {i for g in groups for i in g}
    groups += [[i] for i in range(len(symbols)) if i not in inside]
    groups.sort(key=lambda g: (-len(g), [symbols[i] for i in g], g))
    order = [i for g in groups for i in g]
    return Atoms(
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


def _origin(operator: str, *parents: Parent) -> dict[str, Any]:
    return {"operator": operator, "parents": [p.id for p in parents]}


def _scaled(structure: Structure, context: SamplingContext, rng: np.random.Generator) -> Structure:
    """The structure at a volume near the prediction for its composition."""
    amounts = {s: int(n) for s, n in sorted(structure.composition.get_el_amt_dict().items())}
    copy = structure.copy()
    copy.scale_lattice(0.5 * (structure.volume + context.draw_volume(amounts, rng)))
    return copy


def crossover(context: SamplingContext, rng: np.random.Generator) -> tuple[Structure, dict[str, Any]]:
    """Cut-and-splice of two parents of one composition (Deaven and Ho; variable cells after Glass, Oganov and Hansen)."""
    from ase import Atoms
    from ase_ga.cutandsplicepairing import CutAndSplicePairing

    first, a = pick_parent(context, rng, lambda p: _allowed(context, p))
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
    return _scaled(_structure(child, "no_offspring"), context, rng), _origin("crossover", first, second)


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


def _mutated(mutation: Any, atoms: Atoms) -> Structure:
    try:
        return _structure(mutation.mutate(atoms), "no_offspring")
    except _OutOfDrawsError:
        raise RejectedDrawError("no_offspring") from None


def permutation(context: SamplingContext, rng: np.random.Generator) -> tuple[Structure, dict[str, Any]]:
    """Atoms of different elements change places, then the cell is strained."""
    from ase_ga.standardmutations import PermutationMutation

    parent, structure = pick_parent(context, rng, lambda p: _allowed(context, p) and len(set(p.species)) > 1)
    random = _BoundedRandom(_legacy(rng), 2000)
    mutation = PermutationMutation(len(structure), probability=0.3, blmin=_blmin(context), rng=random)
    return _scaled(_mutated(mutation, _atoms(structure, tags=False)), context, rng), _origin("permutation", parent)


def rotation(context: SamplingContext, rng: np.random.Generator) -> tuple[Structure, dict[str, Any]]:
    """Some units turn by a large angle, and the cations are placed anew."""
    from ase_ga.standardmutations import RotationalMutation

    parent, structure = pick_parent(context, rng, lambda p: _allowed(context, p))
    atoms = _atoms(structure, tags=True)
    if len(set(atoms.get_tags())) == len(atoms):
        raise RejectedDrawError("no_unit")
    mutation = RotationalMutation(
        _blmin(context), n_top=len(atoms), fraction=0.6, min_angle=0.6, rng=_BoundedRandom(_legacy(rng), 2000)
    )
    return _scaled(_mutated(mutation, atoms), context, rng), _origin("rotation", parent)


def rattle(context: SamplingContext, rng: np.random.Generator) -> tuple[Structure, dict[str, Any]]:
    """Most atoms move by up to 0.9 Å along each axis in a strained cell."""
    from ase_ga.standardmutations import RattleMutation, StrainMutation
    from ase_ga.utilities import CellBounds

    parent, structure = pick_parent(context, rng, lambda p: _allowed(context, p))
    random = _BoundedRandom(_legacy(rng), 1500)
    bounds = CellBounds({"phi": [30, 150], "chi": [30, 150], "psi": [30, 150]})
    strained = _mutated(
        StrainMutation(_blmin(context), cellbounds=bounds, stddev=0.12, rng=random), _atoms(structure, tags=False)
    )
    mutation = RattleMutation(_blmin(context), len(structure), rattle_strength=0.9, rattle_prop=0.6, rng=random)
    return _scaled(_mutated(mutation, _atoms(strained, tags=False)), context, rng), _origin("rattle", parent)


def cations(context: SamplingContext, rng: np.random.Generator) -> tuple[Structure, dict[str, Any]]:
    """The cations of a parent are taken out and placed in other voids of its anions."""
    parent, structure = pick_parent(
        context, rng, lambda p: _allowed(context, p) and 0 < sum(map(is_cation, p.species)) < len(p.species)
    )
    structure = _scaled(structure, context, rng)
    symbols = [site.specie.symbol for site in structure]
    movable = [i for i, s in enumerate(symbols) if is_cation(s)]
    share = float(rng.uniform(0.4, 1.0))
    moved = [movable[i] for i in sorted(rng.permutation(len(movable))[: max(1, round(share * len(movable)))].tolist())]
    child = _refilled(context, structure, moved, [symbols[i] for i in moved], rng, symmetric=bool(rng.random() < 0.5))
    return child, _origin("cations", parent)


def _refilled(
    context: SamplingContext,
    structure: Structure,
    removed: list[int],
    added: list[str],
    rng: np.random.Generator,
    *,
    symmetric: bool = False,
) -> Structure:
    """The structure without some atoms, and with others in its voids; ``symmetric``: in orbits of what is left."""
    cell = Cell(context, 1, np.array(structure.lattice.matrix))
    gone = set(removed)
    kept = [i for i in range(len(structure)) if i not in gone]
    cell.add([structure[i].specie.symbol for i in kept], structure.frac_coords[kept])
    operations = _operations(cell) if symmetric else None

    def fill(target: Cell) -> None:
        for symbol in sorted(set(added), key=lambda s: (is_cation(s), s)):
            if operations is None:
                target.place_atoms(symbol, added.count(symbol), rng, points=_VOID_POINTS)
            else:
                target.place_orbits(symbol, added.count(symbol), *operations, rng)

    return best_filling(cell, fill, int(rng.integers(1, _FILLINGS + 1)))


def _operations(cell: Cell) -> tuple[np.ndarray, np.ndarray] | None:
    """Rotations and translations (fractional) of the atoms in a cell within 0.1 Å; None if they are too many or unknown."""
    import spglib
    from pymatgen.core import Element

    contents: Any = (cell.matrix, cell.coords, [Element(s).Z for s in cell.symbols])
    found = spglib.get_symmetry(contents, symprec=0.1) if cell.symbols else None
    if found is None or not 1 < len(found["rotations"]) <= _LARGEST_ORDER:
        return None
    return np.array(found["rotations"], dtype=float), np.array(found["translations"])


def exchange(context: SamplingContext, rng: np.random.Generator) -> tuple[Structure, dict[str, Any]]:
    """A parent becomes a neighbouring composition: some atoms are substituted, added or removed."""
    parent, structure = pick_parent(context, rng)
    symbols = [site.specie.symbol for site in structure]
    have = {s: symbols.count(s) for s in context.elements}
    target = _neighbour(context, have, rng)
    surplus = [s for s in context.elements for _ in range(max(have[s] - target.get(s, 0), 0))]
    missing = [s for s in context.elements for _ in range(max(target.get(s, 0) - have[s], 0))]
    inside = {i for f in fragments(structure) for i in f.indices}
    removed: list[int] = []
    for symbol in surplus:
        places = [i for i, s in enumerate(symbols) if s == symbol and i not in removed]
        lone = [i for i in places if i not in inside]
        places = lone or places
        removed.append(places[int(rng.integers(len(places)))])
    # A substitute takes the place of a removed atom of its own kind (cation for cation, anion for anion) where there is one.
    substitutions: dict[int, str] = {}
    for symbol in list(missing):
        place = next((i for i in removed if i not in substitutions and is_cation(symbols[i]) == is_cation(symbol)), None)
        if place is not None:
            substitutions[place] = symbol
            missing.remove(symbol)
    changed = structure.copy()
    for place, symbol in substitutions.items():
        changed.replace(place, symbol)
    changed = _scaled(changed, context, rng)
    gone = [i for i in removed if i not in substitutions]
    if missing and len(gone) == len(structure):
        raise RejectedDrawError("no_neighbour")
    return _refilled(context, changed, gone, missing, rng), _origin("exchange", parent)


def _neighbour(context: SamplingContext, have: Mapping[str, int], rng: np.random.Generator) -> dict[str, int]:
    """A cell content that few atoms separate from the one at hand, drawn by its weight."""
    system = context.compositions.draw_system(rng)
    rows, weights = context.compositions.table(system)
    near, kept = [], []
    for row, weight in zip(rows, weights, strict=True):
        changes = [row.get(s, 0) - have[s] for s in context.elements]
        size = max(sum(c for c in changes if c > 0), -sum(c for c in changes if c < 0))
        if 0 < size <= _LARGEST_CHANGE:
            near.append(row)
            kept.append(float(weight) / size)
    if not near:
        raise RejectedDrawError("no_neighbour")
    return dict(near[context.pick(kept, rng)])


def slide(context: SamplingContext, rng: np.random.Generator) -> tuple[Structure, dict[str, Any]]:
    """Half of a supercell slides along a plane: other stackings of the same layers."""
    from pymatgen.core import Structure

    limit = context.conditions.max_atoms
    parent, structure = pick_parent(context, rng, lambda p: _allowed(context, p) and 2 * len(p.species) <= limit)
    if len(structure) == len(parent.species):
        structure = supercell(structure, 2, rng)
    axis = int(rng.integers(3))
    shift = rng.random(3)
    shift[axis] = 0.0
    coords = (structure.frac_coords + rng.random(3)) % 1.0
    coords[coords[:, axis] < 0.5] += shift
    moved = Structure(structure.lattice, [site.specie for site in structure], coords)
    return _scaled(reduced(moved), context, rng), _origin("slide", parent)


OPERATORS: dict[str, tuple[float, Operator]] = {
    "crossover": (0.2, crossover),
    "exchange": (0.27, exchange),
    "cations": (0.3, cations),
    "rotation": (0.08, rotation),
    "permutation": (0.05, permutation),
    "rattle": (0.07, rattle),
    "slide": (0.03, slide),
}
"""Name: share of the variations, operator."""


def draw_variation(context: SamplingContext, rng: np.random.Generator) -> tuple[Structure, dict[str, Any]]:
    """Vary a parent by an operator drawn by its share."""
    names = list(OPERATORS)
    name = names[context.pick([OPERATORS[n][0] for n in names], rng)]
    return OPERATORS[name][1](context, rng)
