"""The rule on shares of atoms far from all older ones, on shares by hand."""

from __future__ import annotations

import pytest

from coevo.analysis.environments.distant import DistantShare
from coevo.analysis.intervals import wilson
from coevo.analysis.signals.environment_coverage import atoms_wanted, judged
from coevo.analysis.signals.maturity import maturity
from coevo.configs.tree import MaturityConfig

CALIBRATION = {"delta": 0.06, "delta90": 0.1, "told_apart": {"mixed": []}}


def coverage(*counts: dict[str, tuple[int, int]]):
    """``iterations`` from counts (far, looked at) by element, from iteration 1 on."""
    return {
        "iterations": {
            str(number): {symbol: DistantShare.counted(*count).to_dict() for symbol, count in shares.items()}
            for number, shares in enumerate(counts, start=1)
        }
    }


def test_atoms_wanted_are_those_of_which_none_is_less_than_the_tolerance():
    for tolerance, wanted in ((0.02, 189), (0.05, 73), (0.01, 381)):
        assert atoms_wanted(tolerance) == wanted
        assert wilson(0, wanted)[1] <= tolerance < wilson(0, wanted - 1)[1]


def test_flat_where_each_element_of_each_iteration_is_within_the_tolerance():
    found = coverage({"Li": (90, 100)}, {"Li": (4, 400)}, {"Li": (6, 400)}, {"Li": (0, 189)})
    status, reason, cause = judged(CALIBRATION, found, 0.02, 2)
    assert (status, cause) == ("flat", "")
    assert reason == (
        "flat: atoms further than 0.1 1/Å from all older ones: at most 1.5 % of Li (95 %: 0.7 to 3.2) in iteration 3 over 3 "
        "iterations"
    )


def test_not_flat_where_one_element_still_brings_something_new():
    few = {"Li": (0, 500), "P": (30, 500)}
    status, reason, cause = judged(CALIBRATION, coverage(few, few, few), 0.02, 2)
    assert (status, cause) == ("not flat", "moving")
    assert "6.0 % of P (95 %: 4.2 to 8.4) in iteration 1" in reason
    # 3 of 60 is 5 %, and may be 2 %; 10 of 60 is not
    ten, three = ({"Li": (0, 500), "P": (count, 60)} for count in (10, 3))
    assert judged(CALIBRATION, coverage(ten, ten, ten), 0.02, 2)[0] == "not flat"
    assert judged(CALIBRATION, coverage(three, three, three), 0.02, 2)[2] == "few atoms"


@pytest.mark.parametrize("n", [0, 40, 188])
def test_few_atoms_are_no_signal_with_the_number_wanted(n):
    enough = {"Li": (1, 500), "P": (1, 500)}
    status, reason, cause = judged(CALIBRATION, coverage(enough, {"Li": (1, 500), "P": (0, n)}, enough), 0.02, 2)
    assert (status, cause) == ("no signal", "few atoms")
    assert f"{n} atoms of P in iteration 2; 189 of each element are needed" in reason


def test_no_signal_without_a_calibration_or_enough_iterations():
    assert judged(None, None, 0.02, 2)[2] == "not calibrated"
    lost = {"delta": None, "reason": "no reference could be shaken: Li exploded"}
    assert judged(lost, None, 0.02, 2)[1] == "no signal: no reference could be shaken: Li exploded"
    found = judged(CALIBRATION, coverage({"Li": (0, 500)}), 0.02, 2)
    assert found == ("no signal", "no signal: candidates of 1 iterations are known, 3 are needed", "short")


def test_the_signal_names_what_it_cannot_tell_apart():
    pair = {"element": "P", "motifs": ["PS4", "P2S6 (P-P bond)"], "mean_kernel": 0.31}
    mixed = {**CALIBRATION, "told_apart": {"mixed": [pair, pair]}}
    found = coverage(*[{"Li": (0, 500)}] * 3)
    assert judged(mixed, found, 0.02, 2)[1].endswith(
        "; not told apart: P in PS4 and P2S6 (P-P bond) (mean kernel 0.31) and 1 more pairs"
    )


def test_maturity_is_judged_by_it_where_it_is_asked_for():
    latest = {"environment_calibration": CALIBRATION, "environment_coverage": coverage(*[{"Li": (0, 500)}] * 3)}
    history = [{**latest, "environment_entropy": value} for value in (3.0, 4.0, 5.0)]
    asked = MaturityConfig(environment_signal="coverage")
    assert maturity(history, asked).signals[1].status == "flat"
    assert maturity(history, asked.model_copy(update={"coverage_tolerance": 0.005})).signals[1].cause == "few atoms"
    assert maturity(history, MaturityConfig()).signals[1].status == "not flat"
