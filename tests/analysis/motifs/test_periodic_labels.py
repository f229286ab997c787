"""Labels of endless graphs: the same in every cell, and different for graphs that networkx can tell apart."""

from __future__ import annotations

from collections import defaultdict
from itertools import product
from math import gcd

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coevo.analysis.motifs.periodic_labels import periodic_colours


def random_net(rng, atoms, dimension, extra):
    """A connected endless graph of one cell: a tree, and more bonds that make it endless."""
    numbers = rng.choice([15, 16], atoms).tolist()
    bonds = {(int(rng.integers(atom)), atom, (0, 0, 0)) for atom in range(1, atoms)}
    for attempt in range(10_000):
        shifts = np.array([image[:dimension] for _, _, image in bonds if any(image)]).reshape(-1, dimension)
        if (
            len(shifts) >= dimension
            and spans_all(shifts, dimension)
            and (len(bonds) >= atoms - 1 + dimension + extra or attempt > 50)
        ):
            return numbers, sorted(bonds)
        i, j = sorted(rng.integers(atoms, size=2).tolist())
        image = tuple((*rng.integers(-1, 2, dimension).tolist(), 0, 0)[:3])
        if i == j and image <= (0, 0, 0):
            continue
        bonds.add((i, j, image))
    raise AssertionError


def spans_all(shifts, dimension):
    """Whether translations generate the whole lattice: the greatest common divisor of the determinants is one."""
    if dimension == 1:
        return gcd(*shifts[:, 0].tolist()) == 1
    minors = [round(np.linalg.det(shifts[list(rows)])) for rows in product(range(len(shifts)), repeat=dimension)]
    return gcd(*minors) == 1


def supercell(numbers, bonds, counts):
    """The same graph with a larger cell."""
    cells = list(product(*(range(count) for count in counts)))
    index = {(atom, cell): k for k, (cell, atom) in enumerate(product(cells, range(len(numbers))))}
    found = []
    for cell in cells:
        for i, j, image in bonds:
            there = np.array(cell) + image
            inside, outside = there % counts, there // counts
            found.append((index[i, cell], index[j, tuple(inside.tolist())], tuple(outside.tolist())))
    return [numbers[atom] for _, atom in product(cells, range(len(numbers)))], found


def moved(numbers, bonds, rng, basis):
    """The same graph with its atoms in another order, in other cells, and other lattice vectors."""
    order = rng.permutation(len(numbers)).tolist()
    shifts = rng.integers(-2, 3, (len(numbers), 3))
    changed = []
    for i, j, image in bonds:
        there = (np.array(image) + shifts[j] - shifts[i]) @ basis
        changed.append((order[i], order[j], tuple(int(x) for x in there)))
    back = np.argsort(order)
    return [numbers[k] for k in back], changed


def wrapped(numbers, bonds, counts):
    """The graph closed to a ring, torus or the like of so many cells, for networkx."""
    numbers, bonds = supercell(numbers, bonds, counts)
    graph = nx.Graph()
    graph.add_nodes_from((atom, {"z": z}) for atom, z in enumerate(numbers))
    graph.add_edges_from((i, j) for i, j, _ in bonds)
    return graph


BASES = {
    1: [np.diag([-1, 1, 1])],
    2: [np.array([[1, 1, 0], [0, 1, 0], [0, 0, 1]]), np.array([[2, 1, 0], [1, 1, 0], [0, 0, 1]])],
    3: [np.array([[1, 1, 0], [0, 1, 1], [0, 0, 1]]), np.array([[0, 0, 1], [1, 0, 0], [0, 1, 2]])],
}


@settings(max_examples=80, deadline=None)
@given(seed=st.integers(0, 2**31), atoms=st.integers(1, 6), dimension=st.integers(1, 3), extra=st.integers(0, 3), data=st.data())
def test_the_cell_does_not_matter(seed, atoms, dimension, extra, data):
    rng = np.random.default_rng(seed)
    numbers, bonds = random_net(rng, atoms, dimension, extra)
    label = periodic_colours(numbers, bonds)
    counts = data.draw(st.tuples(*(st.integers(1, 3) if axis < dimension else st.just(1) for axis in range(3))))
    basis = BASES[dimension][int(rng.integers(len(BASES[dimension])))]
    assert periodic_colours(*moved(*supercell(numbers, bonds, counts), rng, basis)) == label


@pytest.mark.long
@pytest.mark.parametrize(
    ("dimension", "atoms", "nets", "counts"), [(1, 4, 1500, (24, 1, 1)), (2, 3, 500, (4, 4, 1)), (3, 1, 80, (4, 4, 4))]
)
def test_no_collision_among_random_nets(dimension, atoms, nets, counts):
    """Nets of one label, closed to rings or tori of as many atoms, are isomorphic for networkx."""
    rng = np.random.default_rng(dimension)
    by_label = defaultdict(list)
    for _ in range(nets):
        size = int(rng.integers(1, atoms + 1))
        net = random_net(rng, size, dimension, int(rng.integers(0, 3)))
        by_label[size, tuple(periodic_colours(*net))].append(net)
    compared = 0
    for (size, _), alike in by_label.items():
        cells = (counts[0] // size if dimension == 1 else counts[0], *counts[1:])
        first = wrapped(*alike[0], cells)
        for other in alike[1 : 2 if dimension == 3 else 3]:
            assert nx.is_isomorphic(first, wrapped(*other, cells), node_match=lambda a, b: a["z"] == b["z"])
            compared += 1
    assert len(by_label) > 15
    assert compared > 9


def test_tubes_of_different_width_differ():
    # rolled up from the square net: alike but for the ring around them
    def tube(width):
        return [16] * width, [(i, (i + 1) % width, (0, 0, 0)) for i in range(width)] + [(i, i, (1, 0, 0)) for i in range(width)]

    labels = [str(periodic_colours(*tube(width))) for width in range(3, 11)]
    assert len(set(labels)) == len(labels)


def test_a_ladder_and_its_twisted_description_are_one():
    # two cells of the same endless graph, neither of which is a supercell of the other
    straight = [15, 15], [(0, 1, (0, 0, 0)), (0, 0, (1, 0, 0)), (1, 1, (1, 0, 0))]
    twisted = [15, 15], [(0, 1, (0, 0, 0)), (0, 1, (1, 0, 0)), (1, 0, (1, 0, 0))]
    assert periodic_colours(*straight) == periodic_colours(*twisted)


def test_isomers_of_one_formula_differ():
    def chain(*bonds):
        return str(periodic_colours([15, 16, 16, 16], list(bonds)))

    corner = chain((0, 1, (0, 0, 0)), (0, 2, (0, 0, 0)), (0, 3, (0, 0, 0)), (3, 0, (1, 0, 0)))
    disulfide = chain((0, 1, (0, 0, 0)), (0, 2, (0, 0, 0)), (2, 3, (0, 0, 0)), (3, 0, (1, 0, 0)))
    phosphorus = chain((0, 1, (0, 0, 0)), (0, 2, (0, 0, 0)), (0, 3, (0, 0, 0)), (0, 0, (1, 0, 0)))
    assert len({corner, disulfide, phosphorus}) == 3
