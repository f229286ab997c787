"""The functional that a vasprun.xml is of: by each of its tags, in one spelling, and never by a guess."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
from pymatgen.io.vasp import Vasprun
from vasprun_text import TYPES, Run, Step, write

from coevo.errors import LabellingError
from coevo.labelling.imported import read_labels
from coevo.labelling.imported.functionals import canonical

LDA_TYPES = tuple((count, symbol, valence, title.replace("PAW_PBE", "PAW")) for count, symbol, valence, title in TYPES)
HYBRID = {"LHFCALC": True, "AEXX": 0.25, "HFSCREEN": 0.2}

NAMED = {
    "PBE": (Run(), "GGA"),
    "PBEsol": (Run(incar={"GGA": "PS"}, parameters={"GGA": "PS"}), "PBEsol"),
    "RPBE": (Run(parameters={"GGA": "RP"}), "revPBE+Padé"),
    "r2SCAN": (Run(incar={"METAGGA": "R2SCAN"}), "R2SCAN"),
    "SCAN": (Run(incar={"METAGGA": "Scan ! a comment"}), None),
    "rSCAN": (Run(incar={"METAGGA": "RSCAN"}, parameters={"LMETAGGA": True}), "RSCAN"),
    "HSE06": (Run(incar=HYBRID, parameters=HYBRID), "HSE06"),
    "HSE03": (Run(parameters={**HYBRID, "HFSCREEN": 0.3}), "HSE03"),
    "HSEsol": (Run(parameters={**HYBRID, "GGA": "PS"}), None),
    "PBE0": (Run(parameters={**HYBRID, "HFSCREEN": 0.0}), "PBEO or other Hybrid Functional"),
    "HF": (Run(parameters={**HYBRID, "AEXX": 1.0, "HFSCREEN": 0.0}), "HF"),
    "hybrid(PBE,AEXX=0.4,HFSCREEN=0.2)": (Run(parameters={**HYBRID, "AEXX": 0.4}), None),
    "PBE+D3": (Run(incar={"IVDW": 12}, steps=(Step(free=-12.72, electronic=-12.3),)), "GGA+vdW-DFT-D3-BJ"),
    "PBEsol+D3": (Run(incar={"IVDW": 11, "GGA": "PS"}), None),
    "PBE+TS": (Run(incar={"IVDW": 20}), "GGA+vdW-TS"),
    "PBE+IVDW=77": (Run(incar={"IVDW": 77}), "GGA+vdW-unknown"),
    "vdW-DF": (Run(incar={"GGA": "RE", "LUSE_VDW": True, "AGGAC": 0.0}, parameters={"LUSE_VDW": True}), None),
    "optB86b-vdW": (Run(incar={"GGA": "MK", "LUSE_VDW": True}), None),
    "rev-vdW-DF2": (Run(incar={"GGA": "MK", "LUSE_VDW": True}, parameters={"ZAB_VDW": -1.8867}), None),
    "SCAN+rVV10": (Run(incar={"METAGGA": "SCAN", "LUSE_VDW": True}, parameters={"LUSE_VDW": True}), "SCAN+rVV10"),
    "PBE+U": (Run(incar={"LDAU": True, "LDAUU": [0.0, 4.0], "LDAUJ": [0.0, 0.0], "LDAUL": [-1, 2]}), "GGA+U"),
    "XYZ": (Run(incar={"METAGGA": "XYZ"}), "XYZ"),
    "QQ": (Run(parameters={"GGA": "QQ"}), "QQ"),
}
"""Functional to a run of it, and what pymatgen calls it (None where pymatgen has no other word than a part of it)."""


@pytest.mark.parametrize("name", NAMED)
def test_each_tag_is_heard(tmp_path: Path, name: str) -> None:
    run, run_type = NAMED[name]
    path = write(tmp_path, run)
    imported = read_labels(path)
    assert imported.settings.functional == name
    assert "METAGGA" in imported.taken["functional"]
    assert read_labels(path, functional=name.upper()).settings.functional == name
    if run_type:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # pymatgen takes parameters for hybrids and U that every run has for granted
            defaults = {"AEXX": 0.0, "HFSCREEN": 0.0, "LDAU": False}
            full = Run(run.incar, {**defaults, **run.parameters}, run.steps)
            assert Vasprun(str(write(tmp_path, full)), parse_potcar_file=False).run_type == run_type


def test_what_the_user_says_must_not_contradict_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, NAMED["r2SCAN"][0])
    assert read_labels(path, functional="R2SCAN").settings.functional == "r2SCAN"
    with pytest.raises(LabellingError, match=r"its functional is r2SCAN, not PBE.*contradict"):
        read_labels(path, functional="PBE")
    with pytest.raises(LabellingError, match=r"its functional is PBE\+D3, not PBE"):
        read_labels(write(tmp_path, NAMED["PBE+D3"][0]), functional="PBE")


def test_what_the_file_leaves_open_is_asked_for(tmp_path: Path) -> None:
    for run in (Run(types=LDA_TYPES), Run(parameters={"GGA": None}), Run(types=(TYPES[0], LDA_TYPES[1]))):
        path = write(tmp_path, run)
        with pytest.raises(LabellingError, match="does not say its functional; give it: --functional PBE"):
            read_labels(path)
        imported = read_labels(path, functional="lda")
        assert (imported.settings.functional, imported.taken["functional"]) == ("LDA", "--functional")


def test_energy_that_nothing_names_makes_the_functional_open(tmp_path: Path) -> None:
    """VASP 5.3 with LVDW: the tag is not in the file, and the energy of the ionic step holds the dispersion."""
    path = write(tmp_path, Run(steps=(Step(free=-12.72, electronic=-12.3),), version="5.3.5"))
    with pytest.raises(LabellingError, match=r"holds -0\.1400 eV/atom beyond that of its electrons.*--functional PBE\+D3"):
        read_labels(path)
    with pytest.raises(LabellingError, match="--functional says PBE, and the file PBE with something beyond it"):
        read_labels(path, functional="PBE")
    with pytest.raises(LabellingError, match="--functional says r2SCAN"):
        read_labels(path, functional="r2SCAN")
    imported = read_labels(path, functional="PBE-D2")
    assert imported.settings.functional == "PBE+D2"
    assert imported.frames[0].energy == pytest.approx(-12.72 / 3)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("R2SCAN", "r2SCAN"),
        ("GGA", "PBE"),
        ("GGA_U", "PBE+U"),
        ("PBE-D3(BJ)", "PBE+D3"),
        ("pbe+d3bj", "PBE+D3"),
        ("PBE+U+D3", "PBE+D3+U"),
        ("vdW-DF2", "vdW-DF2"),
        ("optB88-vdW", "optB88-vdW"),
        ("M06L", "M06-L"),
        ("mine", "mine"),
    ],
)
def test_one_functional_has_one_spelling(written: str, meant: str) -> None:
    assert canonical(written) == meant
