"""Shares from stratified samples, against numbers worked out by hand and a population whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coevo.analysis.audit.draw import draw
from coevo.analysis.audit.estimates import Audited, Stratum, errors, estimates, share, verdict_of


def stratum(population: int, stable: int, unstable: int, undecided: int = 0) -> Stratum:
    verdicts = ["stable"] * stable + ["unstable"] * unstable + ["undecided"] * undecided
    return Stratum(population, [Audited(verdict, 0.0) for verdict in verdicts])


@pytest.mark.parametrize(
    ("above", "is_bound", "verdict"),
    [
        (0.1, False, "stable"),
        (0.11, False, "unstable"),
        (0.1, True, "stable"),
        (0.11, True, "undecided"),
        (None, False, "undecided"),
    ],
)
def test_a_bound_accepts_and_never_rejects(above: float | None, is_bound: bool, verdict: str) -> None:
    assert verdict_of(above, is_bound=is_bound, threshold=0.1) == verdict


def test_of_one_stratum_it_is_the_interval_of_wilson() -> None:
    # 15 of 20 in Wilson's formula, worked out by hand
    found = share([stratum(400, 15, 5)], "stable")
    assert found is not None
    assert (found["share"], found["share_high"], found["effective_n"]) == (0.75, 0.75, 20.0)
    assert found["interval"] == pytest.approx([0.531299, 0.888138], abs=2e-6)


def test_the_undecided_widen_a_share() -> None:
    found = share([stratum(100, 6, 2, 2)], "stable")
    rejected = share([stratum(100, 6, 2, 2)], "unstable")
    assert found is not None
    assert rejected is not None
    assert (found["share"], found["share_high"]) == (0.6, 0.8)
    assert (rejected["share"], rejected["share_high"]) == (0.2, 0.4)
    # the outer bounds of 6 of 10 and of 8 of 10, and their mirror
    assert found["interval"] == pytest.approx([0.312674, 0.943318], abs=2e-6)
    assert rejected["interval"] == pytest.approx([1 - end for end in reversed(found["interval"])])


def test_strata_are_weighted_by_their_sizes() -> None:
    """W = 0.75 and 0.25, p = 0.2 and 0.6: 0.3. Smoothed 3/12 and 7/12, so 1/3, of variance
    0.5625 * (3/16)/10 + 0.0625 * (35/144)/10 = 0.01206597, and n = (2/9)/0.01206597 = 18.4173."""
    found = share([stratum(300, 2, 8), stratum(100, 6, 4)], "stable")
    assert found is not None
    assert found["share"] == pytest.approx(0.3)
    assert found["effective_n"] == pytest.approx(18.4173, abs=1e-4)
    p, n, z = 0.3, 18.4173, 1.959964
    centre, half = (p + z**2 / (2 * n)), z * (p * (1 - p) / n + z**2 / (4 * n**2)) ** 0.5
    assert found["interval"] == pytest.approx([(centre - half) / (1 + z**2 / n), (centre + half) / (1 + z**2 / n)], abs=1e-5)


def test_what_nobody_looked_at_is_not_guessed() -> None:
    assert share([stratum(0, 0, 0)], "stable") is None
    assert share([stratum(10, 1, 1), stratum(5, 0, 0)], "stable") is None
    assert share([stratum(10, 1, 1), stratum(0, 0, 0)], "stable") == share([stratum(10, 1, 1)], "stable")


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(0, 9), st.integers(0, 9), st.integers(0, 500)), min_size=1, max_size=4))
def test_shares_of_all_verdicts_sum_to_one(rows: list[tuple[int, int, int, int]]) -> None:
    strata = [stratum(a + b + c + more, a, b, c) for a, b, c, more in rows]
    stable, unstable, undecided = (share(strata, verdict) for verdict in ("stable", "unstable", "undecided"))
    assert stable is not None
    assert unstable is not None
    assert undecided is not None
    assert stable["share"] + unstable["share"] + undecided["share"] == pytest.approx(1.0)
    assert stable["share_high"] == pytest.approx(1.0 - unstable["share"])
    low, high = stable["interval"]
    assert 0.0 <= low <= stable["share"] + 1e-12
    assert stable["share_high"] <= high + 1e-12
    assert high <= 1.0


@pytest.mark.parametrize(
    ("sun", "interval"),
    [
        (stratum(10, 7, 3), (7.0, 7.0)),  # all were looked at: it is counted
        (stratum(10, 6, 3, 1), (6.0, 7.0)),
        (stratum(12, 0, 10), (0.0, 2.0)),
        # far from a census it is 400 times the interval of 15 of 20
        (stratum(400, 15, 5), (212.5196, 355.2552)),
    ],
)
def test_the_interval_of_the_number_does_not_contradict_what_was_counted(sun: Stratum, interval: tuple[float, float]) -> None:
    found = estimates({"sun": sun, "unstable": stratum(0, 0, 0), "rejected": stratum(0, 0, 0)})
    assert found["sun"]["interval"] == pytest.approx(interval, abs=1e-3)
    assert found["sun"]["interval"][0] <= found["sun"]["count"] + 1e-9


def test_the_error_is_signed() -> None:
    sample = [
        Audited("unstable", 0.0, 0.2),
        Audited("stable", 0.05, 0.02),
        Audited("undecided", 0.0),
        Audited("stable", 0.0, 0.01),
    ]
    assert errors(sample) == pytest.approx({"n": 3, "mean": -0.06, "median": -0.01})
    assert errors([])["mean"] is None


def test_of_an_over_optimistic_model_the_interval_holds_the_truth() -> None:
    """A model with an error of -0.12 ± 0.08 eV/atom calls up to 0.1 stable: most intervals hold its precision."""
    rng = np.random.default_rng(0)
    truth = {f"{n}": value for n, value in enumerate(rng.gamma(2.0, 0.09, 1500))}
    model = {i: value - rng.normal(0.12, 0.08) for i, value in truth.items()}
    strata = {"sun": [i for i in truth if model[i] <= 0.1], "unstable": [i for i in truth if 0.1 < model[i] <= 0.15]}
    strata["rejected"] = [i for i in truth if model[i] > 0.15]
    precision = np.mean([truth[i] <= 0.1 for i in strata["sun"]])
    missed = np.mean([truth[i] <= 0.1 for i in [*strata["unstable"], *strata["rejected"]]])
    assert precision < 0.6  # its own count would be all of them
    held, held_missed, off = [], [], []
    for seed in range(120):
        samples, _ = draw(strata, (), 80, seed)
        found = estimates(
            {
                name: Stratum(
                    len(strata[name]),
                    [Audited(verdict_of(truth[i], is_bound=False, threshold=0.1), model[i], truth[i]) for i in sample],
                )
                for name, sample in samples.items()
            }
        )
        low, high = found["precision"]["interval"]
        held.append(low <= precision <= high)
        low, high = found["false_unstable"]["interval"]
        held_missed.append(low <= missed <= high)
        off.append(found["strata"]["sun"]["error"]["mean"])
        assert found["sun"]["count"] == pytest.approx(found["precision"]["share"] * len(strata["sun"]))
        assert found["false_stable"]["share"] == pytest.approx(1.0 - found["precision"]["share"])
    assert np.mean(held) > 0.9
    assert np.mean(held_missed) > 0.9
    assert np.mean(off) == pytest.approx(np.mean([model[i] - truth[i] for i in strata["sun"]]), abs=0.01)
