"""The rule on shares of atoms far from all older ones, on shares by hand."""

from __future__ import annotations

import numpy as np
import pytest

from coevo.analysis.environments.distant import DistantShare
from coevo.analysis.intervals import wilson
from coevo.analysis.signals.environment_coverage import atoms_wanted, judged, pooled
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


def test_flat_where_the_limit_of_each_element_of_each_iteration_is_within_the_tolerance():
    found = coverage({"Li": (90, 100)}, {"Li": (3, 500)}, {"Li": (2, 400)}, {"Li": (0, 189)})
    assert [round(wilson(k, n)[1], 4) for k, n in ((3, 500), (2, 400), (0, 189))] == [0.0175, 0.018, 0.0199]
    status, reason, cause = judged(CALIBRATION, found, 0.02, 2)
    assert (status, cause) == ("flat", "")
    assert reason == (
        "flat: atoms further than 0.1 1/Å from all older ones: at most 0.0 % of Li (95 %: 0.0 to 2.0) in iteration 4, over "
        "iterations 2 to 4"
    )


def test_a_share_within_the_tolerance_whose_limit_is_not_is_no_signal():
    # 4 of 400 is 1.0 %, and may be 2.5 %
    assert wilson(4, 400)[1] > 0.02
    found = coverage({"Li": (4, 400)}, {"Li": (0, 100)}, {"Li": (2, 100)})
    status, reason, cause = judged(CALIBRATION, found, 0.02, 2)
    assert (status, cause) == ("no signal", "few atoms")
    assert "1.0 % of Li (95 %: 0.4 to 2.5) in iteration 1, of 400 atoms; the upper limit of flat is 2 %" in reason


def test_iterations_of_few_atoms_are_counted_together_until_they_are_enough():
    first, few = {"Li": (80, 100)}, {"Li": (0, 70)}
    # 70 atoms an iteration: three of them are enough, and the earliest of the three that are judged has two before it
    found = coverage(first, *[few] * 5)
    status, reason, cause = judged(CALIBRATION, found, 0.02, 2)
    assert (status, cause) == ("flat", "")
    assert "at most 0.0 % of Li (95 %: 0.0 to 1.8) in iterations 2 to 4, over iterations 2 to 6" in reason
    # with one less the earliest is counted with the first iteration, in which all was new
    status, reason, cause = judged(CALIBRATION, coverage(first, *[few] * 4), 0.02, 2)
    assert (status, cause) == ("not flat", "moving")
    assert "33.3 % of Li (95 %: 27.7 to 39.5) in iterations 1 to 3" in reason
    # one atom in 189 is not enough, but goes on until the limit is: 1 of 280
    one = coverage(*[few] * 2, *[few] * 2, {"Li": (1, 70)}, few)
    assert judged(CALIBRATION, one, 0.02, 2)[0] == "flat"
    assert pooled(sorted((int(i), s) for i, s in one["iterations"].items()), "Li", 0.02)[0].words() == (
        "0.4 % of Li (95 %: 0.1 to 2.0) in iterations 3 to 6"
    )


def test_what_stands_still_at_the_tolerance_is_seldom_called_flat():
    """Counting until the limit is within the tolerance looks several times: three such windows together keep to its 2.5 %."""
    rng, flat = np.random.default_rng(7), 0
    for _ in range(200):
        found = coverage(*({"Li": (int(rng.binomial(60, 0.02)), 60)} for _ in range(15)))
        flat += judged(CALIBRATION, found, 0.02, 2)[0] == "flat"
    assert flat <= 10  # of 200 at 2.5 %: eleven or more in one of a hundred


def test_not_flat_where_one_element_still_brings_something_new():
    few = {"Li": (0, 500), "P": (30, 500)}
    status, reason, cause = judged(CALIBRATION, coverage(few, few, few), 0.02, 2)
    assert (status, cause) == ("not flat", "moving")
    assert "6.0 % of P (95 %: 4.2 to 8.4) in iteration 1" in reason
    # 3 of 60 is 5 %, and may be 2 %; 10 of 60 is not
    ten, three = ({"Li": (0, 500), "P": (count, 60)} for count in (10, 3))
    assert judged(CALIBRATION, coverage(ten, ten, ten), 0.02, 2)[0] == "not flat"
    assert judged(CALIBRATION, coverage(three), 0.02, 0)[2] == "few atoms"


@pytest.mark.parametrize("n", [0, 40, 188])
def test_few_atoms_in_all_are_no_signal_with_the_number_wanted(n):
    enough = {"Li": (1, 500), "P": (0, 0)}
    status, reason, cause = judged(CALIBRATION, coverage(enough, {"Li": (1, 500), "P": (0, n)}, enough), 0.02, 1)
    assert (status, cause) == ("no signal", "few atoms")
    assert f"{n} atoms of P in iterations 1 to 2; 189 of each element are needed" in reason


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
