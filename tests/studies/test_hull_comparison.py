"""The hull of a state beside a database's table: against pymatgen's phase diagram and hand computation, and what is refused."""

from __future__ import annotations

import csv
import gzip
import io
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from pymatgen.analysis.phase_diagram import PDEntry, PhaseDiagram
from pymatgen.core import Composition, Lattice, Structure

from coevo.errors import AnalysisError
from coevo.makers.populations.population import members
from coevo.node_store.store import open_store
from coevo.settings import Settings
from coevo.studies.hull_comparison import energy_tables
from coevo.studies.hull_comparison.comparison import Parity, compare_hulls
from coevo.studies.hull_comparison.energy_tables import read_energy_table
from tiny_node import Coevo

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from coevo.node_store.views import StateView

ELEMENTS = ("Li", "P", "S")
SULPHIDE = -0.503
"""MP2020's correction of sulphur in a compound, eV an atom of it (Wang et al., Sci. Rep. 11, 15496 (2021))."""
THEIRS = [
    {"entry_id": "a-1", "composition": {"Li": 4, "S": 2}, "e_form_per_atom": -1.55, "e_above_hull": 0.0},
    {"entry_id": "a-2", "composition": {"Li": 2, "S": 1}, "e_form_per_atom": -1.40, "e_above_hull": 0.15},
    {"entry_id": "a-3", "composition": {"Li": 1, "S": 13}, "e_form_per_atom": -0.55, "e_above_hull": 0.0},
    {"entry_id": "a-4", "formula": "Li3P", "e_form_per_atom": -0.70, "e_above_hull": 0.0},
    {"entry_id": "a-5", "formula": "S", "e_form_per_atom": 0.0, "e_above_hull": 0.0},
    {"entry_id": "a-6", "formula": "Na2S", "e_form_per_atom": -1.2, "e_above_hull": 0.0},
    {"entry_id": "a-7", "formula": "LiP", "e_above_hull": 0.0},
    {"entry_id": "a-8", "formula": "LiP", "e_form_per_atom": float("nan"), "e_above_hull": 0.0},
    {"entry_id": "a-9", "formula": "Qq2", "e_form_per_atom": 0.1},
]


@pytest.fixture(scope="module")
def state(seeded: Path) -> Iterator[StateView]:
    """Iteration 0: elements, Li2S, Li3P and Li3PS4, by the published force field."""
    with open_store(Settings(database=f"file:{Coevo(seeded).database}")) as store:
        yield store.state("tiny")


def written(path: Path, rows: Any) -> Path:
    path.write_text(json.dumps(rows))
    return path


def refused(path: Path, **options: Any) -> str:
    with pytest.raises(AnalysisError) as caught:
        read_energy_table(path, ELEMENTS, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def stable_by_pymatgen(rows: dict[str, float]) -> set[str]:
    """Stable compounds among formulas with their formation energies, eV/atom."""
    entries = [PDEntry(Composition(formula), energy * Composition(formula).num_atoms) for formula, energy in rows.items()]
    diagram = PhaseDiagram([*entries, *(PDEntry(Composition(symbol), 0.0) for symbol in ELEMENTS)])
    return {entry.reduced_formula for entry in diagram.stable_entries if len(entry.composition) > 1}


def test_a_table_is_read_row_by_row_and_what_is_left_out_is_counted(tmp_path: Path) -> None:
    table = read_energy_table(written(tmp_path / "theirs.json", {"entries": THEIRS}), ELEMENTS)
    assert [(entry.id, entry.formula) for entry in table.entries] == [
        ("a-1", "Li2S"), ("a-2", "Li2S"), ("a-3", "LiS13"), ("a-4", "Li3P"), ("a-5", "S"),
    ]  # fmt: skip
    assert table.left_out == {"off_system": 1, "no_formation_energy": 2, "no_composition": 1}
    packed = tmp_path / "theirs.csv.gz"
    text = "material_id,formula_pretty,formation_energy_per_atom,energy_above_hull\nm-1,Li2S,-1.5,0.0\nm-2,LiS4,-0.6,\n"
    packed.write_bytes(gzip.compress(text.encode()))
    first, second = read_energy_table(packed, ELEMENTS).entries
    assert (first.formula, first.formation_energy, first.energy_above_hull) == ("Li2S", -1.5, 0.0)
    assert (second.id, second.energy_above_hull) == ("m-2", None)


def test_energies_of_two_databases_are_not_mixed(tmp_path: Path) -> None:
    def row(**energies: float) -> dict[str, Any]:
        given = [{"database": name, "id": f"{name}-1", "formation_energy_per_atom": value} for name, value in energies.items()]
        return {"formula": "Li2S", "databases": given}

    path = written(tmp_path / "both.json", {"phases": [row(mp=-1.4, oqmd=-1.3), row(oqmd=-1.2)]})
    assert "mp, oqmd" in refused(path)
    assert "allowed: mp, oqmd" in refused(path, database="alexandria")
    assert [(e.id, e.formation_energy) for e in read_energy_table(path, ELEMENTS, "mp").entries] == [("mp-1", -1.4)]
    assert [e.formation_energy for e in read_energy_table(path, ELEMENTS, "oqmd").entries] == [-1.3, -1.2]


def test_what_is_no_table_is_refused_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(energy_tables, "MAX_FILE", 2**20)
    assert "allowed: .json or .csv" in refused(tmp_path / "theirs.cif")
    assert "cannot be read" in refused(tmp_path / "nowhere.json")
    assert "got no list" in refused(written(tmp_path / "a.json", {"x": 1}))
    assert "2 no_composition" in refused(written(tmp_path / "b.json", [{}, {"formula": "Li2S" * 100}, 7]))
    deep = tmp_path / "deep.json"
    deep.write_text("[" * 100_000)
    assert "not JSON" in refused(deep)
    (tmp_path / "bad.json.gz").write_bytes(b"no gzip")
    assert "cannot be read" in refused(tmp_path / "bad.json.gz")
    large = tmp_path / "large.json.gz"
    large.write_bytes(gzip.compress(b" " * (2**20 + 2)))
    assert "more than 1 MB" in refused(large)


def test_a_structure_beyond_the_bounds_is_left_out_and_the_row_kept(tmp_path: Path) -> None:
    huge = {"lattice": {"matrix": (np.eye(3) * 1e9).tolist()}, "sites": [{"species": [{"element": "Li"}], "abc": [0, 0, 0]}]}
    path = written(tmp_path / "a.json", [{"formula": "Li2S", "formation_energy_per_atom": -1.5, "structure": huge}])
    table = read_energy_table(path, ELEMENTS)
    assert [(entry.formula, entry.structure) for entry in table.entries] == [("Li2S", None)]
    assert table.left_out == {"no_structure": 1}


def test_parity_by_hand() -> None:
    found = Parity.of([0.1, -0.3])
    assert (found.n, found.mean, found.mae) == (2, pytest.approx(-0.1), pytest.approx(0.2))
    assert found.rmse == pytest.approx(np.sqrt(0.05))
    assert Parity.of([]) == Parity(0)


def test_by_composition_with_and_without_the_correction(state: StateView, tmp_path: Path) -> None:
    table = read_energy_table(written(tmp_path / "theirs.json", THEIRS), ELEMENTS)
    found = compare_hulls(state, table, "mp2020")
    given, theirs_bare, bare = found.comparisons
    ours = {m.document["formula"]: m.document for m in members(state, "reference") if m.document["nelements"] > 1}
    assert set(ours) == {"Li2S", "Li3P", "Li3PS4"}

    # on their side alone the table's own words count; LiS13 is on their hull with the correction and above it without
    assert given.stable(ours=True, theirs=True) == ["Li2S", "Li3P"]
    assert given.stable(ours=False, theirs=True) == ["LiS13"]
    assert given.stable(ours=True, theirs=False) == ["Li3PS4"]
    energies = {"Li2S": -1.55, "LiS13": -0.55, "Li3P": -0.70}
    removed = {f: e - SULPHIDE * Composition(f).get_atomic_fraction("S") for f, e in energies.items()}
    for comparison in (theirs_bare, bare):
        stable = {row.formula for row in comparison.rows if row.theirs is not None and row.theirs.stable}
        assert stable == stable_by_pymatgen(removed)
        assert {row.formula: row.theirs.formation_energy for row in comparison.rows if row.theirs} == pytest.approx(removed)
    assert "LiS13" not in stable_by_pymatgen(removed)

    # ours by the documents of the state, and their lowest of two
    (row,) = [row for row in given.rows if row.formula == "Li2S"]
    assert row.theirs is not None
    assert row.theirs.id == "a-1"
    assert row.difference == pytest.approx(ours["Li2S"]["formation_energy_per_atom"] + 1.55)
    assert given.by_formula.n == 2
    assert theirs_bare.by_formula.mean == pytest.approx(given.by_formula.mean + SULPHIDE / 3 / 2)
    # the same is taken from both
    assert bare.by_formula.mean == pytest.approx(given.by_formula.mean)
    bare_ours = {r.formula: r.ours.formation_energy for r in bare.rows if r.ours}
    expected = {f: d["formation_energy_per_atom"] - SULPHIDE * Composition(f).get_atomic_fraction("S") for f, d in ours.items()}
    assert bare_ours == pytest.approx(expected)

    # 0.15 as given, as the lowest Li2S is 0.15 below; LiS13 is on the hull as given
    assert given.hull_of_table == pytest.approx(0.0, abs=1e-9)
    assert "no structures: all is compared by composition" in " ".join(found.notes)
    assert [c.scale for c in compare_hulls(state, table).comparisons] == [given.scale]
    assert "say --correction" in " ".join(compare_hulls(state, table).notes)


def test_crystals_are_matched_where_the_table_has_them(state: StateView, tmp_path: Path) -> None:
    salt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.2), ["Li", "S"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    rows = [{"name": "salt", "structure": salt.as_dict(), "formation_energy_per_atom": -0.9}]
    for member in members(state, "reference"):
        if member.document["nelements"] > 1:
            larger = member.structure.make_supercell([2, 1, 1], in_place=False)
            energy = member.document["formation_energy_per_atom"] - 0.25
            rows.append({"name": member.document["formula"], "structure": larger.as_dict(), "formation_energy_per_atom": energy})
    found = compare_hulls(state, read_energy_table(written(tmp_path / "theirs.json", rows), ELEMENTS), "none")
    given, bare = found.comparisons
    assert {(pair.theirs, pair.formula) for pair in given.pairs} == {("Li2S", "Li2S"), ("Li3P", "Li3P"), ("Li3PS4", "Li3PS4")}
    assert (given.by_structure.n, given.by_structure.mean) == (3, pytest.approx(0.25))
    # theirs are said to hold none, so ours alone loses it
    part = sum(-SULPHIDE * Composition(f).get_atomic_fraction("S") for f in ("Li2S", "Li3P", "Li3PS4")) / 3
    assert bare.by_structure.mean == pytest.approx(0.25 + part)
    assert given.hull_of_table is None
    assert any(note.startswith("the table gives no E_hull") for note in found.notes)
    assert any("3 of them are crystals of the state" in note for note in found.notes)


def test_the_command_prints_tables_json_and_csv(seeded: Path, tmp_path: Path) -> None:
    coevo, path = Coevo(seeded), str(written(tmp_path / "theirs.json", THEIRS))
    told = " ".join(coevo("references", "compare", "tiny", path, "--correction", "mp2020").stdout.split())
    assert "stable compounds: 2 in both (Li2S, Li3P), 1 in ours only (Li3PS4), 1 in theirs only (LiS13)" in told
    assert "ours: tiny@" in told
    assert "theirs: theirs.json: 5 entries; formation energies as the table gives them, said to hold MP2020's correction" in told
    document = json.loads(coevo("references", "compare", "tiny", path, "--format", "json").stdout)
    assert document["comparisons"][0]["stable_only_in_theirs"] == ["LiS13"]
    rows = list(csv.DictReader(io.StringIO(coevo("references", "compare", "tiny", path, "--format", "csv").stdout)))
    assert {row["formula"] for row in rows if row["their_stable"] == "True"} == {"Li2S", "LiS13", "Li3P"}
