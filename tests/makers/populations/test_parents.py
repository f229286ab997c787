"""Which entries a generator learns from."""

from __future__ import annotations

from typing import Any

import pytest

from coevo.makers.populations.parents import is_example

ENTRY = {"kind": "entry", "duplicate_of": None, "is_sun": True, "electron_excess": -0.2}


@pytest.mark.parametrize(
    ("said", "before", "safe"),
    [
        ({}, True, True),
        ({"hull_status": "confirmed"}, True, True),
        ({"hull_status": "refuted"}, False, False),
        ({"hull_status": "in_doubt"}, True, False),
        ({"electron_excess": 0.25}, True, False),
        ({"electron_excess": None}, True, True),
        ({"is_confidently_sun": False}, True, False),
        ({"is_confidently_sun": True}, True, True),
        ({"is_confidently_sun": None}, True, True),
        ({"is_confidently_sun": False, "is_sun": False}, True, True),
        ({"audit_verdict": "unstable"}, True, True),
        ({"duplicate_of": "a" * 64}, False, False),
        ({"kind": "reference", "electron_excess": 0.25}, True, True),
    ],
)
def test_what_is_refuted_in_doubt_disputed_or_in_excess_is_no_parent(said: dict[str, Any], before: bool, safe: bool) -> None:
    evaluation = ENTRY | said
    assert (is_example(evaluation, safe=False), is_example(evaluation, safe=True)) == (before, safe)
