from __future__ import annotations

from dataclasses import replace
from math import exp, log

import numpy as np
import pytest
from scipy.stats import entropy as scipy_entropy

from coevo.analysis.signals.ruler import SampledCandidate, median_error, quantiles, summarise


def candidate(e_hull, formula="Li2S", group="a", *, unique=True, novel=True, space_group=225):
    return SampledCandidate(e_hull, e_hull <= 0.1, unique, novel, formula, space_group, group)


def test_shares_and_quantiles():
    sample = [
        candidate(0.0, unique=True, novel=False),
        candidate(0.05, "Li3P", "b"),
        candidate(0.08, "Li3P", "b", unique=False, novel=False),
        candidate(0.3, "P2S5", "c", space_group=None),
    ]
    found = summarise(sample)
    assert found["n"] == 4
    assert found["values"] == [0.0, 0.05, 0.08, 0.3]
    assert found["q50"] == pytest.approx(0.065)
    assert (found["stable"], found["unique"], found["novel"], found["sun"]) == (0.75, 0.75, 0.5, 0.25)
    diversity = found["diversity"]
    assert (diversity["distinct"], diversity["formulas"], diversity["space_groups"]) == (3, 3, 2)
    assert diversity["formula_entropy"] == pytest.approx(scipy_entropy([1, 2, 1]))
    assert diversity["effective_formulas"] == pytest.approx(exp(scipy_entropy([1, 2, 1])))
    assert diversity["effective_space_groups"] == pytest.approx(exp(scipy_entropy([3, 1])))


def test_what_labels_refute_is_not_sun_however_stable():
    sample = [candidate(0.0), candidate(0.05, group="b"), candidate(0.3, group="c")]
    assert summarise(sample)["sun"] == pytest.approx(2 / 3)
    found = summarise([sample[0], replace(sample[1], sun_withheld=True), sample[2]])
    assert (found["stable"], found["sun"]) == (pytest.approx(2 / 3), pytest.approx(1 / 3))


def test_what_was_not_recorded_is_none():
    found = summarise([candidate(0.0), candidate(0.2, unique=None, novel=None)])
    assert (found["unique"], found["novel"], found["sun"]) == (None, None, None)
    assert found["stable"] == 0.5


def test_an_empty_sample_has_no_numbers():
    assert summarise([]) == {}
    assert quantiles([]) == {}


def test_a_sample_of_equals_has_one_effective_formula():
    diversity = summarise([candidate(0.1)] * 10)["diversity"]
    assert (diversity["distinct"], diversity["effective_formulas"]) == (1, 1.0)
    several = summarise([candidate(0.1, f"Li{i}S", str(i)) for i in range(10)])["diversity"]
    assert several["formula_entropy"] == pytest.approx(log(10))


def test_error_of_the_median_is_that_of_repeated_samples():
    """Against the spread of medians of many samples: normal and skewed populations."""
    rng = np.random.default_rng(1)
    for draw in (rng.standard_normal, rng.standard_exponential):
        medians = np.median(draw((4000, 200)), axis=1)
        claimed = np.mean([median_error(draw(200).tolist()) for _ in range(400)])
        assert claimed == pytest.approx(medians.std(), rel=0.12)
    assert median_error([1.0, 2.0, 3.0]) is None


def test_quantiles():
    values = np.random.default_rng(0).random(101)
    found = quantiles(values)
    assert list(found) == ["q05", "q25", "q50", "q75", "q95"]
    assert found["q50"] == pytest.approx(np.median(values))
