from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coevo.analysis.comparison.fingerprint_table import FingerprintTable, fingerprints
from coevo.analysis.comparison.grouping import first_matches, group
from coevo.analysis.comparison.matching import Matching
from coevo.analysis.comparison.uniqueness import Item

PLAIN = Matching(fragment_veto=False)


@pytest.fixture(scope="module")
def table(random_crystals, known_phases, vary) -> FingerprintTable:
    rng = np.random.default_rng(3)
    small = [structure for structure in known_phases.values() if len(structure) <= 32]
    crystals = [*random_crystals, *small, *(vary(structure, rng) for structure in small)]
    return fingerprints([Item(f"s{k:03d}", structure, 0.0) for k, structure in enumerate(crystals)])


def one_by_one(table: FingerprintTable, existing: int, matching: Matching) -> list[int]:
    """Each row alone against all representatives before it."""
    representatives = list(range(existing))
    found = []
    for row in range(existing, len(table)):
        part = table.take([*representatives, row])
        match = int(first_matches(part, len(representatives), replace(matching, distance_cutoff=None))[0])
        found.append(representatives[match] if match >= 0 else row)
        if match < 0:
            representatives.append(row)
    return found


@pytest.mark.parametrize("existing", [0, 40])
@pytest.mark.parametrize("matching", [PLAIN, Matching()])
def test_groups_are_those_of_single_comparisons(table, existing, matching):
    found = group(table, existing, matching).tolist()
    assert found == one_by_one(table, existing, matching)
    assert 10 < sum(row != representative for row, representative in enumerate(found, start=existing)) < len(found) - 10


def test_a_batch_after_another_is_both_at_once(table):
    """The representatives of a first batch, kept, and a second one against them: what one batch of both gives."""
    whole = [table.ids[row] for row in group(table, 0, PLAIN)]
    half = len(table) // 2
    first = table.take(range(half))
    representatives = first.take(np.unique(group(first, 0, PLAIN)))
    second = FingerprintTable.joined([representatives, table.take(range(half, len(table)))])
    assert [second.ids[row] for row in group(second, len(representatives), PLAIN)] == whole[half:]


def test_workers_do_not_matter(table, monkeypatch):
    monkeypatch.setattr("coevo.analysis.comparison.grouping._FEW", 10)
    monkeypatch.setattr("coevo.analysis.comparison.grouping._TASK", 200)
    rows = np.random.default_rng(0).integers(0, len(table), 500)
    many = replace(table.take(rows), ids=tuple(f"{k}" for k in range(500)))
    told: list[int] = []
    found = group(many, 100, PLAIN, workers=2, progress=told.append)
    assert found.tolist() == group(many, 100, PLAIN).tolist()
    assert sum(told) == 400
    assert len(np.unique(found)) <= len(table)


def test_the_cutoff_loses_no_match_here_and_a_small_one_does(table):
    every = group(table, 0, replace(PLAIN, distance_cutoff=None)).tolist()
    assert group(table, 0, PLAIN).tolist() == every
    tight = group(table, 0, replace(PLAIN, distance_cutoff=1e-3)).tolist()
    assert len(set(tight)) > len(set(every))


def test_rows_of_other_fragments_never_match_under_the_veto(table):
    relabelled = replace(table, signatures=tuple(f"{s}{k}" for k, s in enumerate(table.signatures)))
    assert group(relabelled, 0, Matching()).tolist() == list(range(len(table)))
    assert group(relabelled, 0, PLAIN).tolist() == group(table, 0, PLAIN).tolist()


def test_first_matches_do_not_grow(table):
    twice = FingerprintTable.joined([table, table])
    found = first_matches(twice, len(table), PLAIN)
    assert (found <= np.arange(len(table))).all()
    assert (found >= 0).all()
    assert first_matches(table, 0, PLAIN).tolist() == [-1] * len(table)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_settings_of_the_crystals_do_not_matter(known_phases, move, seed):
    """Every crystal rotated, translated, with shuffled atoms and in another cell: the same groups."""
    rng = np.random.default_rng(seed)
    names = ["Li2S", "Li3P", "P black", "Li bcc", "Li2S", "Li3P"]
    crystals = [known_phases[name] for name in names]
    moved = [move(s.make_supercell([1, 1, int(rng.integers(1, 3))], in_place=False), rng) for s in crystals]
    before, after = (fingerprints([Item(str(k), s, 0.0) for k, s in enumerate(c)]) for c in (crystals, moved))
    assert group(before, 0, PLAIN).tolist() == group(after, 0, PLAIN).tolist() == [0, 1, 2, 3, 0, 1]
