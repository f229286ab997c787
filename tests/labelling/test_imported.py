"""Labels from files: what each format says, against independent readers, and what is not admitted."""

from __future__ import annotations

import gzip
import shutil
from contextlib import suppress
from pathlib import Path

import ase.io
import ase.test
import numpy as np
import pytest
from ase.calculators.singlepoint import SinglePointCalculator

from coevo.errors import LabellingError
from coevo.labelling.digest import settings_digest
from coevo.labelling.imported import read_labels
from coevo.labelling.sanity import SanityLimits

RECORDINGS = Path(__file__).parent / "recordings" / "espresso"
VASPRUN = Path(ase.test.__file__).parent / "testdata" / "vasp" / "vasprun_pstress.xml"
WIDE = SanityLimits(energy_range=(-1e4, 1e4))


def lithium(**results: object) -> ase.Atoms:
    atoms = ase.Atoms("Li2", cell=[3.4, 3.4, 3.4], scaled_positions=[[0, 0, 0], [0.5, 0.5, 0.48]], pbc=True)
    atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


NUMBERS = {
    "energy": -3.8,
    "forces": np.array([[0.1, 0.0, -0.2], [-0.1, 0.0, 0.2]]),
    "stress": np.array([0.01, 0.02, 0.03, 0.004, 0.005, 0.006]),
}


def test_extended_xyz_keeps_every_number(tmp_path: Path) -> None:
    path = tmp_path / "mine.extxyz"
    ase.io.write(path, [lithium(**NUMBERS)], format="extxyz")
    imported = read_labels(path, functional="PBE")
    result = imported.frames[0].label(WIDE)
    assert result.status == "admitted"
    assert result.energy == pytest.approx(-1.9)
    assert result.forces == pytest.approx(NUMBERS["forces"])
    expected = [[0.01, 0.006, 0.005], [0.006, 0.02, 0.004], [0.005, 0.004, 0.03]]  # ASE's Voigt order: xx yy zz yz xz xy
    assert result.stress == pytest.approx(np.array(expected))
    assert (imported.settings.code, imported.settings.functional) == ("imported", "PBE")


@pytest.mark.parametrize("missing", ["energy", "forces", "stress"])
def test_a_frame_without_a_number_is_rejected(tmp_path: Path, missing: str) -> None:
    path = tmp_path / "mine.xyz"
    ase.io.write(path, [lithium(**{name: value for name, value in NUMBERS.items() if name != missing})], format="extxyz")
    result = read_labels(path, functional="PBE").frames[0].label(WIDE)
    assert (result.status, result.reason) == ("rejected", f"missing_{missing}")


def test_the_settings_of_another_functional_are_another_digest(tmp_path: Path) -> None:
    path = tmp_path / "mine.xyz"
    ase.io.write(path, [lithium(**NUMBERS)], format="extxyz")
    found = {settings_digest(read_labels(path, functional=name).settings) for name in ("PBE", "r2SCAN")}
    found.add(settings_digest(read_labels(path, functional="PBE", anion_corrected=True).settings))
    assert len(found) == 3


@pytest.mark.parametrize("packed", [False, True])
def test_vasprun_has_the_numbers_that_ase_reads(tmp_path: Path, packed: bool) -> None:
    path = VASPRUN
    if packed:
        path = tmp_path / "vasprun.xml.gz"
        with VASPRUN.open("rb") as source, gzip.open(path, "wb") as target:
            shutil.copyfileobj(source, target)
    with pytest.raises(LabellingError, match="does not say its functional"):
        read_labels(path)  # its POTCAR has no name of a functional
    frames = read_labels(path, functional="LDA").frames
    images = ase.io.read(VASPRUN, index=":", format="vasp-xml")
    assert len(frames) == len(images)
    for frame, atoms in zip(frames, images, strict=True):
        assert frame.converged
        assert frame.energy == pytest.approx(atoms.get_potential_energy(force_consistent=True) / len(atoms), abs=1e-8)
        assert frame.forces == pytest.approx(atoms.get_forces(), abs=1e-8)
        assert frame.stress == pytest.approx(atoms.get_stress(voigt=False), rel=1e-5, abs=1e-9)


def output_of(name: str) -> Path:
    (path,) = sorted((RECORDINGS / name).glob("pw.out*"))[:1]
    return path


def test_a_pw_output_has_the_numbers_that_ase_reads() -> None:
    path = output_of("clean")
    imported = read_labels(path)
    atoms = ase.io.read(path, format="espresso-out")
    (frame,) = imported.frames
    assert frame.converged
    assert frame.energy == pytest.approx(atoms.get_potential_energy() / len(atoms))
    assert frame.forces == pytest.approx(atoms.get_forces())
    assert frame.stress == pytest.approx(atoms.get_stress(voigt=False))
    assert imported.settings.functional == "PBE"
    assert imported.settings.parameters["potentials"]
    assert imported.settings.parameters["ecutwfc_ry"] > 0


@pytest.mark.parametrize("name", ["scf_not_converged", "silent_overlap", "walltime", "output_cut_off"])
def test_a_pw_output_that_went_wrong_gives_no_label(name: str) -> None:
    with suppress(LabellingError):  # there may be nothing in it at all
        assert all(frame.label(WIDE).status == "rejected" for frame in read_labels(output_of(name)).frames)


def test_what_cannot_be_read_is_one_error(tmp_path: Path) -> None:
    for name, text, message in (
        ("a.xml", "<modeling>", "cannot be read as vasprun"),
        ("b.out", "nothing", "no frame|cannot be read as pw.x"),
        ("c.xyz", "2\n\nLi 0 0\n", "no crystal that can be read"),
        ("d.cif", "", r"not a file of labels; allowed: \.xml"),
    ):
        (tmp_path / name).write_text(text)
        with pytest.raises(LabellingError, match=message):
            read_labels(tmp_path / name, functional="PBE")
    with pytest.raises(LabellingError, match="no such file"):
        read_labels(tmp_path / "none.xyz")
    path = tmp_path / "mine.xyz"
    ase.io.write(path, [lithium(**NUMBERS)], format="extxyz")
    with pytest.raises(LabellingError, match="does not say its functional; give it: --functional PBE"):
        read_labels(path)
    with pytest.raises(LabellingError, match="its functional is PBE, not r2SCAN"):
        read_labels(output_of("clean"), functional="r2SCAN")
