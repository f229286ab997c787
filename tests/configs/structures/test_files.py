"""POSCAR and CONTCAR beside CIF as references: against pymatgen, in all the forms that files come in; and bounds of any file."""

from __future__ import annotations

import bz2
import gzip
import json
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest
from pymatgen.core import Lattice, Structure
from pymatgen.io.vasp import Poscar

from coevo.configs.references import load_references, reference_parts, resolved_references
from coevo.configs.structures import reference_files
from coevo.configs.structures.files import kind_of
from coevo.errors import ReferenceDataError

SODIUM = Structure.from_spacegroup("Im-3m", Lattice.cubic(4.29), ["Na"], [[0, 0, 0]])
SALT = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])


def poscar(structure: Structure = SALT, **options: Any) -> str:
    return str(Poscar(structure, **options).get_str(significant_figures=10))


def loaded(path: Path) -> list[Structure]:
    return [reference.structure for reference in load_references(str(path), ["Na", "Cl"], complete=False)]


def refused(path: Path) -> str:
    started = time.process_time()
    with pytest.raises(ReferenceDataError) as caught:
        loaded(path)
    assert time.process_time() - started < 20
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("POSCAR", "poscar"),
        ("POSCAR_NaCl", "poscar"),
        ("POSCAR.relaxed", "poscar"),
        ("CONTCAR.gz", "poscar"),
        ("NaCl.vasp.bz2", "poscar"),
        ("NaCl-POSCAR", "poscar"),
        ("folder/CONTCAR", "poscar"),
        ("POSCAR.cif", "cif"),
        ("x.CIF.gz", "cif"),
        ("POSCAR.zip", None),
        ("._POSCAR", None),
        ("OUTCAR", None),
        ("poscars.py.txt", "poscar"),
        ("notes.txt", None),
    ],
)
def test_names_tell_the_kind(name: str, kind: str | None) -> None:
    assert kind_of(name) == kind


@pytest.mark.parametrize("name", ["POSCAR", "CONTCAR_2", "salt.vasp", "POSCAR.gz", "salt.vasp.bz2"])
def test_a_poscar_is_read_as_pymatgen_reads_it(tmp_path: Path, name: str) -> None:
    moving = poscar(SALT, selective_dynamics=[[True, False, True]] * 8, velocities=[[0.1, 0.2, 0.3]] * 8)
    compress = {".gz": gzip.compress, ".bz2": bz2.compress}.get(Path(name).suffix, bytes)
    (tmp_path / name).write_bytes(compress(moving.replace("\n", "\r\n").encode()))
    (read,) = loaded(tmp_path / name)
    assert read.lattice.matrix.tolist() == pytest.approx(SALT.lattice.matrix)
    assert [site.specie.symbol for site in read] == ["Na"] * 4 + ["Cl"] * 4
    assert read.frac_coords == pytest.approx(SALT.frac_coords)
    assert not read.site_properties


def test_scaled_and_cartesian_positions_and_potential_names(tmp_path: Path) -> None:
    text = "rock salt\n-45.0\n1 1 0\n1 0 1\n0 1 1\nNa_pv/1a2b3c Cl\n1 1\nCartesian\n0 0 0\n1 0 0\n"
    (tmp_path / "POSCAR").write_text(text)
    (read,) = loaded(tmp_path / "POSCAR")
    assert read.volume == pytest.approx(45.0)
    # positions are scaled as the cell is, by the cube root of 45 / 2
    assert read.cart_coords[1] == pytest.approx([22.5 ** (1 / 3), 0, 0])
    assert read.composition.reduced_formula == "NaCl"


def test_zips_and_directories_hold_a_file_for_each_structure(tmp_path: Path) -> None:
    folder = tmp_path / "known"
    (folder / "deeper").mkdir(parents=True)
    (folder / "POSCAR_salt").write_text(poscar())
    (folder / "deeper" / "Na.cif").write_text(SODIUM.to(fmt="cif"))
    (folder / "notes.txt").write_text("nothing")
    with zipfile.ZipFile(tmp_path / "known.zip", "w") as archive:
        archive.writestr("salt.vasp", poscar())
        archive.writestr("Na.cif.gz", gzip.compress(SODIUM.to(fmt="cif").encode()))
        archive.writestr("__MACOSX/._salt.vasp", "x")
    for place in (folder, tmp_path / "known.zip"):
        assert sorted(s.composition.reduced_formula for s in loaded(place)) == ["Na", "NaCl"]
    (folder / "POSCAR_bad").write_text("x")
    assert "POSCAR_bad" in refused(folder)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "holds no structure"),
        ("Na\n1.0\n4 0 0\n0 4 0\n0 0 4\n1\nDirect\n0 0 0\n", "it names no elements (VASP 4)"),
        ("Na\n1.0\n4 0 0\n0 4 0\n0 0 4\nNa\n1000000000\nDirect\n0 0 0\n", "1000000000 atoms in the cell"),
        ("Na\n1.0\n4 0 0\n0 4 0\n0 0 4\nNa\n99999999999999999999\nDirect\n0 0 0\n", "allowed: numbers of atoms"),
        ("Na\n1e300\n4 0 0\n0 4 0\n0 0 4\nNa\n1\nDirect\n0 0 0\n", "a cell vector of inf Å"),
        ("Na\n1.0\n4 0 0\n0 4 0\n0 0 0\nNa\n1\nCartesian\n0 0 0\n", "not a readable POSCAR"),
        ("Na\n1.0\n4 0 0\n0 4 0\n", "it ends too early"),
        ("Na\n1.0\n4 0 0\n0 4 0\n0 0 4\nNa\n2\nDirect\n0 0 0\n", "do not fit its lines"),
        ("Na\n1.0\n4 0 0\n0 4 0\n0 0 4\nQq\n1\nDirect\n0 0 0\n", "contains Qq, which no periodic table has"),
        ("Na\n1.0\n4 0 0\n0 4 0\n0 0 4\nNa\n1\nDirect\nnan 0 0\n", "no finite numbers"),
    ],
)
def test_poscars_that_are_none(tmp_path: Path, text: str, expected: str) -> None:
    (tmp_path / "POSCAR").write_text(text)
    assert expected in refused(tmp_path / "POSCAR")


CELL = {"matrix": [[4, 0, 0], [0, 4, 0], [0, 0, 4]]}
SITES = [{"species": [{"element": "Na", "occu": 0.9999}], "abc": [0, 0, 0]}]
CUBE = {"a": 10, "b": 10, "c": 10, "alpha": 90, "beta": 90, "gamma": 90}


def general(count: int) -> list[dict[str, Any]]:
    return [{"element": "Na", "xyz": [0.013 * n % 1, 0.0271 * n % 1, (0.0433 * n + 0.1) % 1]} for n in range(count)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[" * 100_000, "not JSON"),
        ('{"a":' * 100_000, "not JSON"),
        ("[" + "9" * 10_000 + "]", "not JSON"),
        (json.dumps({"lattice": {"matrix": [[float("nan"), 0, 0], [0, 4, 0], [0, 0, 4]]}, "sites": SITES}), "finite numbers"),
        (json.dumps({"lattice": {"matrix": [[10**400, 0, 0], [0, 4, 0], [0, 0, 4]]}, "sites": SITES}), "too large"),
        (json.dumps({"lattice": {**CUBE, "a": 1e300}, "sites": SITES}), "a cell vector of 1e+300 Å"),
        (json.dumps({"lattice": {"matrix": [[4, 0, 0], [4, 0, 0], [0, 0, 4]]}, "sites": SITES}), "lie in a plane"),
        (json.dumps({"lattice": CELL, "sites": SITES * 100_000}), "100000 atoms in the cell"),
        (
            json.dumps({"lattice": CELL, "sites": [{**SITES[0], "abc": [n / 900, n / 30, 0]} for n in range(900)]}),
            "at least 1 Å³",
        ),
        (json.dumps({"lattice": CUBE, "space_group_number": 225, "atoms_per_cell": 10**9, "sites": general(1)}), "atoms in the"),
        (json.dumps({"lattice": CUBE, "space_group_number": 225, "atoms_per_cell": 900, "sites": general(900)}), "atoms in the"),
        (json.dumps({"lattice": {"matrix": [[0.01, 0, 0], [0, 90, 0], [0, 0, 90]]}, "sites": SITES}), "nearer than 0.5 Å"),
        (json.dumps({"lattice": {"matrix": [[20, 0, 0], [0, 20, 0], [0, 0, 20]]}, "sites": SITES}), "an isolated atom"),
        (json.dumps([{"lattice": CELL, "sites": SITES}] * 10_001), "holds 10001 structures, allowed: at most 10000"),
    ],
)
def test_absurd_json_is_one_line_within_seconds(tmp_path: Path, text: str, expected: str) -> None:
    (tmp_path / "x.json").write_text(text)
    assert expected in refused(tmp_path / "x.json")


def test_an_occupancy_that_is_one_but_for_rounding_is_one(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(json.dumps({"lattice": CELL, "sites": SITES}))
    assert loaded(tmp_path / "x.json")[0].is_ordered
    sites = [{"species": [{"element": "Na", "occu": 0.95}], "abc": [0, 0, 0]}]
    (tmp_path / "x.json").write_text(json.dumps({"lattice": CELL, "sites": sites}))
    assert "is disordered" in refused(tmp_path / "x.json")


@pytest.mark.parametrize(
    ("lattice", "count", "expected"),
    [
        ("4 0 0 0 4 0 0 0 4", 10**9, "the file ends within a frame"),
        ("1e300 0 0 0 1e300 0 0 0 1e300", 1, "a cell vector of inf Å"),
        ("1e-300 0 0 0 1e-300 0 0 0 1e-300", 1, "a cell vector of 0 Å"),
        ("4 0 0 4 0 0 0 0 4", 1, "lie in a plane"),
        ("20 0 0 0 20 0 0 0 20", 1, "holds no crystal"),
    ],
)
def test_absurd_frames_are_one_line_within_seconds(tmp_path: Path, lattice: str, count: int, expected: str) -> None:
    (tmp_path / "x.extxyz").write_text(f'{count}\nLattice="{lattice}" pbc="T T T"\nNa 0 0 0\n')
    assert expected in refused(tmp_path / "x.extxyz")


def test_files_beyond_the_limit_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / "x.cif").open("wb") as file:
        file.truncate(10**11)  # sparse
    assert "allowed: at most 64 MB" in refused(tmp_path / "x.cif")
    monkeypatch.setattr(reference_files, "MAX_FILE", 10_000)
    (tmp_path / "x.json.gz").write_bytes(gzip.compress(b" " * 20_000))
    assert "holds more than" in refused(tmp_path / "x.json.gz")
    (tmp_path / "y.json.gz").write_bytes(gzip.compress(b" " * 20_000)[:20])
    assert "damaged" in refused(tmp_path / "y.json.gz")


def test_joined_references_are_read_with_and_without_blanks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("more.cif", "a+b.cif", "c.cif"):
        (tmp_path / name).write_text(SODIUM.to(fmt="cif"))
    assert reference_parts("li-p-s + more.cif") == reference_parts("li-p-s+more.cif") == ["li-p-s", "more.cif"]
    assert reference_parts("a+b.cif") == ["a+b.cif"]
    assert reference_parts("a+b.cif + c.cif") == ["a+b.cif", "c.cif"]
    assert reference_parts("more.cif+c.cif") == ["more.cif", "c.cif"]
    assert reference_parts("x+nowhere.cif") == ["x+nowhere.cif"]
    assert resolved_references("li-p-s+more.cif") == f"li-p-s + {tmp_path / 'more.cif'}"
    assert resolved_references("li-p-s") == "li-p-s"
    assert len(load_references("li-s-small+c.cif", ["Li", "Na", "S"])) == 4
