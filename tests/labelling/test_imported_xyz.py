"""Labels from extended XYZ: keys of many programs, signs and orders, units, and frames that are not admitted."""

from __future__ import annotations

import gzip
from pathlib import Path

import ase
import ase.io
import numpy as np
import pytest
from ase.calculators.singlepoint import SinglePointCalculator

from coevo.errors import LabellingError
from coevo.labelling.imported import LabelKeys, read_labels
from coevo.labelling.imported.contract import ImportedFile
from coevo.labelling.imported.xyz_keys import key_parts
from coevo.labelling.sanity import SanityLimits

EDGE = 3.4
ATOMS = ["Li 0 0 0 0.1 0 -0.2", "Li 1.7 1.7 1.6 -0.1 0 0.2"]
FORCES = np.array([[0.1, 0.0, -0.2], [-0.1, 0.0, 0.2]])
STRESS = np.array([[-0.01, 0.006, 0.005], [0.006, -0.02, 0.004], [0.005, 0.004, -0.03]])
NINE = " ".join(str(value) for value in STRESS.ravel())
VOIGT = "-0.01 -0.02 -0.03 0.004 0.005 0.006"
VIRIAL = " ".join(str(value) for value in (-STRESS * EDGE**3).ravel())


def frame(info: str, forces: str = "forces", pbc: str = "T T T", edge: float = EDGE) -> str:
    """Two atoms with one column of forces for each name in ``forces``; the second column is twice the first."""
    names = forces.split()
    header = f'Lattice="{edge} 0 0 0 {edge} 0 0 0 {edge}" Properties=species:S:1:pos:R:3'
    lines = []
    for atom in ATOMS:
        words = atom.split()
        columns = [" ".join(str(factor * float(word)) for word in words[4:]) for factor in range(1, len(names) + 1)]
        lines.append(" ".join([*words[:4], *columns]))
    return "\n".join(["2", header + "".join(f":{name}:R:3" for name in names) + f' pbc="{pbc}" {info}', *lines]) + "\n"


def read(tmp_path: Path, text: str, *, functional: str | None = "PBE", **keys: str) -> ImportedFile:
    path = tmp_path / "mine.extxyz"
    path.write_text(text)
    return read_labels(path, functional=functional, keys=LabelKeys(**keys))


def verdict(tmp_path: Path, text: str, **keys: str) -> tuple[str, str]:
    """Reason, or ``admitted``, and detail of the only frame."""
    (only,) = read(tmp_path, text, **keys).frames
    result = only.label(SanityLimits())
    return result.reason or result.status, result.detail


@pytest.mark.parametrize(
    ("info", "forces", "taken"),
    [
        (f'energy=-3.8 stress="{NINE}"', "forces", "energy"),
        (f'free_energy=-3.8 energy=-3.7 stress="{NINE}"', "forces", "free_energy"),  # E0 belongs to no forces
        (f'REF_energy=-3.8 REF_stress="{NINE}"', "REF_forces", "REF_energy"),
        (f'REF_energy=-3.8 REF_stress="_JSON {STRESS.tolist()}"', "REF_forces", "REF_energy"),  # as ASE writes an array
        (f'dft_energy=-3.8 dft_virial="{VIRIAL}"', "dft_force", "dft_energy"),  # GAP
        (f'energy=-3.8 virial="{VIRIAL}"', "force", "energy"),  # NEP
        (f'Energy=-3.8 Stress="{VOIGT}"', "Force", "Energy"),
        (f'E=-3.8 virials="{VIRIAL}"', "F", "E"),
        (f'total_energy=-3.8 energy=-3.8 stress="{NINE}" virial="{VIRIAL}"', "forces", "total_energy"),
        (f'energy_per_atom=-1.9 stress="{NINE}"', "forces", "energy_per_atom"),
        (f'energy_dft=-3.8 stress_dft="{NINE}"', "forces_dft", "energy_dft"),
        (f"DFT-energy=-3.8 DFT-stress={{{NINE}}}", "DFT-forces", "DFT-energy"),
        (f'REF_energy=-3.8 energy=-9 REF_virials="{VIRIAL}" stress="{VOIGT}"', "REF_forces forces", "REF_energy"),
        (f'energy=-3.8 MACE_energy=-9 stress="{NINE}" MACE_stress="{VOIGT}"', "forces MACE_forces", "energy"),
    ],
)
def test_flavours_give_one_label(tmp_path: Path, info: str, forces: str, taken: str) -> None:
    imported = read(tmp_path, frame(info, forces))
    (only,) = imported.frames
    result = only.label(SanityLimits())
    assert result.status == "admitted", result.detail
    assert result.energy == pytest.approx(-1.9)
    assert result.forces == pytest.approx(FORCES)
    assert result.stress == pytest.approx(STRESS)
    assert imported.taken["energy"] == taken


def test_ase_own_file_has_the_numbers_of_its_calculator(tmp_path: Path) -> None:
    atoms = ase.Atoms("Li2", cell=[EDGE] * 3, scaled_positions=[[0, 0, 0], [0.5, 0.5, 0.48]], pbc=True)
    numbers = {"energy": -3.7, "free_energy": -3.8, "forces": FORCES, "stress": np.array([1, 2, 3, 4, 5, 6]) / 100}
    atoms.calc = SinglePointCalculator(atoms, **numbers)
    ase.io.write(tmp_path / "a.extxyz", atoms)
    (only,) = read_labels(tmp_path / "a.extxyz", functional="PBE").frames
    again = ase.io.read(tmp_path / "a.extxyz")
    assert only.energy == pytest.approx(again.get_potential_energy(force_consistent=True) / 2)
    assert only.forces == pytest.approx(again.get_forces())
    assert only.stress == pytest.approx(again.get_stress(voigt=False))


@pytest.mark.parametrize(
    ("info", "forces", "reason", "words"),
    [
        (
            f'MACE_energy=-3.8 MACE_stress="{NINE}"',
            "MACE_forces",
            "missing_energy",
            "found MACE_energy, MACE_stress, MACE_forces",
        ),
        (f'foo_energy=-3.8 stress="{NINE}"', "bar_forces", "missing_energy", "--energy-key"),
        (f'energy=-3.8 stress="{NINE}"', "", "missing_forces", "--forces-key"),
        ("energy=-3.8", "forces", "missing_stress", "--stress-key or --virial-key"),
        (f'energy=-3.8 stress="{NINE}"', "forces dft_forces", "unclear_keys", "energy, stress, forces, dft_forces"),
        (f'REF_energy=-3.8 stress="{NINE}"', "forces", "unclear_keys", "REF_energy"),
        (f'REF_energy=-3.8 stress="{NINE}"', "REF_forces", "missing_stress", "family of ref_energy"),
        (f'REF_energy=-3.8 dft_energy=-3.9 REF_stress="{NINE}"', "REF_forces dft_forces", "unclear_keys", "several references"),
        (f'energy=-3.8 total_energy=-4.8 stress="{NINE}"', "forces", "unclear_keys", "-4.8"),
        (f'energy=-3.8 energy_per_atom=-2.4 stress="{NINE}"', "forces", "unclear_keys", "energy_per_atom"),
        (f'energy=-3.8 stress="{NINE}"', "forces force", "unclear_keys", "differ"),
        (f'energy=-3.8 stress="{NINE}" virial="{NINE}"', "forces", "unclear_stress", "-virial/volume"),
        ('energy=-3.8 stress="1 2 3 4 5 6 7 8 9"', "forces", "unclear_stress", "not symmetric"),
        ('energy=-3.8 stress="1 2 3 4"', "forces", "unreadable", "4 numbers, expected 9, or 6"),
        (f'energy=**** stress="{NINE}"', "forces", "unreadable", "no number"),
        (f'energy=nan stress="{NINE}"', "forces", "not_finite", "nan"),
        (f'energy="-3.8 -3.9" stress="{NINE}"', "forces", "unreadable", "expected one number"),
        (f'energy=-3.8 stress="{NINE}" charge=1', "forces", "charged", "charge=1"),
        (f'energy=-3.8 stress="{NINE}" total_charge=0', "forces", "admitted", ""),
        (f'energy=-3.8 stress="{NINE}" scf_converged=F', "forces", "not_converged", ""),
        (f'energy=-3.8 stress="{NINE}" config_type=IsolatedAtom', "forces", "not_periodic", "isolated atom"),
    ],
)
def test_what_is_not_clear_is_refused_by_reason(tmp_path: Path, info: str, forces: str, reason: str, words: str) -> None:
    found, detail = verdict(tmp_path, frame(info, forces))
    assert found == reason, detail
    assert words in detail


def test_the_user_settles_what_is_not_clear(tmp_path: Path) -> None:
    text = frame(f'MACE_energy=-3.8 foo_stress="{NINE}" foo_energy=1', "MACE_forces")
    assert verdict(tmp_path, text, energy="MACE_energy", stress="foo_stress") == ("admitted", "")
    assert verdict(tmp_path, text, energy="MACE_energy")[0] == "missing_stress"
    assert verdict(tmp_path, text, energy="absent")[0] == "missing_energy"
    both = frame(f'energy=-3.8 stress="{NINE}" virial="{NINE}"', "forces dft_forces")
    assert verdict(tmp_path, both, energy="energy", forces="forces", stress="stress") == ("admitted", "")
    assert verdict(tmp_path, both, energy="energy", forces="forces", stress="virial")[0] == "unclear_keys"
    (only,) = read(tmp_path, both, energy="energy", forces="dft_forces", virial="virial").frames
    assert only.forces == pytest.approx(2 * FORCES)
    assert only.stress == pytest.approx(-STRESS / EDGE**3)


HARTREE, BOHR = 27.211386, 0.529177


@pytest.mark.parametrize(
    ("info", "energy", "force", "stress"),
    [
        (
            'energy=-0.5 energy-unit=hartree force-unit=hartree/bohr stress-unit="hartree/bohr^3"',
            HARTREE,
            HARTREE / BOHR,
            183.631534,
        ),
        ("energy=-0.5 energy_unit=eV stress-unit=GPa", 1, 1, 0.00624151),
        ("energy=-0.5 stress_units=kbar", 1, 1, 0.000624151),
        ('energy=-0.5 energy_units=kcal/mol forces_units="kcal/mol/Ang" stress_unit=GPa', 0.0433641, 0.0433641, 0.00624151),
        ('energy=-500 energy_unit=meV force_unit=meV/A stress_unit="eV/A^3"', 1e-3, 1e-3, 1),
        ('energy=-0.5 units="eV, Angstrom"', 1, 1, 1),
        ("energy=-0.5 energy_unit=eV/atom", 2, 1, 1),
    ],
)
def test_declared_units_are_converted(tmp_path: Path, info: str, energy: float, force: float, stress: float) -> None:
    imported = read(tmp_path, frame(f'{info} stress="{NINE}"'))
    (only,) = imported.frames
    assert not only.reason, only.detail
    assert only.energy == pytest.approx((-500 if "-500" in info else -0.5) / 2 * energy, rel=1e-6)
    assert only.forces == pytest.approx(FORCES * force, rel=1e-5)
    assert only.stress == pytest.approx(STRESS * stress, rel=1e-5)


@pytest.mark.parametrize(
    ("info", "reason"),
    [
        ("energy=-0.5 energy_unit=furlong", "unknown_unit"),
        ("energy=-0.5 stress_unit=psi", "unknown_unit"),
        ("energy=-0.5 energy_unit=hartree", "unclear_unit"),
        ("energy=-0.5 energy_unit=hartree forces_unit=hartree/bohr", "unclear_unit"),  # of the stress nothing is said
        ("energy=-0.5 length_unit=bohr", "unclear_unit"),
    ],
)
def test_units_are_never_guessed(tmp_path: Path, info: str, reason: str) -> None:
    assert verdict(tmp_path, frame(f'{info} stress="{NINE}"'))[0] == reason


def test_a_bad_frame_decides_over_itself(tmp_path: Path) -> None:
    good = frame(f'energy=-3.8 stress="{NINE}"')
    bad = [
        good.replace("2\n", "3\n", 1),
        good.replace(f'Lattice="{EDGE} 0 0 0 {EDGE} 0 0 0 {EDGE}" ', "").replace("T T T", "F F F"),
        good.replace("-0.2", "****"),
        frame(f'energy=-3.8 stress="{NINE}"', pbc="T T F"),
        frame(f'energy=-3.8 stress="{NINE}"', edge=20.0),
    ]
    imported = read(tmp_path, good + good.join(bad) + good)
    found = [only.label(SanityLimits()) for only in imported.frames]
    assert [result.reason for result in found if result.status == "rejected"] == ["unreadable", "not_periodic", "not_periodic"]
    assert sum(result.status == "admitted" for result in found) == 6
    assert [reason for reason, _ in imported.left_out] == ["unreadable", "not_periodic"]
    (note,) = imported.notes
    assert note.startswith(
        "2 of 11 frames are not read: 1 unreadable (frame 2 (line 5): 3 atoms are announced and the next frame"
    )
    assert "1 not_periodic (frame 4 (line 13): it has no cell; give Lattice=" in note


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "the file is empty"),
        ("3\n\nLi 0 0 0\nLi 1 1 1\nS 2 2 2\n", "no crystal that can be read: 1 not_periodic .frame 1 .line 1.: it has no cell"),
        ("1000000000\nLattice=1\nLi 0 0 0\n", "1000000000 atoms"),
        ("not a number\n" * 5, "expected a number of atoms in line 1"),
        (frame(f'energy=-0.5 units=atomic stress="{NINE}"'), "1 unknown_unit"),  # nor is the unit of its lengths known
    ],
)
def test_a_file_without_a_geometry_is_one_sentence(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(LabellingError, match=words):
        read(tmp_path, text)


def test_compressed_and_named_functionals(tmp_path: Path) -> None:
    text = frame(f'r2scan_energy=-3.8 r2scan_stress="{NINE}"', "r2scan_forces")
    with gzip.open(tmp_path / "a.extxyz.gz", "wt") as file:
        file.write(text)
    assert read_labels(tmp_path / "a.extxyz.gz").settings.functional == "r2SCAN"
    with pytest.raises(LabellingError, match="its functional is r2SCAN, not PBE"):
        read(tmp_path, text)
    plain = frame(f'energy=-3.8 stress="{NINE}" functional=')
    with pytest.raises(LabellingError, match=r"several functionals: PBE \(2 frames\), r2SCAN \(1 frames\)"):
        read(tmp_path, "".join(plain.replace("functional=", f"xc={name}") for name in ("PBE", "pbe", "r2SCAN")))


def test_what_stands_beside_and_what_is_assumed_is_told(tmp_path: Path) -> None:
    notes = read(tmp_path, frame(f'energy=-3.8 MACE_energy=-9 stress="{VOIGT}"', "forces MACE_forces")).notes
    assert any("MACE_energy, MACE_forces" in note for note in notes)
    assert any("xx yy zz yz xz xy" in note for note in notes)


def test_words_that_are_no_energy() -> None:
    for key in (
        "energy_weight",
        "energy_unit",
        "config_energy_sigma",
        "force_mask",
        "name",
        "stress_tensor_source",
        "i_e",
        "pref",
    ):
        assert key_parts(key) is None, key
    for key, family in (("formation_energy", "formation"), ("MACE_mp_energy", "mace_mp"), ("energy_mace", "mace"), ("E", "")):
        parts = key_parts(key)
        assert parts is not None
        assert (parts.quantity, parts.family) == ("energy", family)
