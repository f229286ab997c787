"""The canonical form against networkx: all graphs of up to seven vertices, and graphs that refinement cannot tell apart."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coevo.analysis.motifs.canonical_graphs import canonical_form


def form_of(graph, colours=None):
    names = sorted(graph)
    position = {name: number for number, name in enumerate(names)}
    edges = [(position[a], position[b]) for a, b in graph.edges]
    return canonical_form([0] * len(names) if colours is None else [colours[name] for name in names], edges)


def shuffled(graph, rng):
    names = sorted(graph)
    return nx.relabel_nodes(graph, dict(zip(names, rng.permutation(len(names)).tolist(), strict=True)))


def test_all_graphs_of_up_to_seven_vertices_have_forms_of_their_own():
    graphs = [graph for graph in nx.graph_atlas_g() if len(graph)]
    forms = [form_of(graph) for graph in graphs]
    assert len(set(forms)) == len(graphs) == 1252
    rng = np.random.default_rng(0)
    for graph, form in zip(graphs[::5], forms[::5], strict=True):
        assert form_of(shuffled(graph, rng)) == form


def rook():
    return nx.convert_node_labels_to_integers(nx.cartesian_product(nx.complete_graph(4), nx.complete_graph(4)))


def shrikhande():
    steps = [(0, 1), (1, 0), (1, 1)]
    cells = [(i, j) for i in range(4) for j in range(4)]
    edges = [((i, j), ((i + a) % 4, (j + b) % 4)) for i, j in cells for a, b in steps]
    return nx.convert_node_labels_to_integers(nx.Graph(edges))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (rook(), shrikhande()),
        (nx.cycle_graph(8), nx.disjoint_union(nx.cycle_graph(4), nx.cycle_graph(4))),
        (nx.circular_ladder_graph(6), nx.moebius_kantor_graph()),
        (nx.circular_ladder_graph(5), nx.petersen_graph()),
        (nx.circular_ladder_graph(4), nx.cubical_graph()),
    ],
)
def test_regular_graphs(one, other):
    assert (form_of(one) == form_of(other)) == nx.is_isomorphic(one, other)


def test_symmetric_and_crowded_molecules_cost_little():
    # 120 and 2^20 20! automorphisms: leaves of the search that are not left out would never end
    rng = np.random.default_rng(1)
    ball = nx.truncated_cube_graph()
    tree = nx.balanced_tree(2, 5)
    for graph in (ball, tree, nx.dodecahedral_graph(), nx.star_graph(40)):
        assert form_of(shuffled(graph, rng)) == form_of(graph)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**31), count=st.integers(1, 14), density=st.floats(0.05, 0.6))
def test_order_of_the_atoms_does_not_matter_and_isomorphism_decides(seed, count, density):
    rng = np.random.default_rng(seed)
    graph = nx.gnp_random_graph(count, density, seed=seed)
    colours = {v: int(c) for v, c in enumerate(rng.integers(15, 17, count))}
    nx.set_node_attributes(graph, colours, "z")
    order = rng.permutation(count).tolist()
    moved = nx.relabel_nodes(graph, dict(enumerate(order)))
    assert form_of(moved, nx.get_node_attributes(moved, "z")) == form_of(graph, colours)
    # one bond moved: the same form if and only if networkx finds an isomorphism
    edges, gaps = list(graph.edges), list(nx.non_edges(graph))
    if edges and gaps:
        changed = graph.copy()
        changed.remove_edge(*edges[int(rng.integers(len(edges)))])
        changed.add_edge(*gaps[int(rng.integers(len(gaps)))])
        same = nx.is_isomorphic(graph, changed, node_match=lambda a, b: a["z"] == b["z"])
        assert (form_of(changed, colours) == form_of(graph, colours)) == same
