"""The census of motifs: counts, first appearance, best carrier, references; the same for any order and number of workers."""

from __future__ import annotations

import random

import pytest

from coevo.analysis.motifs.census import Carrier, census, survey


@pytest.fixture(scope="module")
def carriers(known_phases, li2ps3):
    p = known_phases
    return [
        Carrier("ref-a", p["beta-Li3PS4 (ordered approximant)"], 0.0, None, is_reference=True),
        Carrier("ref-b", p["P4S3"], 0.0, None, is_reference=True),
        Carrier("e1", p["beta-Li3PS4 (ordered approximant)"], 0.03, 2),
        Carrier("e2", p["Li7P3S11"], 0.01, 3),
        Carrier("e3", p["Li7PS6 (cubic argyrodite model)"], 0.01, 1),
        Carrier("e4", p["Li2S"], None, 1),
        Carrier("e5", li2ps3, 0.2, 4),
        Carrier("e6", p["Li bcc"], 0.0, 1),
    ]


def test_rows(carriers):
    rows = {row.motif.name: row for row in census(carriers)}
    assert list(rows) == ["PS4", "S (bare)", "P2S6 (P-P bond)", "P2S7", "P4S3 cage"]
    ps4 = rows["PS4"]
    assert (ps4.carriers, ps4.first_iteration, ps4.by_iteration) == (3, 1, {1: 1, 2: 1, 3: 1})
    # of equal energies the lower id
    assert (ps4.best_e_hull, ps4.best_carrier, ps4.in_references, ps4.references) == (0.01, "e2", True, ("ref-a",))
    # 4 ions each of 5 atoms in e1 and e3, 2 in e2; all atoms of all entries
    atoms = sum(len(c.structure) for c in carriers if not c.is_reference)
    assert ps4.atoms_share == pytest.approx((20 + 20 + 10) / atoms)
    # an unknown energy is no best one while there is a known one
    assert (rows["S (bare)"].best_carrier, rows["S (bare)"].best_e_hull, rows["S (bare)"].carriers) == ("e3", 0.01, 2)
    cage = rows["P4S3 cage"]
    assert (cage.carriers, cage.best_carrier, cage.best_e_hull, cage.first_iteration) == (0, None, None, None)
    assert (cage.in_references, cage.by_iteration, cage.atoms_share) == (True, {}, 0.0)
    assert not rows["P2S7"].in_references


def test_charges(carriers, li2ps3):
    found = survey(carriers)
    assert (found.structures, found.references) == (6, 2)
    # Li bcc has no motif
    assert (found.charges.balanced, found.charges.unbalanced, found.charges.unknown) == (7, {}, 1)
    short = li2ps3.copy()
    short.remove_sites([0])
    assert survey([*carriers, Carrier("e7", short)]).charges.unbalanced == {"e7": -1}


def test_order_and_workers_do_not_matter(carriers, monkeypatch):
    monkeypatch.setattr("coevo.analysis.motifs.census._CHUNK", 10)
    shuffled = carriers * 5
    renamed = [Carrier(f"{c.id}-{k}", c.structure, c.e_hull, c.iteration, c.is_reference) for k, c in enumerate(shuffled)]
    expected = survey(renamed)
    random.Random(3).shuffle(renamed)
    again = survey(renamed, workers=2)
    assert [row.to_dict() for row in again.rows] == [row.to_dict() for row in expected.rows]
    assert again.charges == expected.charges
    assert [row.motif.positions for row in again.rows] == [row.motif.positions for row in expected.rows]


def test_nothing_is_an_empty_census():
    found = survey([])
    assert (found.rows, found.structures, found.charges.balanced) == ([], 0, 0)


def test_progress_counts_structures(carriers, monkeypatch):
    monkeypatch.setattr("coevo.analysis.motifs.census._CHUNK", 10)
    done = []
    census(carriers * 3, progress=done.append)
    assert sum(done) == 3 * len(carriers)
    assert len(done) > 1
