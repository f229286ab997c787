"""What is read back of the work that made a state."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from coevo.node_store.recorded import step_seconds


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
