"""atomate2's VASP Makers through custodian and the replayer, and task documents as atomate2 stores them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure
from vasp_machine import Machine, make_machine
from vasp_replayer import pair_potential

from coevo.configs.tree import LabellingConfig
from coevo.errors import LabellingError
from coevo.labelling.contract import LabelResult
from coevo.labelling.digest import settings_digest
from coevo.labelling.task_makers.labeller import MakerLabeller

pytestmark = pytest.mark.filterwarnings("ignore")
MATPES = "atomate2.vasp.jobs.matpes.MatPesGGAStaticMaker"
MP = "atomate2.vasp.jobs.mp.MPGGAStaticMaker"
NO_LARGE_FILES = {"LORBIT": None, "LCHARG": False, "LAECHG": False, "LWAVE": False}
"""INCAR tags of the user's: the replayer writes no projections and no densities."""


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return make_machine(tmp_path, monkeypatch)


@pytest.fixture
def frame() -> Structure:
    """Li2S with its atoms out of VASP's order, in a left-handed cell."""
    cell = Lattice(np.array([[2.8, 0.1, 2.9], [0.0, 2.9, 2.8], [2.9, 2.8, 0.0]]))
    assert np.linalg.det(cell.matrix) < 0
    return Structure(cell, ["Li", "S", "Li"], [[0.24, 0.25, 0.25], [0.0, 0.02, 0.01], [0.75, 0.75, 0.77]])


def labeller(machine: Machine, maker: str = MATPES, stated: dict[str, Any] | None = None, **arguments: Any) -> MakerLabeller:
    incar = {**NO_LARGE_FILES, **arguments.pop("incar", {})}
    arguments["input_set_generator->user_incar_settings"] = incar
    config = LabellingConfig(code="maker", maker=maker, arguments=arguments, stated=stated or {})
    return MakerLabeller(config, ["Li", "P", "S"], command=machine.command, scratch=machine.root / "scratch")


def label_of(machine: Machine, frame: Structure, *arguments: Any, **more: Any) -> LabelResult:
    (label,) = labeller(machine, *arguments, **more).label([frame])
    return label


def true_numbers(frame: Structure) -> tuple[float, np.ndarray, np.ndarray]:
    return pair_potential(frame.lattice.matrix, [site.specie.symbol for site in frame], frame.frac_coords)


def test_a_clean_run_gives_the_numbers_that_vasp_wrote(machine: Machine, frame: Structure) -> None:
    label = label_of(machine, frame)
    energy, forces, stress = true_numbers(frame)
    assert label.status == "admitted", label
    assert label.energy == pytest.approx(energy / 3, abs=1e-7)  # the free energy, of which the forces are derivatives
    np.testing.assert_allclose(label.forces, forces, atol=1e-7)
    np.testing.assert_allclose(label.stress, stress, atol=1e-9)
    assert machine.journal == [["Normal", "680.0", "0", "0.22"]]
    assert list((machine.root / "scratch").iterdir()) == []


def test_the_user_changes_the_input_set_by_a_part_of_it(machine: Machine, frame: Structure) -> None:
    assert label_of(machine, frame, incar={"ENCUT": 400}).status == "admitted"
    assert machine.journal[0][1] == "400.0"
    plain, other, parallel = (
        settings_digest(labeller(machine, incar=incar).settings()) for incar in ({}, {"ENCUT": 400}, {"NCORE": 4})
    )
    assert plain == parallel != other


@pytest.mark.parametrize(
    ("replay", "status", "reason"),
    [
        ("unconverged", "rejected", "not_converged"),
        ("aborted", "rejected", "not_converged"),
        ("zheev", "failed", "zheev"),
        ("segfault", "failed", "output_missing"),
        ("other geometry", "rejected", "geometry_changed"),
    ],
)
def test_what_goes_wrong_is_never_admitted(
    machine: Machine, frame: Structure, monkeypatch: pytest.MonkeyPatch, replay: str, status: str, reason: str
) -> None:
    monkeypatch.setenv("REPLAY", replay)
    label = label_of(machine, frame)
    assert (label.status, label.reason) == (status, reason), label
    assert (label.energy, label.forces, label.stress) == (None, None, None)
    assert str(machine.root) not in label.detail


def test_settings_name_the_input_set_the_potentials_and_the_functional(machine: Machine) -> None:
    settings = labeller(machine).settings()
    assert (settings.code, settings.version, settings.functional, settings.anion_corrected) == ("maker", "6", "PBE", False)
    told = settings.parameters
    assert sorted(told["potcars"]) == ["Li", "P", "S"]
    assert told["fields"]["input_set_generator"]["config_dict"]["INCAR"]["ENCUT"] == 680
    assert {"atomate2", "pymatgen"} <= set(told["packages"]) or {"atomate2", "pymatgen-core"} <= set(told["packages"])
    assert labeller(machine).first_principles
    assert str(machine.root) not in str(told)


def test_what_is_missing_is_told_before_anything_runs(machine: Machine, frame: Structure) -> None:
    with pytest.raises(LabellingError, match="no executable 'vasp_of_nobody'"):
        labeller(machine, run_vasp_kwargs={"vasp_cmd": "vasp_of_nobody"}).settings()
    with pytest.raises(LabellingError, match="MPGGARelaxMaker moves atoms"):
        labeller(machine, "atomate2.vasp.jobs.mp.MPGGARelaxMaker").settings()
    with pytest.raises(LabellingError, match=r"this is VASP 6.* and labelling\.stated\.version is 5\.4\.4"):
        label_of(machine, frame, stated={"version": "5.4.4"})


def test_a_task_document_from_elsewhere_is_read_as_one_of_ones_own(machine: Machine, frame: Structure, tmp_path: Path) -> None:
    """As a Maker gives it that has a document of a database: plain JSON, and no files beside it."""
    from monty.json import jsanitize
    from monty.serialization import dumpfn

    from coevo.labelling.task_makers.running import run_frame
    from coevo.labelling.vasp.labels import prepare

    prepared = prepare(frame)
    folder = tmp_path / "run"
    folder.mkdir()
    document = run_frame(labeller(machine)._maker_of_a_frame(), prepared.structure, folder).document
    plain = jsanitize(document, strict=True, enum_values=True)
    for key in ("@module", "@class", "dir_name"):
        plain.pop(key, None)
    dumpfn(plain, tmp_path / "task.json")
    config = LabellingConfig(code="maker", maker="toy_makers.DocumentMaker", arguments={"file": str(tmp_path / "task.json")})
    (label,) = MakerLabeller(config, ["Li", "S"]).label([frame])
    energy, forces, stress = true_numbers(frame)
    assert label.status == "admitted", label
    assert label.energy == pytest.approx(energy / 3, abs=1e-7)
    np.testing.assert_allclose(label.forces, forces, atol=1e-7)
    np.testing.assert_allclose(label.stress, stress, atol=1e-9)
    other = frame.copy()
    other.translate_sites([0], [0.0, 0.0, 0.05], frac_coords=False)
    assert [result.reason for result in MakerLabeller(config, ["Li", "S"]).label([other])] == ["geometry_changed"]
