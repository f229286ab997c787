"""VASP labels through atomate2, custodian's VaspJob, handlers and validators, and pymatgen's parsers; only VASP is replayed."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from labeller_contract import LabellerContract
from pymatgen.core import Lattice, Structure
from vasp_machine import Machine, make_machine
from vasp_replayer import pair_potential

from coevo.labelling.contract import LabelResult
from coevo.labelling.vasp.labeller import VaspLabeller

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def machine(tmp_path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return make_machine(tmp_path, monkeypatch)


@pytest.fixture
def frame() -> Structure:
    """Li2S with its atoms out of VASP's order."""
    cell = Lattice(np.array([[0.0, 2.9, 2.8], [2.8, 0.1, 2.9], [2.9, 2.8, 0.0]]))
    return Structure(cell, ["Li", "S", "Li"], [[0.25, 0.24, 0.25], [0.02, 0.0, 0.01], [0.75, 0.75, 0.77]])


def label_of(machine: Machine, frame: Structure, **config: object) -> LabelResult:
    (label,) = machine.labeller(**config).label([frame])
    return label


class TestVasp(LabellerContract):
    @pytest.fixture(scope="class")
    @classmethod
    def labeller(cls, tmp_path_factory) -> Iterator[VaspLabeller]:
        with pytest.MonkeyPatch.context() as patch:
            yield make_machine(tmp_path_factory.mktemp("vasp"), patch).labeller()


def test_a_clean_run_gives_the_numbers_that_vasp_wrote(machine: Machine, frame: Structure) -> None:
    label = label_of(machine, frame)
    energy, forces, stress = pair_potential(frame.lattice.matrix, [site.specie.symbol for site in frame], frame.frac_coords)
    assert label.status == "admitted", label
    assert label.energy == pytest.approx(energy / 3, abs=1e-7)
    np.testing.assert_allclose(label.forces, forces, atol=1e-7)
    np.testing.assert_allclose(label.stress, stress, atol=1e-9)
    assert machine.journal == [["Normal", "680.0", "0", "0.22"]]


def test_the_energy_is_the_free_energy_and_the_other_one_is_told(machine: Machine, frame: Structure) -> None:
    label = label_of(machine, frame)
    assert label.detail == f"free energy; extrapolated to no smearing {label.energy + 0.006 / 3:.6f} eV/atom"


def test_a_left_handed_cell_gets_the_forces_of_the_frame(machine: Machine, frame: Structure) -> None:
    mirrored = Structure(frame.lattice.matrix[[1, 0, 2]], frame.species, frame.frac_coords[:, [1, 0, 2]])
    assert np.linalg.det(frame.lattice.matrix) * np.linalg.det(mirrored.lattice.matrix) < 0
    first, second = machine.labeller().label([frame, mirrored])
    assert second.energy == pytest.approx(first.energy, abs=1e-7)
    np.testing.assert_allclose(second.forces, first.forces, atol=1e-6)
    np.testing.assert_allclose(second.stress, first.stress, atol=1e-8)


def test_the_input_set_of_the_materials_project(machine: Machine, frame: Structure) -> None:
    assert label_of(machine, frame, maker="mp").status == "admitted"
    assert machine.journal == [["Fast", "520.0", "0", "KPOINTS"]]


def test_lines_of_the_user_go_before_those_of_the_input_set(machine: Machine, frame: Structure) -> None:
    assert label_of(machine, frame, incar=["ENCUT = 400", "KSPACING = 0.5", "NCORE = 2"]).status == "admitted"
    assert machine.journal == [["Normal", "400.0", "0", "0.5"]]


def test_an_error_is_corrected_by_custodian_and_told(machine: Machine, frame: Structure, monkeypatch: pytest.MonkeyPatch) -> None:
    clean = label_of(machine, frame)
    monkeypatch.setenv("REPLAY", "edddav")
    label = label_of(machine, frame)
    assert label.status == "admitted"
    assert label.energy == clean.energy
    assert label.detail.endswith("custodian: edddav corrected")
    assert [attempt[0] for attempt in machine.journal[1:]] == ["Normal", "All"]


@pytest.mark.long
def test_a_correction_of_one_frame_is_not_remembered_for_the_next(
    machine: Machine, frame: Structure, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REPLAY", "edddav")
    first, second = machine.labeller().label([frame, frame])
    assert first.detail == second.detail
    assert [attempt[0] for attempt in machine.journal] == ["Normal", "All"] * 2


@pytest.mark.parametrize(
    ("replay", "status", "reason", "attempts"),
    [
        pytest.param("zheev", "failed", "zheev", 2, marks=pytest.mark.long),
        ("too many", "failed", "max_corrections", 3),
        ("unconverged", "rejected", "not_converged", 3),
        pytest.param("aborted", "rejected", "not_converged", 1, marks=pytest.mark.long),
        ("segfault", "failed", "output_missing", 1),
        pytest.param("silent", "failed", "output_missing", 1, marks=pytest.mark.long),
        pytest.param("cut", "failed", "output_missing", 1, marks=pytest.mark.long),
        pytest.param("exit code", "failed", "exit_code", 1, marks=pytest.mark.long),
        pytest.param("no OUTCAR numbers", "failed", "unreadable_output", 1, marks=pytest.mark.long),
        ("stars", "rejected", "not_finite", 1),
        pytest.param("positive", "rejected", "positive_energy", 1, marks=pytest.mark.long),
        pytest.param("other geometry", "rejected", "geometry_changed", 1, marks=pytest.mark.long),
        ("tetrahedra", "rejected", "settings_changed", 2),
    ],
)
def test_what_goes_wrong_is_never_admitted(
    machine: Machine, frame: Structure, monkeypatch: pytest.MonkeyPatch, replay: str, status: str, reason: str, attempts: int
) -> None:
    monkeypatch.setenv("REPLAY", replay)
    incar = ["SIGMA = 0.1"] if replay == "tetrahedra" else []
    label = label_of(machine, frame, incar=incar, max_errors=3)
    assert (label.status, label.reason) == (status, reason), label
    assert (label.energy, label.forces, label.stress) == (None, None, None)
    assert label.detail
    assert str(machine.root) not in label.detail
    assert " at 0x" not in label.detail
    assert len(machine.journal) == attempts
    monkeypatch.setenv("REPLAY", "clean")
    assert label_of(machine, frame).status == "admitted"


def test_overlapping_atoms_are_never_given_to_vasp(machine: Machine) -> None:
    near = Structure(Lattice.cubic(6.0), ["Li", "S"], [[0, 0, 0], [0.001, 0, 0]])
    assert label_of(machine, near).reason == "overlap"
    assert machine.journal == []


@pytest.mark.long
def test_frames_without_a_label_are_kept_where_the_user_says(
    machine: Machine, frame: Structure, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.labeller(scratch=True).label([frame])
    assert list((machine.root / "scratch").iterdir()) == []
    monkeypatch.setenv("REPLAY", "unconverged")
    machine.labeller(scratch=True).label([frame])
    (kept,) = (machine.root / "scratch").glob("coevo-vasp-*/0000")
    names = {path.name.removesuffix(".gz") for path in kept.iterdir()}
    assert names >= {"INCAR", "POSCAR", "OUTCAR", "vasprun.xml", "custodian.json", "vasp.out"}
    assert not names & {"WAVECAR", "CHGCAR"}


def test_a_walltime_stops_vasp_and_the_stopped_run_is_no_label(
    machine: Machine, frame: Structure, monkeypatch: pytest.MonkeyPatch
) -> None:
    from coevo.labelling.vasp import running

    monkeypatch.setattr(running, "MONITOR_EVERY", 1)
    monkeypatch.setenv("REPLAY", "slow")
    monkeypatch.setenv("CUSTODIAN_WALLTIME_START", "Thu Jan 01 00:00:00 UTC 1970")  # of another run: not ours
    original = running.handlers_for
    monkeypatch.setattr(running, "handlers_for", lambda config: original(config.model_copy(update={"walltime": 1})))
    label = label_of(machine, frame)
    assert (label.status, label.reason) == ("failed", "walltime"), label
    assert "Walltime reached not corrected" in label.detail


def test_units_and_signs_are_those_of_ase_on_the_same_files(machine: Machine, frame: Structure, tmp_path) -> None:
    """ASE's own reader of vasprun.xml, on what the replayer wrote and on a file of VASP 6.3 that ASE brings along."""
    from ase.io import read
    from emmet.core.tasks import TaskDoc

    from coevo.labelling.sanity import SanityLimits
    from coevo.labelling.vasp import running
    from coevo.labelling.vasp.labels import label_of as label_of_run
    from coevo.labelling.vasp.labels import prepare

    prepared = prepare(frame)
    folder = tmp_path / "run"
    folder.mkdir()
    run = running.run_frame(prepared.structure, machine.labeller()._config, command=machine.command, directory=folder)
    assert isinstance(run.document, TaskDoc)
    label = label_of_run(run, prepared, SanityLimits(), {})
    with gzip.open(folder / "vasprun.xml.gz") as file:
        (tmp_path / "vasprun.xml").write_bytes(file.read())
    atoms = read(tmp_path / "vasprun.xml")
    assert label.energy == pytest.approx(atoms.get_potential_energy(force_consistent=True) / 3, abs=1e-9)
    np.testing.assert_allclose(label.forces[prepared.order], atoms.get_forces(), atol=1e-9)
    np.testing.assert_allclose(label.stress, atoms.get_stress(voigt=False), atol=1e-9)


def test_the_stress_of_a_true_vasprun_has_the_sign_of_ase() -> None:
    """VASP 6.3 says −166 kbar of the diamond in the file that ASE brings along: a positive stress in ASE's sign."""
    import ase.test
    from ase.io import read
    from pymatgen.io.vasp.outputs import Vasprun

    from coevo.labelling.vasp.labels import EV_PER_A3_PER_KBAR

    path = Path(ase.test.__file__).parent / "testdata" / "vasp" / "vasprun_pstress.xml"
    kbar = np.array(Vasprun(path, parse_dos=False, parse_eigen=False).ionic_steps[-1]["stress"])
    np.testing.assert_allclose(-EV_PER_A3_PER_KBAR * kbar, read(path).get_stress(voigt=False), rtol=1e-6)
    assert kbar[0, 0] == -165.9956258
