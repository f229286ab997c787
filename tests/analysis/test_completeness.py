"""Completeness: estimators against EstimateS, hand computation and enumeration, and populations of which they must not speak."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coevo.analysis import completeness as module
from coevo.analysis.completeness import _check, _statistics, chao1, chapman, completeness, good_turing

if TYPE_CHECKING:
    from numpy.typing import NDArray

Batches = list[list[int]]


def of_counts(counts: list[int]) -> tuple[int, int, int, int]:
    """Species, draws, species drawn once and twice."""
    seen = [count for count in counts if count]
    return len(seen), sum(seen), seen.count(1), seen.count(2)


@pytest.mark.parametrize(
    ("counts", "value", "interval"),
    [
        # EstimateS, as scikit-bio's tests quote it with this tolerance
        ([1, 1, 4, 2, 5, 2, 4, 1, 2], 10.5, (9.17, 21.89)),
        ([2, 2, 4, 5], 4.0, (4.0, 4.95)),
        ([1, 1, 4, 5], 5.0, (4.08, 17.27)),
    ],
)
def test_the_lower_bound_is_that_of_estimates(counts: list[int], value: float, interval: tuple[float, float]) -> None:
    found = chao1(*of_counts(counts))
    assert found.value == value
    assert (found.low, found.high) == pytest.approx(interval, abs=0.015)


def test_coverage_has_estys_interval() -> None:
    # n = 100, f1 = 20, f2 = 10: variance (20 (1 - 0.2) + 20) / 100² = 0.0036
    found = good_turing(100, 20, 10)
    assert found.value == pytest.approx(0.8)
    assert (found.low, found.high) == pytest.approx((0.8 - 1.96 * 0.06, 0.8 + 1.96 * 0.06), abs=1e-4)


def test_no_singleton_does_not_make_coverage_certain() -> None:
    found = good_turing(50, 0, 0)
    assert (found.value, found.high) == (1.0, 1.0)
    assert found.low == pytest.approx(0.025 ** (1 / 50))  # 0 of 50 by Clopper and Pearson


def test_two_catches() -> None:
    # 10 turtles marked, 15 caught, 5 of them marked: (11 · 16)/6 - 1, variance 11 · 16 · 5 · 10/(36 · 7)
    found = chapman(10, 15, 5)
    assert found.value == pytest.approx(28.3333, abs=1e-4)
    assert (found.low, found.high) == pytest.approx((20.0, 28.3333 + 1.96 * math.sqrt(8800 / 252)), abs=1e-3)


def test_singletons_are_the_unseen_on_average() -> None:
    """Good's identity, by enumeration: E f1/n of n draws is the mean share that n - 1 draws have not seen."""
    weights, n = (0.5, 0.3, 0.15, 0.05), 4
    expected = missing = 0.0
    for draws in itertools.product(range(len(weights)), repeat=n):
        probability = math.prod(weights[draw] for draw in draws)
        counts = list(Counter(draws).values())
        expected += probability * (1 - good_turing(n, counts.count(1), counts.count(2)).value)
        missing += probability * sum(w for species, w in enumerate(weights) if species not in draws[:-1])
    assert expected == pytest.approx(missing, abs=1e-12)


def test_the_tests_are_those_of_all_arrangements() -> None:
    # a a | b b is one of two arrangements of six in which draws of one species are in one batch (sum of squares 8, else 4)
    check = _check([["a", "a"], ["b", "b"]], 1)
    assert check is not None
    assert check.p["clumped"] == pytest.approx(1 / 3, abs=0.04)
    assert (check.predicted, check.seen, check.draws) == (1.0, 0, 2)
    # seen/draws - predicted is -1 where a batch has one species, 1 where it has both
    assert check.p["prediction"] == pytest.approx(1 / 3, abs=0.04)


@given(st.lists(st.lists(st.integers(0, 4), min_size=1, max_size=6), min_size=2, max_size=4))
def test_the_statistics_are_those_that_are_counted_one_by_one(batches: Batches) -> None:
    draws = [draw for batch in batches for draw in batch]
    numbers = {species: number for number, species in enumerate(dict.fromkeys(draws))}
    of_batch = np.repeat(np.arange(len(batches)), [len(batch) for batch in batches])
    row = np.array([[numbers[draw] for draw in draws]])
    predicted, seen, columns, clumped, again = (part[0] for part in _statistics(row, of_batch, len(numbers)))
    early = Counter(draw for batch in batches[:-1] for draw in batch)
    assert predicted == 1 - list(early.values()).count(1) / early.total()
    assert seen == sum(draw in early for draw in batches[-1])
    before = [{draw for batch in batches[:place] for draw in batch} for place in range(len(batches))]
    assert columns.tolist() == [len(set(batch)) for batch in batches] + [
        len(set(batch) - known) for batch, known in zip(batches, before, strict=True)
    ]
    assert clumped == sum(count**2 for batch in batches for count in Counter(batch).values())
    assert again == sum(
        count > 1
        for batch, known in zip(batches, before, strict=True)
        for draw, count in Counter(batch).items()
        if draw not in known
    )


@pytest.mark.parametrize(("samples", "each", "over_all"), [(1, 0.005, 0.02), (50, 0.0001, 0.02), (200, 0.00005, 0.04)])
def test_the_level_over_all_samples_is_what_it_is_said_to_be(samples: int, each: float, over_all: float) -> None:
    apart = [[batch] * 5 for batch in range(4)]
    check = _check(apart, samples)
    assert check is not None
    assert (check.level, check.over_all) == pytest.approx((each, over_all))
    # one of 20! / (5!^4 4!) arrangements has a batch to each species, and the permutations are enough to say so
    assert check.p["clumped"] == pytest.approx(1 / max(2000, min(20_000, 200 * samples)))
    assert "clumped" in check.failed


@pytest.mark.parametrize("batches", [[[1, 1, 2], [1, 2, 3]], [list(range(10)), list(range(10, 20))], [[], []], [[]]])
def test_too_few_draws_have_no_number(batches: Batches) -> None:
    found = completeness(batches)
    assert (found.coverage, found.richness, found.check) == (None, None, None)
    assert found.note.startswith("too few draws")
    assert found.recapture is None or found.recapture.species is None


def test_a_single_batch_is_not_checked() -> None:
    found = completeness([[1, 1, 1, 2, 2, 3, 3, 3, 4, 4]])
    assert (found.recapture, found.check, found.note) == (None, None, "")
    assert found.coverage is not None
    assert found.coverage.value == 1.0


def test_draws_that_were_bred_have_no_number() -> None:
    """An urn in which each draw is copied: exchangeable, so no statistic sees it; what made the draws must say so."""
    rng, urn = np.random.default_rng(1), [0, 1, 2]
    for _ in range(100):
        urn.append(int(rng.choice(urn)))
    batches = [urn[:50], urn[50:]]
    assert completeness(batches, bred=100).note.startswith("the estimator fails here: 100 draws were made from others")
    assert completeness(batches, bred=100).coverage is None
    counted = completeness(batches, bred=100).recapture
    assert counted is not None
    assert (counted.both > 0, counted.species) == (True, None)
    assert completeness(batches).coverage is not None


@settings(max_examples=40)
@given(st.lists(st.lists(st.integers(0, 6), max_size=12), min_size=1, max_size=4), st.randoms())
def test_what_is_said_depends_on_counts_alone(batches: Batches, random: object) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "PERMUTATIONS", 20)
        found = completeness(batches)
        shuffled = [random.sample(batch, len(batch)) for batch in batches]  # type: ignore[attr-defined]
        other = completeness([[f"species {6 - draw}" for draw in batch] for batch in shuffled])
    for name in ("draws", "species", "singletons", "doubletons"):
        assert getattr(found, name) == getattr(other, name)
    if bool(found.note) == bool(other.note):
        assert found.recapture == other.recapture
    if found.coverage and other.coverage:  # the permutations are others, so at its level one of them may fail
        assert (found.coverage, found.richness) == (other.coverage, other.richness)
    assert found.draws == sum(map(len, batches))
    for estimate, least in ((found.coverage, 0.0), (found.richness, float(found.species))):
        if estimate is not None:
            assert least <= estimate.low <= estimate.value + 1e-9
            assert estimate.value <= estimate.high + 1e-9


# --- populations


def abundances(rng: np.random.Generator, species: int) -> NDArray[np.float64]:
    weights = rng.lognormal(0.0, 1.5, species)
    return weights / weights.sum()


def stationary(rng: np.random.Generator, weights: NDArray[np.float64], n: int, batches: int) -> Batches:
    return [rng.choice(len(weights), n // batches, p=weights).tolist() for _ in range(batches)]


def drifting(rng: np.random.Generator, species: int, n: int, batches: int) -> Batches:
    """What is made wanders over the species from batch to batch, as that of a generator that is fitted again."""
    base, place = rng.lognormal(0.0, 1.0, species), np.arange(species) / species
    weights = [base * np.exp(-0.5 * ((place - (batch + 0.5) / batches) / 0.2) ** 2) for batch in range(batches)]
    return [rng.choice(species, n // batches, p=w / w.sum()).tolist() for w in weights]


def bred(rng: np.random.Generator, weights: NDArray[np.float64], n: int, batches: int, share: float = 0.7) -> Batches:
    """A share of each batch copies what earlier batches found, as variations of parents that relax into their minima do."""
    found: list[list[int]] = []
    parents: list[int] = []
    for _ in range(batches):
        batch = [
            int(rng.choice(parents) if parents and rng.random() < share else rng.choice(len(weights), p=weights))
            for _ in range(n // batches)
        ]
        found.append(batch)
        parents = sorted({*parents, *batch})
    return found


@pytest.fixture
def fewer_permutations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PERMUTATIONS", 399)


@pytest.mark.usefixtures("fewer_permutations")
@pytest.mark.parametrize(("species", "n"), [(30, 100), (500, 200)])
def test_a_stationary_population_is_covered_by_its_interval(species: int, n: int) -> None:
    held = bounded = spoken = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        weights = abundances(rng, species)
        batches = stationary(rng, weights, n, 4)
        found = completeness(batches)
        if found.coverage is None or found.richness is None:
            assert found.note.startswith("the estimator fails")
            continue
        spoken += 1
        held += found.coverage.low <= weights[list({s for batch in batches for s in batch})].sum() <= found.coverage.high
        bounded += found.richness.low <= species
    assert spoken >= 55  # 2 % of false alarms: six or more of 60 in one of 500 cases
    assert held >= 0.9 * spoken
    assert bounded >= 0.95 * spoken


@pytest.mark.usefixtures("fewer_permutations")
@pytest.mark.parametrize(("species", "n", "batches"), [(200, 400, 5), (300, 800, 8)])
def test_a_drifting_population_is_not_estimated(species: int, n: int, batches: int) -> None:
    for seed in range(5):
        found = completeness(drifting(np.random.default_rng(seed), species, n, batches))
        assert found.note.startswith("the estimator fails here: the batches are no draws of one fixed population (")
        assert (found.coverage, found.richness) == (None, None)
        assert found.recapture is not None
        assert (found.recapture.both > 0, found.recapture.species) == (True, None)


@pytest.mark.usefixtures("fewer_permutations")
@pytest.mark.parametrize("species", [300, 1000])
def test_a_parent_bred_population_is_not_estimated(species: int) -> None:
    for seed in range(5):
        rng = np.random.default_rng(seed)
        weights = abundances(rng, species)
        batches = bred(rng, weights, 800, 8)
        found = completeness(batches)
        assert found.note.startswith("the estimator fails here")
        assert (found.coverage, found.richness) == (None, None)
        # and it had to be refused: what it would have said of the generator is wrong
        truth = weights[list({s for batch in batches for s in batch})].sum()
        assert good_turing(800, found.singletons, found.doubletons).low > truth
