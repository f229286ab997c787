"""Labels from files: what each format says, against independent readers, and what is not admitted."""

from __future__ import annotations

from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase.calculators.singlepoint import SinglePointCalculator

from coevo.errors import LabellingError
from coevo.labelling.digest import settings_digest
from coevo.labelling.imported import read_labels
from coevo.labelling.sanity import SanityLimits

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


def test_the_functional_must_be_said(tmp_path: Path) -> None:
    path = tmp_path / "mine.xyz"
    ase.io.write(path, [lithium(**NUMBERS)], format="extxyz")
    with pytest.raises(LabellingError, match="does not say its functional; give it: --functional PBE"):
        read_labels(path)
