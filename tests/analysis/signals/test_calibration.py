"""Errors against predicted spreads."""

from __future__ import annotations

import json

import numpy as np
import pytest

from coevo.analysis.signals.calibration import MOST_BINS, MOST_POINTS, calibration
from coevo.errors import AnalysisError


def test_a_committee_that_knows_what_it_does_not_know() -> None:
    random = np.random.default_rng(3)
    spreads = random.uniform(1.0, 20.0, 5000)
    found = calibration(spreads, np.abs(random.normal(0.0, spreads)))
    assert found is not None
    assert found["n"] == 5000
    assert found["ratio"] == pytest.approx(1.0, abs=0.05)
    assert found["spearman"] > 0.4
    assert len(found["bins"]) == MOST_BINS
    assert sum(group["n"] for group in found["bins"]) == 5000
    for group in found["bins"]:
        assert group["error"] == pytest.approx(group["spread"], rel=0.15)
    assert len(found["points"]) <= MOST_POINTS
    json.dumps(found)


def test_one_that_is_too_sure_and_one_that_says_nothing() -> None:
    random = np.random.default_rng(4)
    spreads = random.uniform(1.0, 2.0, 600)
    found = calibration(spreads, np.abs(random.normal(0.0, 5.0 * spreads.mean(), 600)))
    assert found is not None
    assert found["ratio"] == pytest.approx(5.0, rel=0.1)
    assert abs(found["spearman"]) < 0.15


def test_few_frames() -> None:
    assert calibration([], []) is None
    assert calibration([float("nan")], [1.0]) is None
    found = calibration([0.0, 0.0], [1.0, 2.0])
    assert found is not None
    assert (found["n"], found["spearman"], found["ratio"]) == (2, None, None)
    assert found["bins"] == [{"n": 2, "spread": 0.0, "error": pytest.approx(np.sqrt(2.5))}]
    with pytest.raises(AnalysisError, match="one each is needed"):
        calibration([1.0], [1.0, 2.0])
