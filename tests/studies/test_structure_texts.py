"""Exported CIFs and POSCARs, read again by pymatgen and ASE; files of many; and commands that keep the branch."""

from __future__ import annotations

import io
import zipfile
from typing import Any

import pytest
from ase.io import read
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Lattice, Structure
from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

from coevo.app.commands.look import states
from coevo.app.commands.look.states import put_structures
from coevo.configs.references import load_references
from coevo.configs.structures.cif_blocks import structure_from_cif
from coevo.configs.tree import MaturityConfig
from coevo.errors import QueryError, StorageError
from coevo.studies.states.exporting import cif_text, poscar_text, setting_of
from coevo.studies.states.summaries import next_step, run_command

SALT = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
SMALL = SALT.get_primitive_structure()
IDS = ("ab" * 32, "cd" * 32)


class View:
    """What an export asks of a state."""

    def __init__(self, *structures: Structure):
        self.structures = dict(zip(IDS, structures, strict=False))

    def structure(self, structure_id: str) -> Structure:
        return self.structures[structure_id]

    @property
    def rows(self) -> list[dict[str, Any]]:
        return [{"structure_id": structure_id} for structure_id in self.structures]


@pytest.mark.parametrize("name", ["Li2S", "Li bcc", "P black", "Li3P", "beta-Li3PS4 (ordered approximant)", "P2S5 (P4S10)"])
@pytest.mark.parametrize("setting", ["conventional", "primitive", "as-is"])
def test_a_cif_read_again_is_the_crystal_with_its_space_group(name: str, setting: Any) -> None:
    given = next(r.structure for r in load_references("li-p-s", ["Li", "P", "S"]) if r.name == name)
    group = SpacegroupAnalyzer(given, 0.1)
    text, remark = cif_text(given, "block", setting)
    assert remark == ""
    assert (
        f"# space group {group.get_space_group_symbol()} ({group.get_space_group_number()}) by spglib, symprec 0.1 Angst" in text
    )
    back = structure_from_cif(text)
    assert SpacegroupAnalyzer(back, 0.01).get_space_group_number() == group.get_space_group_number()
    assert StructureMatcher(scale=False).fit(given, back)
    atoms = read(io.StringIO(text), format="cif")
    assert len(atoms) == len(back)
    symbol = "'P 1'" if setting == "as-is" else group.get_space_group_symbol()
    assert f"_symmetry_space_group_name_H-M   {symbol}\n" in text
    if setting == "conventional":
        assert len(back) == len(group.get_refined_structure())
    if setting == "primitive":
        assert len(back) == len(group.find_primitive())
    if setting == "as-is":
        assert back.lattice.parameters == pytest.approx(given.lattice.parameters)


def test_a_cif_is_conventional_and_a_poscar_as_stored_unless_it_is_said() -> None:
    assert len(structure_from_cif(cif_text(SMALL, "x")[0])) == 8
    assert len(read(io.StringIO(poscar_text(SALT, "salt")[0]), format="vasp")) == 8
    text, _ = poscar_text(SALT, "salt", "primitive")
    assert text.splitlines()[0] == "salt primitive cell, Fm-3m (225), symprec 0.1 Angstrom"
    atoms = read(io.StringIO(text), format="vasp")
    assert sorted(atoms.get_chemical_symbols()) == ["Cl", "Na"]
    assert (setting_of("cif"), setting_of("poscar"), setting_of("poscar", conventional=True)) == (
        "conventional",
        "as-is",
        "conventional",
    )
    with pytest.raises(QueryError, match="--primitive and --as-is: a structure has one cell"):
        setting_of("cif", primitive=True, as_is=True)
    with pytest.raises(QueryError, match="add --format cif or --format poscar"):
        setting_of("csv", primitive=True)


def test_elements_of_a_poscar_are_grouped() -> None:
    mixed = Structure(Lattice.cubic(5), ["S", "Li", "S", "Li"], [[0, 0, 0], [0.5, 0, 0], [0, 0.5, 0], [0, 0, 0.5]])
    lines = poscar_text(mixed, "x")[0].splitlines()
    assert (lines[5].split(), lines[6].split()) == (["Li", "S"], ["2", "2"])


def test_many_structures_are_a_folder_or_a_zip_and_never_over_others(tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    view: Any = View(SALT, SMALL)
    put_structures(view, view.rows, "poscar", "as-is", tmp_path / "folder", False)
    names = sorted(path.name for path in (tmp_path / "folder").iterdir())
    assert names == [f"NaCl-{structure_id[:16]}.vasp" for structure_id in IDS]
    assert [len(read(tmp_path / "folder" / name, format="vasp")) for name in names] == [8, 2]
    with pytest.raises(StorageError, match="it is there already"):
        put_structures(view, view.rows, "poscar", "as-is", tmp_path / "folder", False)
    put_structures(view, view.rows, "poscar", "as-is", tmp_path / "folder", True)
    put_structures(view, view.rows, "cif", "primitive", tmp_path / "all.zip", False)
    with zipfile.ZipFile(tmp_path / "all.zip") as archive:
        texts = [archive.read(name).decode() for name in archive.namelist()]
    assert [len(structure_from_cif(text)) for text in texts] == [2, 2]
    put_structures(view, view.rows, "cif", "conventional", tmp_path / "all.cif", False)
    assert (tmp_path / "all.cif").read_text().count("\ndata_") == 2
    put_structures(view, view.rows[:1], "poscar", "as-is", tmp_path / "POSCAR", False)
    assert len(read(tmp_path / "POSCAR", format="vasp")) == 8
    with pytest.raises(QueryError, match="2 entries match, and a POSCAR holds one"):
        put_structures(view, view.rows, "poscar", "as-is", None, False)
    with pytest.raises(QueryError, match="no entry matches"):
        put_structures(view, [], "cif", "as-is", None, False)
    capsys.readouterr()
    put_structures(view, view.rows, "cif", "conventional", None, False)
    assert capsys.readouterr().out.count("data_") == 2


def test_what_is_not_idealised_is_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    overlapping: Any = View(Structure(Lattice.cubic(4), ["Li", "Li"], [[0, 0, 0], [0, 0, 0]]))
    said: list[str] = []
    monkeypatch.setattr(states, "say", said.append)
    put_structures(overlapping, overlapping.rows, "cif", "conventional", None, False)
    assert "is written as it is stored: no symmetry was found" in said[0]
    assert "# not idealised: no symmetry was found" in capsys.readouterr().out


def test_commands_to_go_on_keep_the_branch() -> None:
    assert run_command("li", "main", 2) == "coevo run li -n 2"
    assert run_command("li", "try", 2) == "coevo run li --branch try -n 2"
    metrics = {"maturity": {"mature": False, "signals": []}, "ruler": {}}
    config = {"maturity": MaturityConfig(patience=2).model_dump()}
    told = next_step("li", metrics, config, "try")
    assert told == "no candidate was generated yet: coevo run li --branch try -n 3"
    moving = {"maturity": {"mature": False, "signals": [{"name": "entropy", "cause": "moving"}]}, "iteration": {}}
    assert "coevo run li --branch try -n 3" in next_step("li", moving, config, "try")
    mature = {"maturity": {"mature": True, "signals": []}}
    assert "coevo query li@try" in next_step("li", mature, config, "try")
