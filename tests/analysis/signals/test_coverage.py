from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coevo.analysis.composition import fractions
from coevo.analysis.signals.coverage import composition_coverage, nearest_grid_points
from coevo.errors import AnalysisError

LPS = ("Li", "P", "S")


def test_coverage_by_hand():
    formulas = ["Li", "Li2S", "Li4S2", "Li3PS4", "Li7PS6", "P2S5"]
    found = composition_coverage(LPS, fractions(formulas, LPS))
    assert found.systems == {"Li": 1, "Li-P-S": 2, "Li-S": 2, "P-S": 1}
    assert (found.systems_possible, found.compositions) == (7, 5)
    assert found.system_coverage == pytest.approx(4 / 7)
    # Tenths: Li 10,0,0; Li2S 7,0,3; Li3PS4 3.75,1.25,5 -> 4,1,5; Li7PS6 5,0.7,4.3 -> 5,1,4; P2S5 0,2.86,7.14 -> 0,3,7.
    assert nearest_grid_points(fractions(formulas, LPS), 10).tolist() == [
        [10, 0, 0], [7, 0, 3], [7, 0, 3], [4, 1, 5], [5, 1, 4], [0, 3, 7],
    ]  # fmt: skip
    assert (found.cells, found.cells_possible, found.grid_width) == (5, 66, 0.1)
    assert found.grid_coverage == pytest.approx(5 / 66)
    json.dumps(found.to_dict(), allow_nan=False)


def simplex_grid(k: int, n: int) -> np.ndarray:
    return np.array([row for row in itertools.product(range(n + 1), repeat=k) if sum(row) == n])


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**31), k=st.integers(1, 4), divisions=st.integers(1, 6))
def test_no_grid_point_is_nearer(seed, k, divisions):
    grid = simplex_grid(k, divisions)
    x = np.random.default_rng(seed).dirichlet(np.ones(k), 20)
    found = nearest_grid_points(x, divisions)
    assert (found.sum(axis=1) == divisions).all()
    assert (found >= 0).all()
    best = np.linalg.norm(x[:, None] * divisions - grid, axis=2).min(axis=1)
    assert np.linalg.norm(x * divisions - found, axis=1) == pytest.approx(best, abs=1e-9)


@pytest.mark.parametrize(("k", "divisions"), [(1, 4), (2, 7), (3, 10), (4, 6), (6, 3)])
def test_the_grid_itself_is_fully_covered(k, divisions):
    grid = simplex_grid(k, divisions)
    found = composition_coverage([f"E{i}" for i in range(k)], grid / divisions, divisions)
    assert found.cells == found.cells_possible == len(grid)
    assert found.grid_coverage == 1.0


def test_empty_sets_and_errors():
    found = composition_coverage(LPS, np.empty((0, 3)))
    assert (found.n, found.cells, found.system_coverage) == (0, 0, 0.0)
    with pytest.raises(AnalysisError, match=r"shape \(1, 2\); expected \(n, 3\)"):
        composition_coverage(LPS, [[0.5, 0.5]])
    with pytest.raises(AnalysisError, match="at least 1"):
        composition_coverage(LPS, [[1.0, 0, 0]], 0)
