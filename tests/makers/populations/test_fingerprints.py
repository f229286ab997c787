"""Fingerprints of a state are there for the next iteration, and are made again where they are not."""

from __future__ import annotations

import pytest

from coevo.analysis.cell_reduction import reduced
from coevo.analysis.comparison.fingerprint_table import fingerprints
from coevo.makers.populations.fingerprints import fingerprint_table
from coevo.makers.populations.population import members
from coevo.makers.step import current_store
from tiny_node import Coevo


@pytest.fixture
def population(finished: Coevo, monkeypatch: pytest.MonkeyPatch):
    """State id and items of the last state of a real campaign."""
    monkeypatch.setenv("COEVO_DATABASE", f"file:{finished.database}")
    view = current_store().state("tiny@main")
    return view.id, [m.item for kind in ("reference", "entry") for m in members(view, kind)]


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A note for each row that is made."""
    notes: list[str] = []

    def spy(crystal):
        notes.append("row")
        return reduced(crystal)

    monkeypatch.setattr("coevo.analysis.comparison.fingerprint_table.reduced", spy)
    return notes


def test_a_state_has_the_rows_of_its_population(population, made) -> None:
    state, items = population
    assert len(items) > 14
    table = fingerprint_table(items, [state], workers=1)
    assert made == []
    fresh = fingerprints(items)
    assert len(made) == len(items)
    assert table.ids == tuple(item.id for item in items)
    assert table.to_bytes() == fresh.to_bytes()


def test_rows_serve_by_geometry_whatever_the_name(population, made) -> None:
    """A structure that is known and one that is not."""
    from dataclasses import replace

    state, items = population
    moved = items[0].structure.copy()
    moved.translate_sites([0], [0.01, 0.0, 0.0])
    fingerprint_table([replace(items[1], id="renamed"), replace(items[0], id="moved", structure=moved)], [state], workers=1)
    assert made == ["row"]


def test_a_state_without_rows_costs_its_size(population, made) -> None:
    """As one that was imported, or whose rows were collected as garbage."""
    _, items = population
    table = fingerprint_table(items, ["0" * 64], workers=1)
    assert len(made) == len(items)
    assert table.to_bytes() == fingerprints(items).to_bytes()


def test_rows_that_were_removed_are_made_again(population, made, monkeypatch: pytest.MonkeyPatch) -> None:
    state, items = population
    store = current_store()
    monkeypatch.setattr(type(store.artifacts), "has", lambda *_: False)
    assert len(fingerprint_table(items, [state], workers=1)) == len(made) == len(items)
