"""What is read back of the work that made a state."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from coevo.node_store.recorded import halved_batches, step_seconds


def seconds_of(*runs: tuple[str, str, str, float]) -> dict[str, float]:
    jobs = [{"name": name, "host": host, "started": started, "seconds": seconds} for name, host, started, seconds in runs]
    return step_seconds(cast("Any", SimpleNamespace(document={"provenance": {"jobs": jobs}})))


def test_shards_one_after_the_other_and_on_several_hosts_add_up() -> None:
    times = seconds_of(
        ("n/1/screen/0000", "a", "2026-01-01T00:00:00+00:00", 10.0),
        ("n/1/screen/0001", "a", "2026-01-01T00:00:05+00:00", 10.0),
        ("n/1/generate/0000", "b", "2026-01-01T00:00:00.000+00:00", 3.0),
        ("n/1/generate/0001", "c", "2026-01-01T00:00:00.000+00:00", 3.0),
    )
    assert times == {"generate": 6.0, "screen": 20.0}


def test_shards_side_by_side_count_with_the_time_that_passed() -> None:
    times = seconds_of(
        ("n/1/screen/0002", "a", "2026-01-01T00:00:30.500+00:00", 1.0),
        ("n/1/screen/0000", "a", "2026-01-01T00:00:00.000+00:00", 10.0),
        ("n/1/screen/0001", "a", "2026-01-01T00:00:04.000+00:00", 10.0),
        ("n/1/screen/0003", "a", "2026-01-01T00:00:05.000+00:00", 2.0),
        ("n/1/generate/0000", "a", "2026-01-01T00:00:02.000+00:00", 5.0),
    )
    assert times == {"generate": 5.0, "screen": 15.0}


def test_halved_batches_are_told_by_step_and_the_smallest_counts() -> None:
    jobs = [
        {"name": "n/1/train-force-field", "halved_batches": {"crashed": 4}},
        {"name": "n/1/re-evaluate/0000", "halved_batches": {"out_of_memory": 8, "crashed": 1}},
        {"name": "n/1/re-evaluate/0001", "halved_batches": {"out_of_memory": 4}},
        {"name": "n/1/screen/0000"},
        {"name": "n/1/of-a-user", "halved_batches": {"out_of_memory": 2}},
    ]
    found = halved_batches(cast("Any", SimpleNamespace(document={"provenance": {"jobs": jobs}})))
    assert found == {
        "train-force-field": {"crashed": 4},
        "re-evaluate": {"crashed": 1, "out_of_memory": 4},
        "of-a-user": {"out_of_memory": 2},
    }
    assert list(found) == ["train-force-field", "re-evaluate", "of-a-user"]
    assert halved_batches(cast("Any", SimpleNamespace(document={}))) == {}
