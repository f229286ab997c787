"""Labels from the real pw.x: the contract of all labellers, derivatives by finite differences, and what is refused before."""

from __future__ import annotations

import json
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
from espresso_cases import MPIRUN, potentials
from labeller_contract import LabellerContract
from pw_executable import require_pw
from pymatgen.core import Lattice, Structure

from coevo.configs.tree import EspressoConfig, LabellingConfig
from coevo.errors import LabellingError
from coevo.labelling.contract import Labeller, LabelResult
from coevo.labelling.digest import settings_digest
from coevo.labelling.espresso.inputs import input_text, k_grid
from coevo.labelling.espresso.labeller import EspressoLabeller
from coevo.labelling.espresso.modder import PwInput
from coevo.labelling.espresso.pseudopotentials import (
    directory_of_potentials,
    find_family,
    processes_of,
    pw_version,
    split_command,
    verify,
)
from coevo.labelling.sanity import SanityLimits
from coevo.makers.labels.settings import labeller_for

ROUGH = EspressoConfig(ecutwfc=20.0, k_spacing=2.0, conv_thr_per_atom=1e-8)
"""Fast, and far from converged: Γ alone for a small cell."""


def rough_labeller(**arguments: object) -> EspressoLabeller:
    given = {"config": ROUGH, "command": ["pw.x"], "potentials": potentials(), **arguments}
    return EspressoLabeller(given.pop("config"), **given)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def li2s() -> Structure:
    cell = Lattice([[0.0, 2.86, 2.86], [2.86, 0.0, 2.86], [2.86, 2.86, 0.0]])
    return Structure(cell, ["S", "Li", "Li"], [[0, 0, 0], [0.25, 0.25, 0.25], [0.75, 0.75, 0.75]])


class TestEspresso(LabellerContract):
    """The contract: forces and stresses are the derivatives of the energies.

    The frame is short along its first vector: it has two k-points there, and its double has Γ alone, for the same energy. All but
    the stress holds at a low cutoff as well. Strained cells have another number of plane waves, so that the derivative of the
    energy differs from the stress by 0.4 eV/Å³ at 30 Ry and by 0.0008 at 60 Ry.
    """

    stress_tolerance = 1.5e-3

    @pytest.fixture(scope="class")
    @classmethod
    def frame(cls) -> Structure:
        cell = Lattice([[3.2, 0.1, 0.0], [0.0, 3.9, 0.1], [0.2, 0.0, 3.8]])
        return Structure(cell, ["S", "Li", "Li"], [[0.02, 0.0, 0.01], [0.5, 0.49, 0.0], [0.5, 0.0, 0.52]])

    @classmethod
    def labeller_at(cls, cutoff: float) -> EspressoLabeller:
        require_pw()
        config = EspressoConfig(ecutwfc=cutoff, k_spacing=1.7, conv_thr_per_atom=1e-8)
        return EspressoLabeller(config, command=["pw.x"], potentials=potentials(), elements=["Li", "S"])

    @pytest.fixture(scope="class")
    @classmethod
    def labeller(cls) -> EspressoLabeller:
        return cls.labeller_at(20.0)

    def test_frame_and_double_have_the_same_points(self, frame: Structure) -> None:
        assert k_grid(frame.lattice, 1.7) == (2, 1, 1)
        assert k_grid(frame.make_supercell([2, 1, 1], in_place=False).lattice, 1.7) == (1, 1, 1)

    @pytest.mark.long  # five runs of pw.x at a high cutoff
    def test_stress_is_the_strain_derivative_over_the_volume(
        self, labeller: Labeller, frame: Structure, label: LabelResult
    ) -> None:
        fine = self.labeller_at(60.0)
        (label,) = fine.label([frame])
        super().test_stress_is_the_strain_derivative_over_the_volume(fine, frame, label)


class TestSettings:
    def test_they_name_everything_that_changes_a_number_and_nothing_else(self, monkeypatch: pytest.MonkeyPatch) -> None:
        require_pw()
        reference = rough_labeller().settings()
        assert (reference.code, reference.functional, reference.anion_corrected) == ("espresso", "PBE", False)
        assert reference.version[0].isdigit()
        assert len(reference.parameters["potentials"]["Li"]) == 64
        digest = settings_digest(reference)
        for same in (
            {"mixing_beta": 0.2},
            {"max_seconds": 60},
            {"electron_maxstep": 50},
            {"max_corrections": 1},
            {"ecutrho": 80},
        ):
            config = EspressoConfig(**{**ROUGH.model_dump(), **same})
            assert settings_digest(rough_labeller(config=config).settings()) == digest
        for other in ({"ecutwfc": 21}, {"ecutrho": 100}, {"k_spacing": 1.9}, {"smearing": "fd"}, {"degauss": 0.02}):
            config = EspressoConfig(**{**ROUGH.model_dump(), **other})
            assert settings_digest(rough_labeller(config=config).settings()) != digest

    def test_the_configuration_and_the_machine_make_a_labeller(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        require_pw()
        monkeypatch.setenv("COEVO_PSEUDOPOTENTIALS", str(potentials()))
        labeller = labeller_for(LabellingConfig(code="espresso"), elements=["Li", "S"])
        assert isinstance(labeller, EspressoLabeller)
        assert labeller.settings().parameters["ecutwfc"] == 60.0
        monkeypatch.delenv("COEVO_PSEUDOPOTENTIALS")
        with pytest.raises(LabellingError, match="COEVO_PSEUDOPOTENTIALS is not set"):
            labeller_for(LabellingConfig(code="espresso"))

    @pytest.mark.long
    def test_two_processes_give_the_same_label(self, li2s: Structure) -> None:
        require_pw()
        require_pw("mpirun")
        (alone,) = rough_labeller().label([li2s])
        (together,) = rough_labeller(command=[*MPIRUN, "pw.x"]).label([li2s])
        assert together.energy == pytest.approx(alone.energy, abs=1e-5)
        assert rough_labeller(command=[*MPIRUN, "pw.x"]).settings() == rough_labeller().settings()

    @pytest.mark.long
    def test_frames_at_once_keep_their_order(self, li2s: Structure) -> None:
        require_pw()
        frames = [Structure(Lattice(li2s.lattice.matrix * scale), li2s.species, li2s.frac_coords) for scale in (0.98, 1.03)]
        reported: list[int] = []
        both = rough_labeller(workers=2).label(frames, progress=reported.append)
        assert [label.energy for label in both] == [label.energy for label in rough_labeller().label(frames)]
        assert sum(reported) == 2


class TestRefused:
    def test_cells_that_are_no_crystals_never_reach_pw(self) -> None:
        labeller = rough_labeller(command=["/nonexistent/pw.x"])
        flat = Structure(Lattice([[3, 0, 0], [0, 3, 0], [0, 0, 0.01]]), ["Li"], [[0, 0, 0]])
        vacuum = Structure(Lattice.cubic(30.0), ["Li"], [[0, 0, 0]])
        mixed = Structure(Lattice.cubic(3.0), [{"Li": 0.5, "S": 0.5}], [[0, 0, 0]])
        near = Structure(Lattice.cubic(6.0), ["Li", "S"], [[0, 0, 0], [0.004 / 6, 0, 0]])
        labels = labeller.label([flat, vacuum, mixed, near])
        assert [label.reason for label in labels] == ["cell", "cell", "disordered", "overlap"]
        assert {label.status for label in labels} == {"rejected"}

    def test_a_pw_that_cannot_run_is_an_error_and_no_label(self, li2s: Structure, tmp_path: Path) -> None:
        with pytest.raises(LabellingError, match=r"nonexistent/pw.x cannot be started: No such file .* COEVO_ESPRESSO_COMMAND"):
            rough_labeller(command=["/nonexistent/pw.x"]).label([li2s])
        with pytest.raises(LabellingError, match=r"false is not a pw.x that runs \(exit code 1\)"):
            rough_labeller(command=["false"]).settings()

    def test_the_doctor_runs_pw(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("COEVO_ESPRESSO_COMMAND", "/nonexistent/pw.x")
        assert EspressoLabeller.here()[0].condition == "missing"
        require_pw()
        monkeypatch.setenv("COEVO_ESPRESSO_COMMAND", "pw.x")
        assert EspressoLabeller.here()[0].condition == "ok"
        assert EspressoLabeller.here()[0].found.startswith("pw.x, version ")

    def test_mpirun_as_root_is_told(self, tmp_path: Path) -> None:
        refusing = tmp_path / "mpirun"
        refusing.write_text("#!/bin/sh\necho 'You can override this by adding the --allow-run-as-root option' >&2; exit 1\n")
        refusing.chmod(0o755)
        with pytest.raises(LabellingError, match="as root, mpirun needs --allow-run-as-root"):
            pw_version((str(refusing), "-np", "2", "pw.x"))

    def test_numbers_out_of_limits_are_rejected_and_the_run_is_kept(self, li2s: Structure, tmp_path: Path) -> None:
        require_pw()
        limits = SanityLimits(max_stress=0.01)
        (label,) = rough_labeller(limits=limits, scratch=tmp_path / "runs").label([li2s])
        assert (label.status, label.reason, label.energy) == ("rejected", "large_stress", None)
        (kept,) = (tmp_path / "runs").iterdir()
        assert kept.name.endswith("-large_stress.tar.gz")
        assert kept.name in label.detail
        with tarfile.open(kept) as tar:
            names = {Path(name).name for name in tar.getnames()}
        assert {"pw.in", "pw.out", "custodian.json"} <= names
        assert not any(name.startswith("wfc") or name == "charge-density.dat" for name in names)

    def test_the_energy_is_bounded_relative_to_free_atoms(self, li2s: Structure) -> None:
        require_pw()
        (label,) = rough_labeller(limits=SanityLimits(energy_range=(-10.0, 10.0))).label([li2s])
        assert label.status == "admitted"
        assert label.energy < -200.0
        (label,) = rough_labeller(limits=SanityLimits(energy_range=(-50.0, -20.0))).label([li2s])
        assert label.reason == "energy_out_of_range"


class TestPotentials:
    @pytest.fixture
    def directory(self, tmp_path: Path) -> Path:
        for element in ("Li", "S"):
            shutil.copy(potentials() / f"{element}.UPF", tmp_path)
        return tmp_path

    def test_the_bundled_family_is_that_of_the_files(self, directory: Path) -> None:
        verified = verify(find_family("sg15-pbe", directory), ["S", "Li", "Li"], directory)
        assert list(verified) == ["Li", "S"]
        assert verified["Li"].atom_energy == pytest.approx(-14.1063124388)

    def test_a_missing_file_names_the_element_the_file_and_the_directory(self, directory: Path) -> None:
        with pytest.raises(LabellingError, match=f"^P: the pseudopotential P.UPF of sg15-pbe is not in {directory}"):
            verify(find_family("sg15-pbe", directory), ["P"], directory)

    def test_another_file_of_the_same_name_names_both_hashes(self, directory: Path) -> None:
        verify(find_family("sg15-pbe", directory), ["Li"], directory)
        (directory / "Li.UPF").write_bytes((potentials("LDA") / "Li.UPF").read_bytes())
        with pytest.raises(
            LabellingError, match=r"Li: .* is not the pseudopotential .* found sha256 [0-9a-f]{64}, expected 4db3f6ef"
        ):
            verify(find_family("sg15-pbe", directory), ["Li"], directory)

    def test_an_element_without_a_potential(self, directory: Path) -> None:
        with pytest.raises(LabellingError, match="Na: the family sg15-pbe has no pseudopotential; it has Li, P, S"):
            verify(find_family("sg15-pbe", directory), ["Na"], directory)

    def test_a_family_of_the_user(self, directory: Path) -> None:
        sha256 = find_family("sg15-pbe", directory).sha256["Li"]
        table = {"name": "mine", "functional": "PBEsol", "potentials": {"Li": {"file": "Li.UPF", "sha256": sha256.upper()}}}
        (directory / "family.json").write_text(json.dumps(table))
        family = find_family("mine", directory)
        assert (family.functional, list(verify(family, ["Li"], directory))) == ("PBEsol", ["Li"])
        assert find_family("sg15-pbe", directory).functional == "PBE"
        with pytest.raises(LabellingError, match="mine is made for PBEsol, allowed: a family for PBE"):
            rough_labeller(config=EspressoConfig(family="mine"), potentials=directory)
        with pytest.raises(LabellingError, match=r"no family of pseudopotentials 'sssp': .* is the family mine, and the bundled"):
            find_family("sssp", directory)

    @pytest.mark.parametrize("text", ["{", "[]", '{"name": "mine"}', '{"name": "mine", "functional": "PBE", "potentials": 1}'])
    def test_a_family_file_that_is_none(self, text: str, directory: Path) -> None:
        (directory / "family.json").write_text(text)
        with pytest.raises(LabellingError, match=r"family\.json is not a family of pseudopotentials"):
            find_family("mine", directory)

    def test_the_doctor_names_the_potentials_that_are_whole(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("COEVO_PSEUDOPOTENTIALS", str(directory))
        assert self.finding() == ("ok", "sg15-pbe: Li, S")
        (directory / "S.UPF").write_text("changed")
        assert self.finding() == ("ok", "sg15-pbe: Li")
        (directory / "Li.UPF").unlink()
        assert self.finding() == ("problem", f"{directory} holds no potential of a known family")
        (directory / "family.json").write_text("[]")
        assert "is not a family of pseudopotentials" in self.finding()[1]
        monkeypatch.delenv("COEVO_PSEUDOPOTENTIALS")
        assert self.finding()[0] == "missing"

    @staticmethod
    def finding() -> tuple[str, str]:
        finding = EspressoLabeller.here()[1]
        return finding.condition, finding.found

    def test_the_setting_must_be_a_directory(self, directory: Path) -> None:
        assert directory_of_potentials(str(directory)) == directory
        with pytest.raises(LabellingError, match="is not a directory"):
            directory_of_potentials(str(directory / "Li.UPF"))


class TestInput:
    def test_it_holds_the_frame_and_the_parameters(self, li2s: Structure) -> None:
        directory = potentials()
        config = ROUGH.model_copy(update={"k_spacing": 1.0})
        text = input_text(li2s, config, verify(find_family("sg15-pbe", directory), ["Li", "S"], directory))
        content = PwInput.from_text(text)
        assert content.get("SYSTEM->ecutrho") == 80.0
        assert content.get("ELECTRONS->conv_thr") == pytest.approx(3e-8)
        assert content.get("CONTROL->pseudo_dir") == str(directory)
        assert content.get("SYSTEM->occupations") == "smearing"
        assert "2 2 2  0 0 0" in text

    @pytest.mark.parametrize(("spacing", "grid"), [(2.0, (1, 1, 1)), (0.7, (3, 3, 3)), (0.25, (8, 8, 8)), (1.9027, (1, 1, 1))])
    def test_the_grid_follows_the_convention_of_kspacing(self, spacing: float, grid: tuple[int, ...], li2s: Structure) -> None:
        lengths = 2 * np.pi * np.linalg.norm(np.linalg.inv(li2s.lattice.matrix).T, axis=1)
        assert k_grid(li2s.lattice, spacing) == grid == tuple(np.maximum(1, np.ceil(lengths / spacing)).astype(int))

    def test_a_supercell_has_the_equivalent_grid(self, li2s: Structure) -> None:
        assert k_grid(li2s.make_supercell([2, 1, 1], in_place=False).lattice, 1.0) == (1, 2, 2)


def test_commands_and_their_processes() -> None:
    assert split_command("mpirun -np 4 'pw.x'") == ("mpirun", "-np", "4", "pw.x")
    assert [processes_of(split_command(c)) for c in ("pw.x", "mpirun -np 4 pw.x", "srun pw.x", "srun -n 8 pw.x")] == [
        1,
        4,
        None,
        8,
    ]
    for wrong in ("", "mpirun 'pw.x"):
        with pytest.raises(LabellingError, match="COEVO_ESPRESSO_COMMAND"):
            split_command(wrong)
