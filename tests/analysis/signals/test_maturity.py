from __future__ import annotations

import json
from math import log, nan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coevo.analysis.signals.maturity import is_flat, maturity
from coevo.configs.tree import MaturityConfig

CONFIG = MaturityConfig(environments=2000, patience=2)


def sample(median=0.1, error=0.005, n=200, distinct=190, formulas=40.0):
    return {
        "n": n,
        "q50": median,
        "standard_error": error,
        "diversity": {"n": n, "distinct": distinct, "effective_formulas": formulas},
    }


def state(entropy=5.0, energy=20.0, force=100.0, ruler=None, frames=None):
    return {
        "environment_entropy": entropy,
        "energy_rmse_mev_per_atom": energy,
        "force_rmse_mev_per_angstrom": force,
        "force_field": {"frames": frames or {"train": 300, "validation": 60, "test": 60}},
        "ruler": ruler or {str(i): sample() for i in range(1, 4)},
    }


def ruler(*samples):
    return {str(i): found for i, found in enumerate(samples, 1)}


def statuses(history):
    return [signal.status for signal in maturity(history, CONFIG).signals]


def test_mature():
    last = state(entropy=5.04, ruler=ruler(sample(0.5), sample(), sample(0.115), sample(0.099)))
    found = maturity([state(3.0, 80, 300), state(), state(5.02, 19, 95), last], CONFIG)
    assert found.mature
    assert found.reason.startswith("mature: all three signals were flat for 2 iterations")
    assert [signal.cause for signal in found.signals] == [""] * 4
    assert json.loads(json.dumps(found.to_dict())) == found.to_dict()


@pytest.mark.parametrize(
    ("last", "expected", "cause"),
    [
        (state(ruler=ruler(sample(), sample(), sample(0.121))), ["not flat", "flat", "flat", "steady"], "moving"),
        (state(ruler=ruler(sample(), sample())), ["no signal", "flat", "flat", "steady"], "short"),
        (state(ruler=ruler(sample(), sample(), sample(error=0.03))), ["no signal", "flat", "flat", "steady"], "noise"),
        (state(ruler=ruler(sample(), sample(), sample(error=None))), ["no signal", "flat", "flat", "steady"], "noise"),
        (state(entropy=5.06), ["flat", "not flat", "flat", "steady"], "moving"),
        (state(entropy=None), ["flat", "no signal", "flat", "steady"], "few environments"),
        (state(entropy=log(2000) - 0.05), ["flat", "no signal", "flat", "steady"], "ceiling"),
        (state(energy=23.0), ["flat", "flat", "not flat", "steady"], "moving"),
        (state(force=80.0), ["flat", "flat", "not flat", "steady"], "moving"),
        (state(force=None), ["flat", "flat", "no signal", "steady"], "short"),
        (state(energy=nan), ["flat", "flat", "no signal", "steady"], "short"),
        (state(frames={"train": 100, "validation": 30, "test": 60}), ["flat", "flat", "no signal", "steady"], "few frames"),
        (state(frames={"train": 300, "validation": 60, "test": 29}), ["flat", "flat", "no signal", "steady"], "few frames"),
        (state(ruler=ruler(sample(), sample(), sample(distinct=120))), ["flat", "flat", "flat", "shrinking"], "collapse"),
        (state(ruler=ruler(sample(), sample(), sample(formulas=25.0))), ["flat", "flat", "flat", "shrinking"], "narrowing"),
    ],
)
def test_each_signal_alone(last, expected, cause):
    history = [state(), state(), last]
    assert statuses(history) == expected
    found = maturity(history, CONFIG)
    assert not found.mature
    assert found.reason.startswith("not mature: ")
    assert [signal.cause for signal in found.signals if signal.cause] == [cause]


def test_nothing_known_is_nothing_mature():
    for history in ([], [{}], [{}, {}, {}]):
        assert statuses(history) == ["no signal"] * 4
        assert not maturity(history, CONFIG).mature


def test_energies_are_those_of_the_last_states_ruler():
    """Medians that each state measured with its own model and hull do not count."""
    moved = state(ruler=ruler(sample(0.4), sample(0.3), sample(0.2)))
    assert statuses([moved, moved, state()])[0] == "flat"
    assert statuses([state(), state(), moved])[0] == "not flat"


def test_mode_collapse_is_named_with_its_numbers():
    shrinking = ruler(sample(formulas=40), sample(formulas=36), sample(formulas=31), sample(formulas=27, distinct=12))
    signal = maturity([state(), state(), state(ruler=shrinking)], CONFIG).signals[3]
    assert signal.reason.startswith("mode collapse: distinct structures 12 of 200 candidates (iteration 4), at most 190 of 200")
    assert "effective formulas 27 of 200" in signal.reason
    assert "(iteration 1)" in signal.reason


def test_diversity_counts_per_candidate():
    """A sample of half the size has half the distinct structures: no collapse."""
    assert statuses([state(ruler=ruler(sample(), sample(n=100, distinct=95, formulas=20.0)))])[3] == "steady"


def test_an_old_gap_is_forgotten():
    assert statuses([state(), state(entropy=None), state(), state(), state()])[1] == "flat"


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


def check(wanted=10, labelled=10, refuted=0):
    return {"wanted": wanted, "labelled": labelled, "refuted": refuted}


@pytest.mark.parametrize(
    ("checks", "status", "cause", "words"),
    [
        ([check(), check(refuted=1), check()], "held", "", "0 of 10 refuted, 1 of 10 refuted, 0 of 10 refuted over 3 iterations"),
        ([check(), check(refuted=2), check()], "refuted", "refuted", "2 of 10 refuted"),
        ([check(refuted=9), check(), check(), check()], "held", "", "10 % may be refuted"),
        ([check(), check(0, 0), check()], "held", "", "nothing to label"),
        ([check(), check(3, 0), check()], "no signal", "unlabelled", "none of 3 labelled"),
        ([None, check(), check()], "no signal", "short", "are known of 2 iterations, 3 are needed"),
        ([check(), None, check(), check()], "held", "", "0 of 10 refuted"),  # a merge between them
    ],
)
def test_labels_go_on_to_agree_with_the_hull(checks, status, cause, words):
    found = maturity([{**state(), "hull_check": row} for row in checks], CONFIG)
    *others, hull = found.signals
    assert (hull.name, hull.status, hull.cause) == ("hull", status, cause)
    assert words in hull.reason
    assert found.mature == (status == "held")
    # without a hull of labelled phases there is no such signal
    assert len(maturity([state() for _ in checks], CONFIG).signals) == len(others) == 4


@pytest.mark.parametrize("checks", [[check()] * 3, [check(0, 0)] * 3])
def test_a_hull_with_phases_that_no_label_confirms_holds_nothing(checks):
    """As where the labelling code rejects them: then nothing is wanted, or others are labelled and agree."""

    def judged(last, *, before=0):
        counts = [{"unconfirmed": before}, {"unconfirmed": before}, {"unconfirmed": last}]
        rows = zip(checks, counts, strict=True)
        return maturity([{**state(), "hull_check": row, "population": found} for row, found in rows], CONFIG)

    found = judged(2)
    assert not found.mature
    assert (found.signals[-1].status, found.signals[-1].cause) == ("no signal", "unlabelled")
    assert "at or below the hull without a label that counts: 2" in found.signals[-1].reason
    assert judged(0, before=2).mature


def test_the_share_that_labels_may_refute_is_the_configurations():
    history = [{**state(), "hull_check": check(refuted=3)} for _ in range(3)]
    limited = [{**state(), "hull_check": {**check(refuted=3), "limit": limit}} for limit in (0.194, 0.025, 0.1)]
    assert (
        "may be refuted (off by more than 0.025 to 0.194 eV/atom)" in maturity(limited, MaturityConfig(environments=2000)).reason
    )
    assert not maturity(history, CONFIG).mature
    assert maturity(history, MaturityConfig(environments=2000, patience=2, refuted_share=0.3)).mature
