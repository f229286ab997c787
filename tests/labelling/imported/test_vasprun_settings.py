"""What of a vasprun.xml enters the digest of the settings, and what must not."""

from __future__ import annotations

from pathlib import Path

import pytest
from vasprun_text import TYPES, Run, write

from coevo.errors import LabellingError
from coevo.labelling.digest import settings_digest
from coevo.labelling.imported import read_labels

DIFFERENT = {
    "gamma only": Run(mesh=(1, 1, 1)),
    "listed points": Run(mesh=None),
    "spin": Run(incar={"ISPIN": 2}),
    "spin-orbit": Run(incar={"LSORBIT": True}),
    "non-collinear": Run(incar={"LNONCOLLINEAR": True}),
    "charge": Run(parameters={"NELECT": 11.0}),
    "cutoff": Run(incar={"ENCUT": 680.0}),
    "precision": Run(incar={"PREC": "Normal"}),
    "aspherical": Run(incar={"LASPH": True}),
    "dispersion": Run(incar={"IVDW": 12}),
    "its damping": Run(incar={"IVDW": 11}),
    "its parameters": Run(incar={"IVDW": 12, "VDW_S8": 0.5}),
    "exact exchange": Run(incar={"LHFCALC": True, "HFSCREEN": 0.2, "AEXX": 0.25}),
    "more of it": Run(incar={"LHFCALC": True, "HFSCREEN": 0.2, "AEXX": 0.35}),
    "its screening": Run(incar={"LHFCALC": True, "HFSCREEN": 0.207, "AEXX": 0.25}),
    "its mesh": Run(incar={"LHFCALC": True, "HFSCREEN": 0.2, "AEXX": 0.25, "NKRED": 2}),
    "share of correlation": Run(incar={"GGA": "MK", "LUSE_VDW": True, "AGGAC": 0.0}),
    "constant of a functional": Run(incar={"GGA": "MK", "LUSE_VDW": True, "PARAM2": 0.711357}),
    "functional without them": Run(incar={"GGA": "MK", "LUSE_VDW": True}),
    "U": Run(incar={"LDAU": True, "LDAUU": [0.0, 4.0], "LDAUJ": [0.0, 0.0], "LDAUL": [-1, 2]}),
    "J": Run(incar={"LDAU": True, "LDAUU": [0.0, 4.0], "LDAUJ": [0.0, 1.0], "LDAUL": [-1, 2]}),
    "dipole correction": Run(incar={"LDIPOL": True, "IDIPOL": 3}),
    "gradients off the lattice's symmetry": Run(incar={"GGA_COMPAT": False}),
    "fixed moment": Run(incar={"ISPIN": 2, "NUPDOWN": 1.0}),
}
SAME = {
    "smearing": Run(incar={"ISMEAR": 1, "SIGMA": 0.2}),
    "version": Run(version="5.4.4"),
    "algorithm": Run(incar={"ALGO": "All", "NELM": 60, "LREAL": "Auto"}),
    "relaxation": Run(incar={"IBRION": 2, "ISIF": 3}),
    "a mesh as dense": Run(mesh=(5, 4, 4)),
    "U that is zero": Run(incar={"LDAU": True, "LDAUU": [0.0, 0.0], "LDAUJ": [0.0, 0.0], "LDAUL": [-1, -1]}),
    "a share at its default": Run(incar={"AGGAC": 1.0, "PARAM1": 0.1234}),
    "dispersion that is off": Run(incar={"IVDW": 0}),
    "gradients as usual": Run(incar={"GGA_COMPAT": True}, parameters={"GGA_COMPAT": True}),
}


def digest(path: Path) -> str:
    return settings_digest(_without_version(path))


def _without_version(path: Path) -> object:
    import dataclasses

    return dataclasses.replace(read_labels(path).settings, version="")


def test_what_changes_the_numbers_changes_the_digest(tmp_path: Path) -> None:
    found = {"plain": digest(write(tmp_path, Run()))}
    for name, run in DIFFERENT.items():
        found[name] = digest(write(tmp_path, run))
        same = [other for other, value in found.items() if value == found[name]]
        assert same == [name]


@pytest.mark.parametrize("name", SAME)
def test_what_does_not_is_recorded_or_left_out(tmp_path: Path, name: str) -> None:
    assert digest(write(tmp_path, SAME[name])) == digest(write(tmp_path, Run()))


def test_neither_composition_nor_cell_is_in_the_parameters(tmp_path: Path) -> None:
    lithium = ((3, "Li", 3.0, TYPES[0][3]),)
    one = read_labels(write(tmp_path, Run()))
    other = read_labels(write(tmp_path, Run(types=lithium, parameters={"NELECT": 9.0}, mesh=(3, 3, 3))))
    assert one.settings.parameters | {"potentials": 0} == other.settings.parameters | {"potentials": 0}
    assert one.potentials == {"Li": "PAW_PBE Li_sv 10Sep2004", "S": "PAW_PBE S 06Sep2000"}
    assert other.potentials == {"Li": "PAW_PBE Li_sv 10Sep2004"}


def test_charge_is_that_of_the_cell(tmp_path: Path) -> None:
    for electrons, charge in ((11.0, 1.0), (13.0, -1.0), (12.0, None), (None, None)):
        imported = read_labels(write(tmp_path, Run(parameters={"NELECT": electrons})))
        assert imported.settings.parameters.get("charge") == charge
        assert any("charged" in note for note in imported.notes) == bool(charge)


def test_u_is_of_the_species_that_carries_it(tmp_path: Path) -> None:
    run = Run(incar={"LDAU": True, "LDAUU": [0.0, 4.0], "LDAUJ": [0.0, 1.0], "LDAUL": [-1, 2], "LDAUTYPE": 1})
    assert read_labels(write(tmp_path, run)).settings.parameters["hubbard"] == {"S": {"l": 2, "u": 4.0, "j": 1.0, "type": 1}}
    with pytest.raises(LabellingError, match="LDAUU has 1 values for 2 species"):
        read_labels(write(tmp_path, Run(incar={"LDAU": True, "LDAUU": [4.0]})))


def test_smearing_version_and_mesh_are_recorded(tmp_path: Path) -> None:
    run = Run(incar={"ISMEAR": 1, "SIGMA": 0.2, "KSPACING": 0.5})
    recorded = read_labels(write(tmp_path, run)).recorded
    assert (recorded["version"], recorded["smearing"]) == ("6.4.2", {"ISMEAR": 1, "SIGMA": 0.2})
    assert recorded["k_mesh"] == [4, 4, 4]
    low, high = recorded["k_spacing_range"]
    assert low <= 0.5 <= high
    assert recorded["tags"]["KSPACING"] == 0.5


def test_two_potentials_of_one_element_are_both_named(tmp_path: Path) -> None:
    types = ((1, "Li", 3.0, "PAW_PBE Li_sv 10Sep2004"), (1, "Li", 1.0, "PAW_PBE Li 17Jan2003"), TYPES[1])
    imported = read_labels(write(tmp_path, Run(types=types, parameters={"NELECT": 10.0})))
    assert imported.potentials["Li"] == "PAW_PBE Li 17Jan2003; PAW_PBE Li_sv 10Sep2004"
