from __future__ import annotations

import io

import numpy as np
import pytest

from coevo.analysis.cell_reduction import Crystal, reduced
from coevo.analysis.comparison.fingerprint_table import FingerprintTable, fingerprints
from coevo.analysis.comparison.fingerprints import average_minimum_distances
from coevo.analysis.comparison.uniqueness import Item, table_of
from coevo.analysis.motifs.bond_graphs import fragment_signature
from coevo.errors import AnalysisError


@pytest.fixture(scope="module")
def items(random_crystals, known_phases) -> list[Item]:
    small = [structure for structure in known_phases.values() if len(structure) <= 32]
    return [Item(f"s{k}", structure, 0.0) for k, structure in enumerate([*random_crystals[:20], *small])]


@pytest.fixture(scope="module")
def table(items) -> FingerprintTable:
    return fingerprints(items)


def test_rows(items, table):
    assert table.ids == tuple(item.id for item in items)
    for row, item in enumerate(items):
        crystal = reduced(Crystal.from_structure(item.structure))
        assert all(np.array_equal(a, b) for a, b in zip(table.crystal(row), crystal, strict=True))
        assert table.signatures[row] == fragment_signature(item.structure)
        assert table.distances_of([row])[0] == pytest.approx(average_minimum_distances(crystal).ravel(), abs=1e-6)


def test_bytes_come_back(table):
    data = table.to_bytes()
    assert FingerprintTable.from_bytes(data).to_bytes() == data
    nothing = fingerprints([])
    assert len(FingerprintTable.from_bytes(nothing.to_bytes())) == 0


def test_rows_are_taken_and_joined(table):
    odd, even = table.take(np.arange(1, len(table), 2)), table.take(np.arange(0, len(table), 2))
    both = FingerprintTable.joined([odd, even])
    back = both.take([both.ids.index(name) for name in table.ids])
    assert back.to_bytes() == table.to_bytes()
    assert len(table.take([])) == 0


@pytest.mark.long
def test_workers_do_not_matter(items):
    many = [Item(f"{item.id}-{k}", item.structure, 0.0) for k in range(16) for item in items]
    assert len(many) > 400
    told: list[int] = []
    assert fingerprints(many, workers=2, progress=told.append).to_bytes() == fingerprints(many).to_bytes()
    assert sum(told) == len(many)


def test_known_rows_are_not_made_again(items, table, monkeypatch):
    made: list[str] = []

    def spy(structure):
        made.append("row")
        return reduced(structure)

    monkeypatch.setattr("coevo.analysis.comparison.fingerprint_table.reduced", spy)
    mixed = [items[3], Item("new", items[0].structure, 0.0), items[1]]
    found = table_of(mixed, table)
    assert made == ["row"]
    assert found.ids == ("s3", "new", "s1")
    assert np.array_equal(found.crystal(1).fractional, table.crystal(0).fractional)


def altered(table: FingerprintTable, **changes) -> bytes:
    with np.load(io.BytesIO(table.to_bytes())) as parts:
        arrays = dict(parts)
    buffer = io.BytesIO()
    np.savez(buffer, **(arrays | changes))
    return buffer.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no archive",
        lambda t: t.to_bytes()[:-100],
        lambda t: altered(t, version=np.array(99)),
        lambda t: altered(t, cells=np.zeros((1, 3, 3))),
        lambda t: altered(t, distances=np.zeros(5, dtype=np.float32)),
        lambda t: altered(t, ids=np.array([object()], dtype=object)),
    ],
)
def test_damaged_tables_are_refused(table, data):
    with pytest.raises(AnalysisError, match="fingerprints"):
        FingerprintTable.from_bytes(data if isinstance(data, bytes) else data(table))
