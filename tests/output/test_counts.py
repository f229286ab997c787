"""One thing is not several."""

from __future__ import annotations

import pytest

from coevo.output.plain_text import counted


@pytest.mark.parametrize(
    ("count", "plural", "said"),
    [
        (0, "states", "0 states"),
        (1, "states", "1 state"),
        (2, "states", "2 states"),
        (1, "entries", "1 entry"),
        (1, "branches", "1 branch"),
        (1, "references", "1 reference"),
        (1, "minima", "1 minimum"),
        (1, "phases", "1 phase"),
        (1, "job results", "1 job result"),
        (1, "more labels", "1 more label"),
    ],
)
def test_one_thing_is_not_several(count: int, plural: str, said: str) -> None:
    assert counted(count, plural) == said
