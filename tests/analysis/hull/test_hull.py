from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.analysis.phase_diagram import PDEntry, PhaseDiagram
from pymatgen.core import Composition

from coevo.analysis.composition import fractions
from coevo.analysis.hull.facets import FacetSearch
from coevo.analysis.hull.hull import Hull
from coevo.errors import AnalysisError

SYMBOLS = ("Li", "P", "S", "O", "Cl", "Na")

# eV/atom, CHGNet 0.3.0 on the bundled phases.
LI_P_S = {
    "Li": -1.896, "P": -5.408, "S": -4.134, "Li2S": -4.111, "Li3P": -3.487, "P2S5": -4.894, "Li3PS4": -4.567, "Li7P3S11": -4.671,
    "P2S3": -4.957, "P4S7": -4.966, "Li7PS6": -4.411, "P4S3": -5.118, "LiP": -4.246, "LiP7": -5.222,
}  # fmt: skip


def random_system(seed: int, k: int, n: int, spread: float):
    """Formulas of up to twelve atoms with energies, terminals included, some formulas repeated, some energies equal."""
    rng = np.random.default_rng(seed)
    amounts = [np.eye(k, dtype=int)[i] for i in range(k)]
    while len(amounts) < n + k:
        row = rng.integers(0, 5, size=k) * (rng.random(k) < 0.8)
        if row.sum():
            amounts.append(row)
    amounts += [amounts[int(i)] for i in rng.integers(len(amounts), size=n // 4)]
    x = np.array(amounts, dtype=float)
    x /= x.sum(axis=1, keepdims=True)
    energies = -3.0 + rng.normal(0, spread, len(x)) - 2.0 * spread * (1.0 - (x**2).sum(axis=1))
    if rng.random() < 0.3:
        energies = np.round(energies, 1)
    formulas = [Composition({s: int(a) for s, a in zip(SYMBOLS, row, strict=False) if a}) for row in amounts]
    return formulas, x, energies


def pymatgen_values(formulas, energies, queries, query_energies):
    diagram = PhaseDiagram([PDEntry(c, e * c.num_atoms) for c, e in zip(formulas, energies, strict=True)])
    entries = [PDEntry(c, e * c.num_atoms) for c, e in zip(queries, query_energies, strict=True)]
    above = [diagram.get_e_above_hull(entry, allow_negative=True) for entry in entries]
    return np.array(above), np.array([diagram.get_form_energy_per_atom(entry) for entry in entries]), diagram


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**31), k=st.integers(1, 6), n=st.integers(0, 40), spread=st.sampled_from([1e-3, 0.1, 1.0, 5.0]))
def test_equals_pymatgen_on_random_systems(seed, k, n, spread):
    formulas, x, energies = random_system(seed, k, n, spread)
    hull = Hull.from_points(SYMBOLS[:k], x, energies)
    above, formation, diagram = pymatgen_values(formulas, energies, formulas, energies)
    assert hull.energy_above_hull(x, energies) == pytest.approx(above, abs=1e-6)
    assert hull.formation_energy(x, energies) == pytest.approx(formation, abs=1e-6)
    assert (hull.energy_above_hull(x, energies) >= 0).all()
    assert hull.energy_above_hull(x[hull.vertices], energies[hull.vertices]) == pytest.approx(0.0, abs=1e-9)
    stable = {entry.composition.reduced_formula for entry in diagram.stable_entries}
    mine = {formulas[i].reduced_formula for i in hull.vertices}
    # A compound on a facet to rounding is a corner to one program and not to the other.
    doubtful = {formulas[i].reduced_formula for i in np.flatnonzero(hull.energy_above_hull(x, energies) < 1e-8)}
    assert mine ^ stable <= doubtful


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**31), k=st.integers(2, 4))
def test_points_that_are_not_in_the_hull_may_lie_below(seed, k):
    formulas, x, energies = random_system(seed, k, 20, 0.1)
    others, y, other_energies = random_system(seed + 1, k, 20, 0.1)
    other_energies = other_energies - 0.2
    hull = Hull.from_points(SYMBOLS[:k], x, energies)
    above, _, _ = pymatgen_values(formulas, energies, others, other_energies)
    assert hull.energy_above_hull(y, other_energies) == pytest.approx(above, abs=1e-6)
    assert (hull.energy_above_hull(y, other_energies) < 0).any()


def test_li_p_s():
    formulas = [Composition(f) for f in LI_P_S]
    x, energies = fractions(formulas, ("Li", "P", "S")), np.array(list(LI_P_S.values()))
    hull = Hull.from_points(("Li", "P", "S"), x, energies)
    above, formation, diagram = pymatgen_values(formulas, energies, formulas, energies)
    assert hull.energy_above_hull(x, energies) == pytest.approx(above, abs=1e-10)
    assert hull.formation_energy(x, energies) == pytest.approx(formation, abs=1e-10)
    names = list(LI_P_S)
    assert {names[i] for i in hull.vertices} == {entry.name for entry in diagram.stable_entries}
    query = Composition("Li10P3S12")
    parts = hull.decomposition(fractions([query], ("Li", "P", "S"))[0])
    expected = {entry.name: amount for entry, amount in diagram.get_decomposition(query).items()}
    assert {names[i]: share for i, share in parts.items()} == pytest.approx(expected, abs=1e-9)
    assert hull.energy(fractions([query], ("Li", "P", "S"))) == pytest.approx([diagram.get_hull_energy_per_atom(query)], abs=1e-9)


@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_elements_alone(k):
    hull = Hull.from_points(SYMBOLS[:k], np.eye(k), np.arange(k) - 5.0)
    assert list(hull.vertices) == list(range(k))
    middle = np.full((1, k), 1 / k)
    assert hull.energy_above_hull(middle, [0.0]) == pytest.approx([5.0 - (k - 1) / 2])


def test_ties_duplicates_and_unstable_compounds():
    x = fractions(["Li", "Li", "P", "P", "LiP", "LiP", "Li3P", "LiP3"], ("Li", "P"))
    energies = np.array([-1.0, -2.0, -5.0, -5.0, -4.0, -4.0, -3.25, -4.0])
    hull = Hull.from_points(("Li", "P"), x, energies)
    # Of the two equal P and LiP the first counts. Li3P lies 0.25 below Li and LiP, LiP3 lies 0.5 above LiP and P.
    assert list(hull.vertices) == [1, 2, 4, 6]
    assert hull.energy_above_hull(x, energies) == pytest.approx([1, 0, 0, 0, 0, 0, 0, 0.5])


def test_order_of_points_does_not_matter():
    _, x, energies = random_system(3, 4, 60, 0.3)
    order = np.random.default_rng(0).permutation(len(x))
    one, other = Hull.from_points(SYMBOLS[:4], x, energies), Hull.from_points(SYMBOLS[:4], x[order], energies[order])
    assert other.energy_above_hull(x, energies) == pytest.approx(one.energy_above_hull(x, energies), abs=1e-12)


def test_order_of_points_does_not_change_a_bit_without_ties():
    rng = np.random.default_rng(3)
    x = np.vstack([np.eye(5), rng.dirichlet(np.ones(5), 300)])
    energies = -1.0 - (1.0 - (x**2).sum(axis=1)) + rng.normal(0, 0.05, len(x))
    order = rng.permutation(len(x))
    one, other = Hull.from_points(SYMBOLS[:5], x, energies), Hull.from_points(SYMBOLS[:5], x[order], energies[order])
    assert set(order[other.vertices]) == set(one.vertices)
    assert (other.energy_above_hull(x, energies) == one.energy_above_hull(x, energies)).all()


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), k=st.integers(2, 6))
def test_decompositions_equal_pymatgen(seed, k):
    formulas, x, energies = random_system(seed, k, 15, 0.3)
    # Ties would leave a choice of phases: energies are made distinct.
    energies = energies + np.random.default_rng(seed).uniform(0, 0.05, len(energies))
    hull = Hull.from_points(SYMBOLS[:k], x, energies)
    _, _, diagram = pymatgen_values(formulas, energies, formulas[:1], energies[:1])
    for row, composition in zip(x, formulas, strict=True):
        parts = hull.decomposition(row)
        expected: dict[str, float] = {}
        for entry, amount in diagram.get_decomposition(composition).items():
            expected[entry.composition.reduced_formula] = amount
        assert {formulas[i].reduced_formula: share for i, share in parts.items()} == pytest.approx(expected, abs=1e-7)
        assert sum(share * x[i] for i, share in parts.items()) == pytest.approx(row, abs=1e-8)


def test_large_queries_are_cut_into_blocks(monkeypatch):
    for k in (3, 5):
        _, x, energies = random_system(9, k, 60, 0.3)
        hull = Hull.from_points(SYMBOLS[:k], x, energies)
        whole = hull.energy_above_hull(x, energies)
        with monkeypatch.context() as patch:
            patch.setattr("coevo.analysis.hull.facets._BLOCK", 50)
            assert (hull.energy_above_hull(x, energies) == whole).all()
        one_by_one = [hull.energy_above_hull(x[i : i + 1], energies[i : i + 1])[0] for i in range(len(x))]
        assert (np.array(one_by_one) == whole).all()


def test_search_of_all_facets_gives_what_the_planes_give(monkeypatch):
    for k in (2, 3, 6):
        _, x, energies = random_system(k, k, 80, 0.3)
        hull = Hull.from_points(SYMBOLS[:k], x, energies)
        search = hull._search
        value, _, weights = search.locate(x)
        slow_value, _, slow_weights = search._locate_anywhere(x)
        assert (value == slow_value).all()
        assert (weights == slow_weights).all()


def test_each_composition_is_looked_for_once(monkeypatch):
    _, x, energies = random_system(1, 3, 200, 0.3)
    hull = Hull.from_points(SYMBOLS[:3], x, energies)
    rows = []
    locate = FacetSearch.locate
    monkeypatch.setattr(FacetSearch, "locate", lambda self, y: rows.append(len(y)) or locate(self, y))
    many = np.tile(x, (200, 1))
    above = hull.energy_above_hull(many, np.tile(energies, 200)).reshape(200, -1)
    assert rows == [len(np.unique(x, axis=0))]
    assert (above == above[0]).all()


def test_a_gap_between_facets_is_an_error():
    _, x, energies = random_system(5, 3, 40, 0.3)
    hull = Hull.from_points(SYMBOLS[:3], x, energies)
    corners, values = hull.vertex_fractions[hull.simplices], hull.vertex_energies[hull.simplices]
    middle = corners[0].mean(axis=0, keepdims=True)
    with pytest.raises(AnalysisError, match="leave a gap"):
        FacetSearch(corners[1:], values[1:]).locate(middle)


def test_errors_name_what_is_wrong():
    x = fractions(["Li", "S", "Li2S"], ("Li", "P", "S"))
    with pytest.raises(AnalysisError, match="no phase of pure P"):
        Hull.from_points(("Li", "P", "S"), x, [-1.0, -2.0, -3.0])
    with pytest.raises(AnalysisError, match=r"no phase of pure Li, P; add .* each of the elements Li, P"):
        Hull.from_points(("Li", "P", "S"), x[1:], [-2.0, -3.0])
    with pytest.raises(ValueError, match="energy number 1 is not finite"):
        Hull.from_points(("Li", "P", "S"), x, [-1.0, np.nan, -3.0])
    with pytest.raises(AnalysisError, match=r"\(3, 3\) and energies \(2,\)"):
        Hull.from_points(("Li", "P", "S"), x, [-1.0, -2.0])
    with pytest.raises(AnalysisError, match="sum to 1"):
        Hull.from_points(("Li", "S"), [[1, 0], [0, 1], [0.5, 0.4]], [0, 0, 0])
