"""What tables say of an excess of electrons, and that they say nothing where nobody counted."""

from __future__ import annotations

from typing import Any

import pytest

from coevo.studies.states.electron_words import candidates_rows, entry_excess_rows, excess_rows


def test_a_state_says_how_many_entries_have_an_excess() -> None:
    population = {"entries": 40, "sun": 11, "electron_excess": 9, "sun_electron_excess": 7}
    ((name, words),) = excess_rows({"population": population})
    assert name == "electron excess"
    assert words == "9 of 40 entries, 7 of 11 S.U.N., hold more electrons than their elements can take"
    ((_, words),) = candidates_rows({"relaxed": 60, "electron_excess": 3})
    assert words.startswith("3 of 60 relaxed ")


def test_states_of_earlier_versions_say_nothing() -> None:
    assert excess_rows({"population": {"entries": 40, "sun": 11}}) == []
    assert candidates_rows({"relaxed": 60}) == []
    assert entry_excess_rows({}) == []


@pytest.mark.parametrize(
    ("value", "words"),
    [(0.1, "0.100 e⁻/atom more than its elements can take"), (0.0, "no excess"), (-1.0, "no excess"), (None, "not counted")],
)
def test_an_entry_says_what_was_counted(value: Any, words: str) -> None:
    ((name, told),) = entry_excess_rows({"electron_excess": value})
    assert name == "electrons"
    assert told.startswith(words)
