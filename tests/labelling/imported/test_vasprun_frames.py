"""Frames of a vasprun.xml: which energy, which stress, which frames; and runs that are none of the ground state."""

from __future__ import annotations

import gzip
import re
import shutil
import warnings
from pathlib import Path

import ase.io
import ase.test
import numpy as np
import pytest
from pymatgen.io.vasp import Vasprun
from vasprun_text import FORCES, STRESS, VOLUME, Run, Step, write

from coevo.errors import LabellingError
from coevo.labelling.imported import read_labels
from coevo.labelling.sanity import SanityLimits
from coevo.makers.imported.frames import judge_frames

FROM_ASE = Path(ase.test.__file__).parent / "testdata" / "vasp" / "vasprun_pstress.xml"
EV_PER_A3_PER_KBAR = 6.241509074460763e-4


def reasons(path: Path) -> list[str]:
    return [label.reason or label.status for label in (frame.label(SanityLimits()) for frame in read_labels(path).frames)]


@pytest.mark.parametrize("packed", [False, True])
def test_the_numbers_are_those_that_ase_reads(tmp_path: Path, packed: bool) -> None:
    path = FROM_ASE
    if packed:
        path = tmp_path / "vasprun.xml.gz"
        with FROM_ASE.open("rb") as source, gzip.open(path, "wb") as target:
            shutil.copyfileobj(source, target)
    with pytest.raises(LabellingError, match="does not say its functional"):
        read_labels(path)  # its POTCAR has no name of a functional
    imported = read_labels(path, functional="LDA")
    images = ase.io.read(FROM_ASE, index=":", format="vasp-xml")
    assert len(imported.frames) == len(images)
    for frame, atoms in zip(imported.frames, images, strict=True):
        assert frame.converged
        assert frame.energy == pytest.approx(atoms.get_potential_energy(force_consistent=True) / len(atoms), abs=1e-8)
        assert frame.forces == pytest.approx(atoms.get_forces(), abs=1e-8)
        assert frame.stress == pytest.approx(atoms.get_stress(voigt=False), rel=1e-5, abs=1e-9)
    assert "less P V" in imported.taken["energy"]


def test_the_energy_is_the_free_energy_of_the_ionic_step(tmp_path: Path) -> None:
    path = write(tmp_path, Run(steps=(Step(free=-12.3, zero=-12.1),)))
    (frame,) = read_labels(path).frames
    run = Vasprun(str(path), parse_potcar_file=False)
    assert run.final_energy == pytest.approx(-12.1)
    assert frame.energy == pytest.approx(run.ionic_steps[-1]["e_fr_energy"] / 3) == pytest.approx(-4.1)
    assert frame.forces == pytest.approx(np.array(FORCES))
    assert frame.stress == pytest.approx(-np.array(STRESS) * EV_PER_A3_PER_KBAR)
    assert frame.label(SanityLimits()).status == "admitted"


def test_dispersion_is_in_the_ionic_step_only(tmp_path: Path) -> None:
    """As VASP 5.4 and 6.2 write it."""
    path = write(tmp_path, Run(incar={"IVDW": 12}, steps=(Step(free=-12.72, electronic=-12.3),), version="5.4.4"))
    assert read_labels(path).frames[0].energy == pytest.approx(-4.24)


@pytest.mark.parametrize("in_the_step", [True, False])
def test_pressure_times_volume_is_taken_off_where_it_is(tmp_path: Path, in_the_step: bool) -> None:
    work = 50.0 * EV_PER_A3_PER_KBAR * VOLUME
    step = Step(free=-12.3 + (work if in_the_step else 0.0), electronic=-12.3)
    path = write(tmp_path, Run(incar={"PSTRESS": 50.0}, parameters={"PSTRESS": 50.0}, steps=(step,)))
    assert read_labels(path).frames[0].energy == pytest.approx(-4.1, abs=1e-8)


def test_every_step_is_judged_by_itself(tmp_path: Path) -> None:
    steps = (
        Step(),
        Step(electronic_steps=60),
        Step(forces="********"),
        Step(stress=False),
        Step(forces=False),
        Step(electronic_steps=0),
        Step(scale=1.01),
    )
    path = write(tmp_path, Run(steps=steps))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = reasons(path)
    assert found == ["admitted", "not_converged", "not_finite", "missing_stress", "missing_forces", "not_converged", "admitted"]
    detail = read_labels(path).frames[1].label(SanityLimits()).detail
    assert "60 electronic steps, converged are fewer than NELM = 60" in detail


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        (r'(<varray name="stress">\s*)<v>.*?</v>', "missing_stress"),
        (r'(<varray name="forces">\s*)<v>.*?</v>', "missing_forces"),
        (r'(<varray name="stress">\s*<v>\s*)\S+', "missing_stress"),
        (r'(<varray name="forces">\s*<v>\s*)\S+', "missing_forces"),
        (r'(<varray name="basis">\s*<v>\s*)\S+', "no_crystal"),
    ],
)
def test_a_step_that_lacks_rows_costs_itself(tmp_path: Path, pattern: str, reason: str) -> None:
    head, first, rest = Run(steps=(Step(), Step(scale=1.01))).text().partition("<calculation>")
    value = "nan" if reason == "no_crystal" else ""
    path = tmp_path / "vasprun.xml"
    path.write_text(head + first + re.sub(pattern, rf"\g<1>{value}", rest, count=1, flags=re.DOTALL))
    judged = judge_frames(read_labels(path), SanityLimits(), ["Li", "S"])
    assert [frame.result.reason or frame.result.status for frame in judged] == [reason, "admitted"]


@pytest.mark.parametrize("table", ["basis", "positions"])
def test_a_step_whose_structure_is_cut_short_is_left_out_and_told(tmp_path: Path, table: str) -> None:
    head, first, rest = Run(steps=(Step(), Step(scale=1.01))).text().partition("<calculation>")
    path = tmp_path / "vasprun.xml"
    path.write_text(head + first + re.sub(rf'(<varray name="{table}">\s*<v>\s*)\S+', r"\g<1>", rest, count=1))
    found = read_labels(path)
    assert len(found.frames) == 1
    assert "1 ionic steps without a structure that can be read are left out" in found.notes


def test_a_step_that_may_have_been_stopped_early_is_told(tmp_path: Path) -> None:
    steps = (Step(last_change=9e-6), Step(last_change=2e-3), Step(last_change=5e-4), Step(electronic_steps=60))
    (told,) = read_labels(write(tmp_path, Run(steps=steps))).notes
    assert "of 2 ionic steps the last electronic step changed the energy by up to 2.0e-03 eV, more than EDIFF = 1e-05" in told
    assert read_labels(write(tmp_path, Run(incar={"EDIFF": 1e-6}, parameters={"EDIFF": 1e-4}, steps=steps[:1]))).notes == []


@pytest.mark.parametrize("isif", [0, 1])
def test_a_stress_that_was_not_computed_is_none(tmp_path: Path, isif: int) -> None:
    path = write(tmp_path, Run(incar={"ISIF": isif}, parameters={"ISIF": isif}))
    (frame,) = read_labels(path).frames
    assert frame.stress is None
    assert (frame.label(SanityLimits()).reason, f"ISIF = {isif}" in frame.detail) == ("missing_stress", True)


def test_of_a_file_that_was_cut_off_the_whole_steps_are_used(tmp_path: Path) -> None:
    text = Run(steps=(Step(), Step(scale=1.01), Step(scale=1.02))).text()
    path = tmp_path / "vasprun.xml"
    path.write_text(text[: text.rindex('<varray name="stress">') + 40])
    imported = read_labels(path)
    assert len(imported.frames) == 2
    assert imported.notes == ["the file is cut off after 2 whole ionic steps, which are used"]
    for end, message in (("<calculation>", "no ionic step"), ("<atominfo>", "cut off"), ("<incar>", "cut off")):
        path.write_text(text[: text.index(end) + 20])
        with pytest.raises(LabellingError, match=message):
            read_labels(path)


REFUSED = {
    "ALGO = Chi": {"ALGO": "CHI"},
    "ALGO = Gw0": {"ALGO": "GW0 ! quasi-particles"},
    "ALGO = Bse": {"ALGO": "BSE"},
    "ALGO = Acfdtr": {"ALGO": "ACFDTR"},
    "ALGO = None": {"ALGO": "None"},
    "ALGO = Eigenval": {"ALGO": "Eigenval"},
    "ICHARG = 11": {"ICHARG": 11},
    "IBRION = 8": {"IBRION": 8},
    "LEPSILON": {"LEPSILON": True},
    "LCHIMAG": {"LCHIMAG": True},
    "METAGGA = MBJ": {"METAGGA": "MBJ"},
    "EFIELD": {"EFIELD": 0.1},
    "LSOL": {"LSOL": True},
    "IMAGES = 4": {"IMAGES": 4},
}


@pytest.mark.parametrize("what", REFUSED)
def test_runs_of_something_else_than_the_ground_state_are_refused(tmp_path: Path, what: str) -> None:
    path = write(tmp_path, Run(incar=REFUSED[what]))
    with pytest.raises(LabellingError, match=f"no run of total energies: .*{what}") as caught:
        read_labels(path)
    assert str(caught.value).count("vasprun.xml") == 1


@pytest.mark.parametrize("algo", ["Normal", "Fast", "VeryFast", "All", "Damped", "A", "N", "F", "Conjugate ! comment", "Exact"])
def test_runs_that_minimise_the_energy_are_not(tmp_path: Path, algo: str) -> None:
    assert reasons(write(tmp_path, Run(incar={"ALGO": algo, "IBRION": 6, "LOPTICS": True}))) == ["admitted"]


def test_steps_of_vasps_own_force_field_are_left_out(tmp_path: Path) -> None:
    text = Run(incar={"ML_LMLFF": True, "IBRION": 0}).text()
    predicted = (
        "<structure><crystal><varray name='basis'><v>0 2.85 2.85</v><v>2.85 0 2.85</v><v>2.85 2.85 0</v></varray></crystal>"
        "<varray name='positions'><v>.25 .25 .25</v><v>.75 .75 .75</v><v>0 0 0</v></varray></structure>"
        "<energy><i name='e_fr_energy'>-12</i><i name='kinetic'>1</i></energy>"
    )
    path = tmp_path / "vasprun.xml"
    path.write_text(text.replace("</calculation>", f"</calculation>{predicted}{predicted}"))
    imported = read_labels(path)
    assert len(imported.frames) == 1
    assert [note.split(";")[0] for note in imported.notes] == ["2 steps of VASP's machine-learned force field are left out"]
    start, end = text.index("<calculation>"), text.index("</calculation>") + len("</calculation>")
    path.write_text(text[:start] + predicted + text[end:])
    with pytest.raises(LabellingError, match="no ionic step"):
        read_labels(path)
