from __future__ import annotations

import json
from math import log, nan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coevo.analysis.maturity import is_flat, maturity, quantiles
from coevo.configs.tree import MaturityConfig

CONFIG = MaturityConfig(environments=2000, patience=2, e_hull_tolerance=0.005, entropy_tolerance=0.05, rmse_tolerance=0.1)


def state(e_hull=0.1, entropy=5.0, energy=20.0, force=100.0):
    return {
        "ruler_median_e_hull": e_hull,
        "environment_entropy": entropy,
        "energy_rmse_mev_per_atom": energy,
        "force_rmse_mev_per_angstrom": force,
    }


def statuses(history):
    return [signal.status for signal in maturity(history, CONFIG).signals]


def test_mature():
    found = maturity([state(0.5, 3.0, 80, 300), state(), state(0.103, 5.02, 19, 95), state(0.101, 5.04, 20, 99)], CONFIG)
    assert found.mature
    assert found.reason == "mature: all three signals were flat for 2 iterations"
    assert json.loads(json.dumps(found.to_dict())) == found.to_dict()


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        (state(e_hull=0.106), ["not flat", "flat", "flat"]),
        (state(entropy=5.06), ["flat", "not flat", "flat"]),
        (state(energy=23.0), ["flat", "flat", "not flat"]),
        (state(force=80.0), ["flat", "flat", "not flat"]),
        (state(e_hull=None), ["no signal", "flat", "flat"]),
        (state(entropy=None), ["flat", "no signal", "flat"]),
        (state(force=None), ["flat", "flat", "no signal"]),
        (state(energy=nan), ["flat", "flat", "no signal"]),
        ({}, ["no signal", "no signal", "no signal"]),
    ],
)
def test_each_signal_alone(last, expected):
    history = [state(), state(), last]
    assert statuses(history) == expected
    found = maturity(history, CONFIG)
    assert not found.mature
    assert found.reason.startswith("not mature: ")


def test_too_short_a_history_has_no_signal():
    assert statuses([]) == ["no signal"] * 3
    assert statuses([state(), state()]) == ["no signal"] * 3
    assert "known for 2 consecutive states, 3 are needed" in maturity([state(), state()], CONFIG).reason


def test_an_old_gap_is_forgotten():
    assert statuses([state(), state(e_hull=None), state(), state(), state()]) == ["flat"] * 3


def test_entropy_at_its_ceiling_says_nothing():
    found = maturity([state(entropy=log(2000) - 0.01)] * 3, CONFIG)
    assert found.signals[1].status == "no signal"
    assert "ceiling ln 2000 = 7.6" in found.reason


def test_a_slow_drift_is_not_flat():
    series = [0.1, 0.096, 0.092]
    assert is_flat(series, 0.005, 1)
    assert not is_flat(series, 0.005, 2)


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=8), st.floats(1e-3, 1), st.integers(1, 5), st.booleans())
def test_flatness_is_the_spread_of_the_window(series, tolerance, patience, relative):
    window = np.array(series[-(patience + 1) :])
    scale = np.abs(window).max() if relative else 1.0
    expected = len(window) == patience + 1 and np.ptp(window) <= tolerance * scale
    assert is_flat(series, tolerance, patience, relative=relative) == expected
    if expected and patience > 1:
        assert is_flat(series, tolerance, patience - 1) or relative


def test_errors_of_zero_are_flat():
    assert is_flat([0.0, 0.0, 0.0], 0.1, 2, relative=True)


def test_quantiles():
    values = np.random.default_rng(0).random(101)
    found = quantiles(values)
    assert list(found) == ["q05", "q25", "q50", "q75", "q95"]
    assert found["q50"] == pytest.approx(np.median(values))
    assert quantiles([]) == {}
