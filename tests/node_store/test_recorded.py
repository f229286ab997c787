"""What is read back of the work that made a state."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from coevo.errors import ArtifactNotFoundError, CorruptArtifactError
from coevo.node_store.recorded import (
    generator_seconds,
    halved_batches,
    readable,
    readable_configuration,
    recorded_members,
    step_seconds,
)


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


def test_times_of_several_generators_are_told_apart() -> None:
    runs = [
        ("n/1/generate/embedded/0000", "2026-01-01T00:00:00.000+00:00", 4.0),
        ("n/1/generate/embedded/0001", "2026-01-01T00:00:02.000+00:00", 4.0),  # beside the first
        ("n/1/generate/random-cells/0002", "2026-01-01T00:00:05.000+00:00", 7.0),
        ("n/1/generate/0003", "2026-01-01T00:00:20.000+00:00", 50.0),  # first done in a node of one generator
        ("n/1/train-generator/random-cells", "2026-01-01T00:01:00+00:00", 9.0),
        ("n/1/train-generator", "2026-01-01T00:01:00+00:00", 11.0),
        ("n/1/screen/0000", "2026-01-01T00:02:00+00:00", 13.0),
    ]
    jobs = [{"name": name, "host": "a", "started": started, "seconds": seconds} for name, started, seconds in runs]
    found = generator_seconds(view_of(provenance={"jobs": jobs}))
    assert found == {"embedded": {"generate": 6.0}, "random-cells": {"generate": 7.0, "train-generator": 9.0}}
    assert generator_seconds(view_of()) == {}


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


def view_of(**document: Any) -> Any:
    return SimpleNamespace(node="n", id="0" * 64, document=document)


@pytest.mark.parametrize("error", [KeyError("a"), IndexError("a"), ZeroDivisionError("a"), OverflowError("a"), TypeError("a")])
def test_numbers_that_are_not_there_are_one_error(error: Exception) -> None:
    for reading, told in ((readable, "the metrics of n@0"), (readable_configuration, "the configuration of n@0")):
        with pytest.raises(CorruptArtifactError, match=told), reading(view_of()):
            raise error


def test_what_is_missing_for_another_reason_keeps_its_own_words() -> None:
    with pytest.raises(ArtifactNotFoundError, match="it is gone"), readable(view_of()):
        raise ArtifactNotFoundError("it is gone")


@pytest.mark.parametrize("committee", [None, "x", [], {}, {"members": "x"}, {"members": [1]}, {"members": {"a": [1], "b": None}}])
def test_members_of_a_stranger_that_are_none(committee: Any) -> None:
    assert recorded_members(view_of(metrics={"committee": committee})) == {}


def test_members_as_they_are_recorded() -> None:
    assert recorded_members(view_of(metrics={})) == {}
    members = {"a": {"offsets": None}, "b": [1]}
    assert recorded_members(view_of(metrics={"committee": {"members": members}})) == {"a": {"offsets": None}}
