"""Intervals of proportions against scipy's and against the definition."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, binomtest

from coevo.analysis.intervals import clopper_pearson, wilson
from coevo.errors import AnalysisError


@given(n=st.integers(1, 70_000), share=st.floats(0, 1))
@settings(max_examples=80, deadline=None)
def test_both_equal_scipy(n, share):
    k = round(n * share)
    for mine, method in ((wilson, "wilson"), (clopper_pearson, "exact")):
        expected = binomtest(k, n).proportion_ci(0.95, method=method)
        assert mine(k, n) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_a_bound_of_clopper_and_pearson_is_where_the_tail_is_a_fortieth():
    low, high = clopper_pearson(2, 9)
    assert binom.sf(1, 9, low) == pytest.approx(0.025)
    assert binom.cdf(2, 9, high) == pytest.approx(0.025)


def test_none_of_189_is_less_than_two_per_cent():
    assert wilson(0, 189) == pytest.approx((0.0, 1.96**2 / (189 + 1.96**2)), abs=1e-6)
    assert wilson(0, 188)[1] > 0.02 > wilson(0, 189)[1]
    # with nothing counted, the exact bound is 1 - 0.025^(1/n)
    assert clopper_pearson(0, 189)[1] == pytest.approx(1 - 0.025 ** (1 / 189))


@pytest.mark.parametrize(("k", "n"), [(3, 2), (-1, 2), (0, 0)])
def test_what_is_no_proportion_is_refused(k, n):
    for interval in (wilson, clopper_pearson):
        with pytest.raises(AnalysisError, match="no proportion"):
            interval(k, n)
    with pytest.raises(AnalysisError, match="confidence 95"):
        wilson(1, 2, 95)
