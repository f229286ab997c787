"""``show`` of an entry, exports and hints of a node as commands; and references that make no node."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from pymatgen.core import Structure
from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

from tiny_node import Coevo


def test_show_of_an_entry_says_what_it_is_and_what_it_decomposes_into(finished: Coevo, tmp_path: Path) -> None:
    rows = json.loads(finished("query", "tiny", "--sort=-energy_above_hull", "--format", "json").stdout)
    row = rows[0]
    assert row["energy_above_hull"] > 0
    shown = json.loads(finished("show", "tiny", row["structure_id"], "--format", "json").stdout)
    finished("query", "tiny", f'id="{row["structure_id"]}"', "--format", "poscar", "--output", str(tmp_path / "POSCAR"))
    structure = Structure.from_file(tmp_path / "POSCAR")
    group = SpacegroupAnalyzer(structure, 0.1)
    assert shown["space_group_number"] == row["space_group"] == group.get_space_group_number()
    assert shown["space_group_symbol"] == group.get_space_group_symbol()
    assert shown["density"] == pytest.approx(float(structure.density), rel=1e-6)
    # above the hull, what the phase lies above and what it decomposes into are one thing
    products = shown["decomposition"]["products"]
    assert shown["decomposition"]["energy_per_atom"] == pytest.approx(row["energy_above_hull"], abs=1e-9)
    assert sum(product["atomic_fraction"] for product in products) == pytest.approx(1)
    known = {r["structure_id"]: r for r in rows}
    assert all(product["structure_id"] in known or product["name"] for product in products)
    text = finished("show", "tiny", row["structure_id"]).stdout
    assert f"{group.get_space_group_symbol()} ({row['space_group']}) by spglib, symprec 0.1 Å" in text
    assert all(f"{product['amount']:.4g} {product['formula']}" in text for product in products)
    narrow = Coevo(finished.directory, COLUMNS="80")("show", "tiny", row["structure_id"]).stdout
    assert max(map(len, narrow.splitlines())) <= 80
    assert "data_" in finished("show", "tiny", row["structure_id"], "--format", "cif").stdout
    assert "is for one entry" in finished("show", "tiny", "--format", "cif", code=2).stderr


@pytest.mark.long
def test_show_writes_an_entry_in_the_cell_that_is_asked_for(finished: Coevo) -> None:
    entry = json.loads(finished("query", "tiny", "--limit", "1", "--format", "json").stdout)[0]["structure_id"]
    for format_ in ("cif", "poscar"):
        for cell in ("--primitive", "--conventional", "--as-is"):
            shown = finished("show", "tiny", entry, "--format", format_, cell).stdout
            queried = finished("query", "tiny", f'id="{entry}"', "--format", format_, cell).stdout
            assert shown == queried
    assert "add --format cif" in finished("show", "tiny", entry, "--primitive", code=2).stderr
    assert "give one of" in finished("show", "tiny", entry, "--format", "cif", "--primitive", "--as-is", code=2).stderr
    assert "has an id that begins with 'zz'; coevo query tiny@" in finished("show", "tiny", "zz", code=2).stderr
    assert "has an id that begins with ''" in finished("show", "tiny", "", code=2).stderr


@pytest.mark.long
def test_exported_files_are_known_again_in_every_form(finished: Coevo, tmp_path: Path) -> None:
    rows = json.loads(finished("query", "tiny", "is_sun=TRUE", "--format", "json").stdout)
    for name, options in {"poscars": ["--format", "poscar"], "cifs.zip": ["--format", "cif", "--primitive"]}.items():
        finished("query", "tiny", "is_sun=TRUE", *options, "--output", str(tmp_path / name))
        counted = json.loads(finished("rediscover", "tiny", "--against", str(tmp_path / name), "--format", "json").stdout)[0]
        assert counted["against"]["size"] == len(rows) > 1
        assert counted["new"] == 0
        read = json.loads(finished("analyse", str(tmp_path / name), "--format", "json").stdout)
        assert read["valid"] == read["read"] == len(rows)
        assert json.loads(finished("motifs", str(tmp_path / name), "--format", "json").stdout)
    assert "add --output FOLDER" in finished("query", "tiny", "--format", "poscar", code=2).stderr
    assert "is not overwritten" in (
        finished("query", "tiny", "--format", "poscar", "--output", str(tmp_path / "poscars"), code=2).stderr
    )


def test_filters_that_cannot_match_hint(finished: Coevo) -> None:
    told = finished("query", "tiny", 'chemical_formula_reduced="ZnS"')
    assert 'hint: chemical_formula_reduced = "ZnS": OPTIMADE reduces it' in told.stderr
    assert '"SZn"' in told.stderr
    assert "the node has the elements Li, P, S, and not Zn" in finished("query", "tiny", 'elements HAS "Zn"').stderr
    assert "hint" not in finished("query", "tiny", 'elements HAS "Li"').stderr


ABSURD = {
    "huge.extxyz": '1\nLattice="1e300 0 0 0 1e300 0 0 0 1e300" pbc="T T T"\nLi 0 0 0\n',
    "many.extxyz": '1000000000\nLattice="4 0 0 0 4 0 0 0 4" pbc="T T T"\nLi 0 0 0\n',
    "POSCAR": "Li\n1.0\n4 0 0\n0 4 0\n0 0 4\nLi\n1000000000\nDirect\n0 0 0\n",
}


@pytest.mark.parametrize("name", ABSURD)
def test_absurd_references_make_one_line_and_no_node(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(ABSURD[name])
    coevo, started = Coevo(tmp_path), time.monotonic()
    told = coevo("init", "--elements", "Li-S", "--references", f"li-s-small+{name}", code=2)
    assert time.monotonic() - started < 180
    assert len(told.stderr.strip().splitlines()) == 1
    assert name in told.stderr
    assert f"no node in the database {coevo.database} yet" in coevo("status").stderr
