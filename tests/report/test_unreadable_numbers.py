"""Numbers of a state that somebody else's code made are one error, and no report."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from coevo.errors import CorruptArtifactError
from coevo.report.figures.second_opinion import agreement_plot
from coevo.report.writing import _reportable


def test_a_table_of_agreement_without_its_rows() -> None:
    agreement = {"voices": ["force_field", "b"], "pairs": [], "compared": 1, "stable": [1, 1]}
    view = SimpleNamespace(node="n", id="0" * 64)
    data = cast(
        "Any", SimpleNamespace(metrics={"committee": {"agreement": agreement, "force_field": {"family": "chgnet"}}}, view=view)
    )
    with pytest.raises(CorruptArtifactError, match=r"the numbers of n@0+ are not those .*IndexError"), _reportable(data):
        agreement_plot(data)


@pytest.mark.parametrize("error", [IndexError("a"), ZeroDivisionError("a"), OverflowError("a")])
def test_arithmetic_of_odd_numbers(error: Exception) -> None:
    data = cast("Any", SimpleNamespace(view=SimpleNamespace(node="n", id="0" * 64)))
    with pytest.raises(CorruptArtifactError, match="so there is no report"), _reportable(data):
        raise error
