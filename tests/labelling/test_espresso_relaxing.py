"""Relaxation by pw.x: what its outputs say, how rounds go on, and the real executable."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from espresso_cases import RELAXATIONS, RELAXED, in_shell, potentials
from pw_executable import require_pw
from pymatgen.core import Lattice, Structure

from coevo.configs.tree import EspressoConfig
from coevo.labelling.contract import LabelResult
from coevo.labelling.espresso.inputs import Relaxation, parameters
from coevo.labelling.espresso.labeller import EspressoLabeller
from coevo.labelling.espresso.relaxing import Moved, geometries, largest_force, moved_to, relax_in_rounds

BOHR, RYDBERG = 0.529177210903, 13.605693122994


def output(name: str) -> str:
    return (RELAXED / name / "pw.out").read_text()


@pytest.mark.parametrize("name", RELAXATIONS)
def test_geometries_and_energies_are_those_printed(name: str) -> None:
    text = output(name)
    assert (RELAXED / name / "pw.in").read_text() == RELAXATIONS[name].text()
    printed = [float(e) * RYDBERG / 3 for e in re.findall(r"^! .*= *(\S+) Ry", text, flags=re.MULTILINE)]
    volumes = [float(v) * BOHR**3 for v in re.findall(r"new unit-cell volume = *(\S+) a.u.", text)]
    found = geometries(text)
    np.testing.assert_allclose([energy for _, energy in found], printed, rtol=2e-7)  # of constants of other years
    # a new cell is printed before the run in it
    np.testing.assert_allclose([s.volume for s, _ in found[1:]], volumes[: len(found) - 1], rtol=1e-5)


def test_what_converged_ends_at_its_last_geometry_and_not_at_its_lowest_energy() -> None:
    found, moved = geometries(output("converged")), moved_to(output("converged"))
    assert len(found) == 4  # three geometries, and the last one once more with plane waves of its own
    assert found[3][1] > found[0][1]
    assert (moved.steps, moved.reason) == (2, "")
    assert moved.structure == found[2][0]
    assert moved.first_energy == found[0][1]


def test_of_what_did_not_converge_the_lowest_geometry_counts() -> None:
    text = output("steps_used_up")
    assert json.loads((RELAXED / "steps_used_up" / "pw.status.json").read_text())["returncode"] == 3
    found, moved = geometries(text), moved_to(text)
    assert moved.steps == 2
    assert moved.structure == found[2][0]
    energies = re.findall(r"^!.*", text, flags=re.MULTILINE)
    worse = text.replace(energies[2], energies[2].replace("-48.", "-47."))
    assert moved_to(worse).structure == found[1][0]


@pytest.mark.parametrize("name", RELAXATIONS)
def test_any_output_can_be_cut_at_any_line(name: str) -> None:
    lines = output(name).splitlines(keepends=True)
    for length in range(0, len(lines), 97):
        moved = moved_to("".join(lines[:length]))
        assert (moved.structure is None) == (moved.reason == "results_missing")


def test_a_run_that_used_up_its_steps_is_no_failure(tmp_path: Path) -> None:
    # the recording in place of pw.x, with its exit code
    shutil.copy(RELAXED / "steps_used_up" / "pw.out", tmp_path / "recorded")
    lines = (tmp_path / "recorded").read_text().replace("/pseudo", str(potentials()))
    (tmp_path / "recorded").write_text(lines)
    frame = Structure(Lattice([[0, 2.86, 2.86], [2.86, 0, 2.86], [2.86, 2.86, 0]]), ["S", "Li", "Li"], np.eye(3) / 4)
    labeller = EspressoLabeller(
        EspressoConfig(ecutwfc=20.0, conv_thr_per_atom=1e-8),
        command=in_shell(f"cat {tmp_path / 'recorded'}; exit 3"),
        potentials=potentials(),
        scratch=tmp_path,
    )
    from coevo.labelling.espresso.pseudopotentials import find_family, verify

    found = verify(find_family("sg15-pbe", potentials()), {"Li", "S"}, potentials())
    moved = labeller._move(frame, found, tmp_path, Relaxation(2, 0.1))
    assert (moved.reason, moved.steps) == ("", 2)


def test_the_criterion_is_that_of_relaxations_by_force_fields() -> None:
    from coevo.models.relaxing.crystal import Crystal, crystal_from_structure
    from coevo.models.relaxing.variables import Variables

    crystal = Structure(Lattice.orthorhombic(4, 5, 6), ["Li", "S"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    forces = np.array([[0.01, 0.02, 0.0], [-0.01, -0.02, 0.0]])
    stress = np.array([[1.0, 0.2, 0.0], [0.2, -0.5, 0.1], [0.0, 0.1, 0.3]]) * 1e-3
    plain = crystal_from_structure(crystal, {3, 16}, "any")
    assert isinstance(plain, Crystal)
    variables = Variables([plain], relax_cell=True)
    pairs = variables.generalised_forces(forces, crystal.volume * stress[None])
    label = LabelResult("admitted", "", -1.0, forces, stress)
    assert largest_force(label, crystal) == pytest.approx(float(variables.largest_row(*pairs)[0]))
    given = parameters(crystal, EspressoConfig(), "/pseudo", Relaxation(5, 0.1))
    # half of fmax: 0.05 eV/Å in Ry/bohr; as a stress times 60 Å³ per atom, in kbar
    assert given["control"]["forc_conv_thr"] == pytest.approx(0.05 * BOHR / RYDBERG)
    assert given["cell"]["press_conv_thr"] == pytest.approx(0.05 / 60 * 1602.1766)
    assert given["control"]["nstep"] == 6
    assert "ions" not in parameters(crystal, EspressoConfig(), "/pseudo")


class Spring:
    """A cube whose energy is that of a spring, and a code that goes a share of the way in each step."""

    def __init__(self, share: float = 0.5, rest: float = 4.0):
        self.share, self.rest, self.calls = share, rest, 0

    def label(self, crystal: Structure) -> LabelResult:
        off = crystal.lattice.a - self.rest
        return LabelResult("admitted", "", off**2, np.zeros((1, 3)), np.eye(3) * 2 * off / crystal.volume)

    def move(self, crystal: Structure, steps: int) -> Moved:
        self.calls += 1
        taken = min(2, steps)
        a = self.rest + (crystal.lattice.a - self.rest) * (1 - self.share) ** taken
        return Moved(cube(a), taken, self.label(crystal).energy)


def cube(a: float) -> Structure:
    return Structure(Lattice.cubic(a), ["Li"], [[0, 0, 0]])


def test_rounds_go_on_until_the_single_point_is_relaxed() -> None:
    spring = Spring()
    found = relax_in_rounds(cube(5.0), 20, 0.05, spring.move, spring.label)
    # 2 |a - 4| <= 0.05 after six halvings, in rounds of two
    assert (found.converged, found.steps, spring.calls, found.reason) == (True, 6, 3, "")
    assert found.structure.lattice.a == pytest.approx(4 + 0.5**6)


def test_steps_are_bounded_and_what_is_left_is_a_bound() -> None:
    spring = Spring()
    found = relax_in_rounds(cube(5.0), 3, 0.05, spring.move, spring.label)
    assert (found.converged, found.steps, spring.calls) == (False, 3, 2)
    assert found.label.energy == pytest.approx(0.5**6)


def test_a_code_that_goes_astray_leaves_the_first_geometry() -> None:
    spring = Spring(share=-0.5)
    found = relax_in_rounds(cube(5.0), 9, 0.05, spring.move, spring.label)
    assert (found.converged, found.steps, found.reason) == (False, 0, "energy_rises")
    assert found.label.energy == 1.0
    failed = relax_in_rounds(cube(5.0), 9, 0.05, lambda *_: Moved(None, reason="walltime"), spring.label)
    assert (failed.converged, failed.reason, failed.label.energy) == (False, "walltime", 1.0)
    # where it is relaxed already, that is as good
    assert relax_in_rounds(cube(4.0), 9, 0.05, lambda *_: Moved(None, reason="walltime"), spring.label).converged


@pytest.mark.long
def test_the_real_code_relaxes_a_crystal_and_says_so(tmp_path: Path) -> None:
    require_pw()
    # at lower cutoffs the plane waves of the first cell lead astray
    config = EspressoConfig(ecutwfc=60.0, k_spacing=1.3, conv_thr_per_atom=1e-8)
    labeller = EspressoLabeller(config, command=["pw.x"], potentials=potentials(), elements=["Li", "S"], scratch=tmp_path)
    cell = Lattice([[0, 2.8, 2.8], [2.8, 0, 2.8], [2.8, 2.8, 0]])
    sulphide = Structure(cell, ["S", "Li", "Li"], [[0, 0, 0], [0.25, 0.25, 0.25], [0.75, 0.75, 0.75]])
    thin = Structure(Lattice.cubic(60.0), ["Li", "Li"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    found: list[Any] = labeller.relax([sulphide, thin], 8, 0.1)
    assert found[1].label.reason == "cell"  # no plane-wave code should be given it
    (before, after) = labeller.label([sulphide, found[0].structure])
    assert found[0].converged
    assert 0 < found[0].steps <= 8
    assert largest_force(before, sulphide) > 0.1 >= largest_force(after, found[0].structure)
    assert after.energy == pytest.approx(found[0].label.energy, abs=1e-6)
    assert after.energy < before.energy
    assert list(tmp_path.iterdir()) == []
