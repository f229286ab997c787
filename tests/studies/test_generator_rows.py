"""Which generator earns its share: rows over iterations, with times only where they are known."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from coevo.studies.states.generators import generator_lines, generator_rows


def counts(asked: int, candidates: int, sun: int, **rejected: int) -> dict[str, Any]:
    return {
        "asked": asked,
        "candidates": candidates,
        "relaxed": candidates - 1,
        "unique": candidates - 2,
        "stable": sun + 1,
        "sun": sun,
        "admitted": sun,
        "rejected_by_generator": rejected,
        "rejected": {"exploded": 1},
    }


def state(
    mixture: dict[str, float], iteration: dict[str, Any] | None, told: dict[str, Any] | None, *runs: tuple[str, float]
) -> Any:
    jobs = [{"name": name, "host": "a", "started": "2026-01-01T00:00:00+00:00", "seconds": seconds} for name, seconds in runs]
    metrics: dict[str, Any] = {} if iteration is None else {"iteration": {"generators": iteration}}
    if told is not None:
        metrics["generators"] = {
            name: {"fitted": True, "report": {}, "entries": each, "stable": 0, "sun": each - 1} for name, each in told.items()
        }
    config = {"generator": {"mixture": mixture} if mixture else {}}
    return SimpleNamespace(document={"metrics": metrics, "config": config, "provenance": {"jobs": jobs}})


STATES = [
    state({}, None, None, ("n/1/generate/0000", 100.0)),  # one generator then
    state(
        {"embedded": 3, "random-cells": 1},
        {"embedded": counts(30, 30, 3), "random-cells": counts(10, 8, 2, too_close=4)},
        {"embedded": 5, "random-cells": 2},
        ("n/2/generate/embedded/0000", 60.0),
        ("n/2/generate/embedded/0001", 30.0),
        ("n/2/train-generator/embedded", 10.0),
        ("n/2/screen/0000", 500.0),
    ),
    state(
        {"embedded": 1, "random-cells": 1},
        {"embedded": counts(20, 20, 2), "random-cells": counts(20, 12, 4, too_close=2, hung=6)},
        {"embedded": 7, "random-cells": 4},
        ("n/3/generate/embedded/0000", 80.0),
    ),
]


def test_iterations_add_up() -> None:
    one, other = generator_rows(STATES)
    assert (one.family, one.weight, one.iterations, one.asked, one.candidates, one.draws, one.sun) == (
        "embedded", 0.5, 2, 50, 50, 50, 5,
    )  # fmt: skip
    assert (one.entries, one.sun_entries) == (7, 6)
    assert one.sun_per_thousand == pytest.approx(100.0)
    assert one.seconds == pytest.approx(180.0)
    assert one.sun_per_hour == pytest.approx(5 / 180 * 3600)
    assert (other.candidates, other.draws, other.sun) == (20, 32, 6)
    assert other.rejected_by_generator == {"hung": 6, "too_close": 6}
    assert other.rejected == {"exploded": 2}
    assert other.sun_per_thousand == pytest.approx(300.0)
    assert (other.seconds, other.sun_per_hour) == (None, None), "nothing is known of its jobs"
    assert other.to_dict()["draws"] == 32


def test_what_was_drawn_in_no_time_that_is_known_is_in_no_rate() -> None:
    untimed = state({"embedded": 1}, {"embedded": counts(9, 9, 7)}, {"embedded": 9}, ("n/4/train-generator/embedded", 20.0))
    (row, _) = generator_rows([*STATES, untimed])
    assert (row.sun, row.seconds, row.sun_per_hour) == (12, pytest.approx(200.0), None)
    idle = state({"embedded": 0, "random-cells": 1}, {"embedded": counts(0, 0, 0)}, {"embedded": 9})
    assert generator_rows([*STATES, idle])[0].sun_per_hour == pytest.approx(5 / 180 * 3600), "it was asked for nothing"


def test_a_node_of_one_generator_has_no_rows() -> None:
    assert generator_rows(STATES[:1]) == []
    assert generator_rows([]) == []


def test_the_table_of_an_iteration_says_what_became_of_each() -> None:
    lines = dict(generator_lines(STATES[-1:]))
    assert lines["generator embedded"] == (
        "asked for 20: 20 candidates, none dropped; 1 failed in screening, 18 unique, 2 S.U.N. (100.0 per 1,000 candidates); "
        "80.0 s of its jobs; of the node's entries 7, S.U.N. 6"
    )
    assert "12 candidates, 6 hung, 2 too_close dropped" in lines["generator random-cells"]
    assert "of its jobs" not in lines["generator random-cells"]


def test_one_that_was_taken_out_is_still_told_of() -> None:
    last = state({"embedded": 1}, {"embedded": counts(5, 5, 1)}, {"embedded": 8})
    gone = generator_rows([*STATES, last])[1]
    assert (gone.family, gone.weight, gone.entries, gone.sun) == ("random-cells", None, None, 6)


def test_what_a_stranger_wrote_is_no_row_and_no_error() -> None:
    good = {"embedded": counts(20, 20, 2)}
    odd: list[Any] = [
        {"embedded": "many"},
        {"embedded": None},
        {"embedded": {**good["embedded"], "sun": "2"}},
        {"embedded": {**good["embedded"], "asked": -1}},
        {"embedded": {**good["embedded"], "rejected": {"exploded": []}}},
        ["embedded"],
    ]
    last = state({"embedded": 1}, good, {"embedded": 7}, ("n/2/generate/embedded/0000", 60.0))
    for iteration in odd:
        (row,) = generator_rows([state({"embedded": 1}, iteration, {"embedded": 7}), last])
        assert (row.iterations, row.sun) == (1, 2), iteration
    for mixture in ({"embedded": 0}, {"embedded": "half"}, {"embedded": -1}, {"embedded": float("nan")}, ["embedded"]):
        (row,) = generator_rows([state(mixture, good, {"embedded": 7})])  # type: ignore[arg-type]
        assert (row.weight, row.sun) == (None, 2), mixture
    last.document["metrics"]["generators"] = {"embedded": {"entries": "7", "sun": None, "report": "none"}, "other": 1}
    (line,) = generator_lines([last])
    assert "of the node's entries" not in line[1]
    last.document["metrics"]["generators"] = {"embedded": 1}
    assert generator_rows([last]) == generator_lines([last]) == []
