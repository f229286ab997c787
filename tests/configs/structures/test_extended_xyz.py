"""Extended XYZ frame by frame: the grammar against ASE's reader, broken frames, and what is no crystal."""

from __future__ import annotations

import io
from itertools import repeat
from pathlib import Path

import ase.build
import ase.io
import numpy as np
import pytest
from ase.calculators.singlepoint import SinglePointCalculator

from coevo.configs.references import load_references
from coevo.configs.structures.extended_xyz import FrameError, cut_frames, numbers_in, parse_frame, vacuum_gaps, why_no_crystal
from coevo.configs.structures.extended_xyz.units import energy_factor, force_factor, stress_factor
from coevo.errors import ReferenceDataError

CELL = 'Lattice="3 0 0 0 3 0 0 0 3" Properties=species:S:1:pos:R:3 pbc="T T T"'
GOOD = f"1\n{CELL} energy=-1\nLi 0 0 0\n"


def frames_of(text: str) -> list[tuple[int, str]]:
    """Number of atoms, or minus one, and reason of each frame."""
    found = []
    for part in cut_frames(iter(text.splitlines())):
        try:
            if part.problem is not None:
                raise part.problem
            found.append((len(parse_frame(part.comment, part.atoms)), ""))
        except FrameError as error:
            found.append((-1, error.reason))
    return found


def test_what_ase_writes_is_read_as_ase_reads_it() -> None:
    atoms = ase.build.bulk("NaCl", "rocksalt", a=5.64, cubic=True)
    atoms.rattle(0.05, seed=3)
    atoms.set_cell(atoms.cell.array + np.array([[0, 0.3, 0.1], [0.2, 0, 0], [0, 0, 0]]))
    forces = np.arange(24, dtype=float).reshape(8, 3) / 7
    atoms.calc = SinglePointCalculator(atoms, energy=-27.125, forces=forces, stress=np.arange(6) / 100)
    atoms.info.update({"REF_stress": np.arange(9.0).reshape(3, 3), "note": 'a "quoted" = text', "flag": True, "name": "halite"})
    atoms.set_array("REF_forces", -forces)
    stream = io.StringIO()
    ase.io.write(stream, atoms, format="extxyz")
    (part,) = cut_frames(iter(stream.getvalue().splitlines()))
    frame = parse_frame(part.comment, part.atoms)
    again = ase.io.read(io.StringIO(stream.getvalue()), format="extxyz")
    assert frame.symbols == again.get_chemical_symbols()
    assert frame.positions == pytest.approx(again.positions)
    assert frame.lattice == pytest.approx(again.cell.array)
    assert frame.pbc == tuple(again.pbc)
    assert frame.array("REF_forces") == pytest.approx(again.arrays["REF_forces"])
    assert float(frame.info["energy"]) == again.get_potential_energy()
    assert numbers_in(frame.info["REF_stress"]) == pytest.approx(again.info["REF_stress"].ravel())
    assert (frame.info["note"], frame.info["flag"], frame.info["name"]) == (again.info["note"], "T", "halite")


@pytest.mark.parametrize(
    ("comment", "expected"),
    [
        ("energy = -1.5", {"energy": "-1.5"}),
        ("stress={1 2 3} a='x y' b", {"stress": "1 2 3", "a": "x y", "b": "T"}),
        ("virial=[[1, 2, 3], [2, 4, 5], [3, 5, 6]] k=v", {"virial": "[[1, 2, 3], [2, 4, 5], [3, 5, 6]]", "k": "v"}),
        ('lattice="3 0 0 0 3 0 0 0 3" Energy=1', {"Energy": "1"}),
    ],
)
def test_flavours_of_the_comment_line(comment: str, expected: dict[str, str]) -> None:
    assert parse_frame(comment, ["Li 0 0 0"]).info == expected


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("2\n" + CELL + "\nLi 0 0 0\n", "unreadable"),  # too few lines
        ("1\n" + CELL + "\nLi 0 0 0\nLi 1 1 1\nLi 2 2 2\n", "unreadable"),  # too many
        ("1\n" + CELL + "\nLi 0 0\n", "unreadable"),
        ("1\n" + CELL + "\nLi 0 0 0 0\n", "unreadable"),
        ("1\n" + CELL + "\nLi 0 0 ****\n", "unreadable"),
        ("1\n" + CELL + "\nLi 0 0 nan\n", "not_finite"),
        ("1\n" + CELL + "\nQq 0 0 0\n", "unknown_element"),
        ("1\n" + CELL + "\n\n", "unreadable"),
        ("0\n" + CELL + "\n", "empty"),
        ("one\n" + CELL + "\nLi 0 0 0\n", "unreadable"),
        ("1_0\n" + CELL + "\nLi 0 0 0\n", "unreadable"),
        ("1\n" + CELL.replace("3 0 0 0 3 0 0 0 3", "3 0 0 0 3 0 0 0") + "\nLi 0 0 0\n", "unreadable"),
        ("1\n" + CELL.replace("3 0 0 0", "inf 0 0 0") + "\nLi 0 0 0\n", "not_finite"),
        ("1\n" + CELL.replace("pos:R:3", "pos:R") + "\nLi 0 0 0\n", "unreadable"),
        ("1\n" + CELL + " energy=1 energy=2\nLi 0 0 0\n", "unreadable"),
    ],
)
def test_a_broken_frame_decides_over_itself(bad: str, reason: str) -> None:
    assert frames_of(GOOD + bad + GOOD + GOOD) == [(1, ""), (-1, reason), (1, ""), (1, "")]


def test_sizes_that_a_header_declares_cost_nothing() -> None:
    assert frames_of("1000000000\n" + CELL + "\nLi 0 0 0\n") == [(-1, "unreadable")]
    assert frames_of("9" * 5000 + "\n" + CELL + "\nLi 0 0 0\n" + GOOD) == [(-1, "unreadable"), (1, "")]
    (part,) = cut_frames(iter(["3", CELL, *["Li 0 0 0"] * 3]), max_text=70)
    assert part.problem is not None
    assert part.problem.reason == "too_large"
    assert len(part.atoms) == 0


def test_floods_of_lines_and_keys_end() -> None:
    found = list(cut_frames(iter([*GOOD.splitlines(), *repeat("", 2_100_000), *GOOD.splitlines()])))
    assert [part.problem is None for part in found] == [True, False]
    assert "the rest of the file is not read" in str(found[1].problem)
    assert frames_of("1\n" + CELL + " k" * 5000 + "\nLi 0 0 0\n" + GOOD) == [(1, ""), (1, "")]
    many = " ".join(f"k{number}=1" for number in range(5000))
    assert frames_of(f"1\n{CELL} {many}\nLi 0 0 0\n" + GOOD) == [(-1, "too_large"), (1, "")]
    assert frames_of("1\n" + CELL + " " + "k" * 10**6 + "=1\nLi 0 0 0\n" + GOOD) == [(-1, "too_large"), (1, "")]


@pytest.mark.parametrize(
    ("comment", "words"),
    [
        ("", "no cell"),
        (CELL.replace("T T T", "T T F"), 'along pbc="T T F"'),
        (CELL.replace('"T T T"', "F"), 'along pbc="F F F"'),
        (CELL + " config_type=IsolatedAtom", "isolated atom"),
        (CELL + ' config_type="isolated-atom"', "isolated atom"),
        (CELL.replace("3 0 0 0 3 0 0 0 3", "12 0 0 0 12 0 0 0 12"), "an atom in a box: no atoms for 12.0"),
        (CELL.replace("3 0 0 0 3 0 0 0 3", "3 0 0 0 12 0 0 0 12"), None),  # a wire
        (CELL.replace("3 0 0 0 3 0 0 0 3", "6 0 0 0 6 0 0 0 6"), None),
        (CELL, None),
        (CELL.replace('pbc="T T T"', ""), None),  # a cell and no pbc: periodic, as ASE has it
    ],
)
def test_what_is_no_crystal(comment: str, words: str | None) -> None:
    found = why_no_crystal(parse_frame(comment, ["Li 0.1 0.2 0.3"]))
    assert (found is None) if words is None else (found is not None and words in found)


def test_layers_without_atoms_are_measured_between_planes() -> None:
    slab = ase.build.fcc111("Al", (1, 1, 3), a=4.05, vacuum=7.5)
    assert vacuum_gaps(slab.cell.array, slab.positions)[2] == pytest.approx(15.0)
    caesium = ase.build.bulk("Cs", "bcc", a=6.14)
    assert max(vacuum_gaps(caesium.cell.array, caesium.positions)) == pytest.approx(6.14 / np.sqrt(2))
    molecule = ase.build.molecule("H2O", vacuum=5.0)
    assert min(vacuum_gaps(molecule.cell.array, molecule.positions)) >= 10.0


def test_declared_lengths_are_converted() -> None:
    frame = parse_frame(CELL + " length_unit=bohr", ["Li 1 0 0"])
    assert frame.lattice is not None
    assert frame.lattice[0, 0] == pytest.approx(3 * 0.529177, abs=1e-5)
    assert frame.positions[0, 0] == pytest.approx(0.529177, abs=1e-5)
    with pytest.raises(FrameError, match="unknown_unit"):
        parse_frame(CELL + " length_unit=furlong", ["Li 1 0 0"])


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (energy_factor("Hartree", 1), 27.211386),
        (energy_factor("meV/atom", 4), 0.004),
        (energy_factor("kcal/mol", 1), 0.0433641),
        (energy_factor("Ry", 1), 13.605693),
        (force_factor("Ha/Bohr"), 51.422067),
        (force_factor("kcal/mol/Å"), 0.0433641),
        (force_factor("kcal/(mol*Angstrom)"), 0.0433641),
        (stress_factor("GPa"), 0.00624151),
        (stress_factor("kbar"), 0.000624151),
        (stress_factor("eV/Angstrom^3"), 1.0),
        (stress_factor("Ha/bohr^3"), 183.631534),
    ],
)
def test_units(value: float, expected: float) -> None:
    assert value == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("factor", "unit"), [(force_factor, "MeV/Å"), (stress_factor, "mbar"), (force_factor, "eV"), (stress_factor, "psi")]
)
def test_units_that_are_not_known_are_refused(factor: object, unit: str) -> None:
    with pytest.raises(FrameError, match="unknown_unit"):
        factor(unit)  # type: ignore[operator]


def test_references_leave_out_what_is_no_crystal_and_say_so(tmp_path: Path) -> None:
    path = tmp_path / "mixed.extxyz"
    path.write_text(GOOD + GOOD.replace("T T T", "F F F") + GOOD.replace("energy", "config_type=IsolatedAtom energy"))
    said: list[str] = []
    (only,) = load_references(path, ("Li",), say=said.append)
    assert only.structure.volume == pytest.approx(27.0)
    assert said == [
        'mixed.extxyz: left out: 2 not_periodic (entry 2 (Li1): it is periodic along pbc="F F F" only, expected "T T T")'
    ]
    path.write_text(GOOD + GOOD.replace("Li 0 0 0", "Li 0 0 ****"))
    with pytest.raises(ReferenceDataError, match=r"entry 2: not an extended XYZ file: .* no number"):
        load_references(path, ("Li",))
