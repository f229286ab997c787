"""Any static Maker as a labelling code: the contract suite on real Makers, and what becomes of Makers that break a rule."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jobflow import CURRENT_JOB, JobStore, Response, job, run_locally
from labeller_contract import LabellerContract
from maggma.stores import MemoryStore
from pymatgen.core import Lattice, Structure

from coevo.configs.tree import LabellingConfig
from coevo.errors import LabellingError
from coevo.labelling.digest import settings_digest
from coevo.labelling.task_makers.labeller import MakerLabeller

pytestmark = pytest.mark.filterwarnings("ignore")
LENNARD_JONES = "atomate2.ase.jobs.LennardJonesStaticMaker"
EMT = "atomate2.ase.jobs.EmtRelaxMaker"
ALLOYED = ("Au", "Cu")


def labeller(maker: str, *, stated: dict[str, Any] | None = None, scratch: Path | None = None, **arguments: Any) -> MakerLabeller:
    maker = maker if "." in maker else f"toy_makers.{maker}"
    config = LabellingConfig(code="maker", maker=maker, arguments=arguments, stated=stated or {})
    return MakerLabeller(config, ALLOYED, scratch=scratch)


@pytest.fixture
def alloy() -> Structure:
    """Out of the order and the handedness that a code is given."""
    cell = Lattice([[0.0, 3.8, 0.1], [3.7, 0.0, 0.0], [0.0, 0.0, 3.9]])
    frame = Structure(cell, ["Au", "Cu", "Cu", "Au"], [[0.01, 0, 0], [0.5, 0.5, 0.02], [0.5, 0, 0.5], [0, 0.5, 0.5]])
    assert np.linalg.det(cell.matrix) < 0
    return frame


class TestForceFieldOfAtomate2(LabellerContract):
    """Lennard-Jones of ASE as a teacher."""

    @pytest.fixture(scope="class")
    @classmethod
    def labeller(cls) -> MakerLabeller:
        parameters = {"sigma": 2.2, "epsilon": 0.3, "rc": 6.0, "smooth": True}
        config = LabellingConfig(code="maker", maker=LENNARD_JONES, arguments={"calculator_kwargs": parameters}, max_force=200.0)
        return MakerLabeller(config, ["Li", "S"])


@pytest.mark.parametrize("maker", ["MappingMaker", "ReplacingMaker", "DetouringMaker", "FlowMaker", EMT])
def test_the_numbers_are_those_of_ase_in_the_order_of_the_frame(maker: str, alloy: Structure) -> None:
    from toy_makers import emt

    arguments = {"steps": 1, "relax_cell": False} if maker == EMT else {}
    (label,) = labeller(maker, **arguments).label([alloy])
    energy, forces, stress = emt(alloy)
    assert label.status == "admitted", label
    assert label.energy == pytest.approx(energy / 4, abs=1e-9)
    np.testing.assert_allclose(label.forces, forces, atol=1e-9)
    np.testing.assert_allclose(label.stress[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]], stress, atol=1e-9)


@pytest.mark.parametrize(
    ("breaks", "status", "reason", "told"),
    [
        ("not converged", "rejected", "not_converged", "not converged"),
        ("nan", "rejected", "not_finite", ""),
        ("zero", "rejected", "not_converged", "not converged"),
        ("moved", "rejected", "geometry_changed", "0.1 Å"),
        ("moved atoms", "rejected", "geometry_changed", "0.1 Å"),
        ("in place", "rejected", "geometry_changed", "0.1 Å"),
        ("reversed", "rejected", "geometry_changed", "another order of them"),
        ("exit", "failed", "maker_failed", "SystemExit: 3"),
        ("time", "failed", "maker_failed", "TimeoutError: no answer in 10 s"),
        ("crash", "failed", "maker_failed", "RuntimeError: the determinant is zero"),
        ("nothing", "failed", "no_output", ""),
    ],
)
def test_what_goes_wrong_with_a_frame_is_a_label_with_a_reason(
    alloy: Structure, tmp_path: Path, breaks: str, status: str, reason: str, told: str
) -> None:
    (label,) = labeller("MappingMaker", breaks=breaks, scratch=tmp_path).label([alloy])
    assert (label.status, label.reason, label.energy, label.forces) == (status, reason, None, None), label
    assert told in label.detail
    assert str(tmp_path) not in label.detail
    assert list(tmp_path.glob("coevo-maker-*/0000"))  # kept for the user to look at


def test_a_frame_that_fails_spoils_no_other(alloy: Structure) -> None:
    alone = Structure(Lattice.cubic(2.6), ["Cu"], [[0, 0, 0]])
    first, bad, last = labeller("MappingMaker", breaks="sulphur").label([alloy, alone, alloy])
    assert (first.status, bad.status, last.status) == ("admitted", "failed", "admitted")
    assert first.energy == last.energy


@pytest.mark.parametrize(
    ("breaks", "told"),
    [
        ("no stress", "has no stress; allowed: "),
        ("shape", r"forces \(3, 3\) and stress \(6,\) for 4 atoms|forces \(3, 3\)"),
        ("words", "are no numbers"),
        ("number", "has no energy and no forces and no stress"),
        ("text", "the structure of its dict is a str, allowed: pymatgen's Structure"),
        ("half a structure", "the structure of its dict cannot be read: KeyError"),
        ("skew", "is not symmetric"),
        ("no word", "converged of its dict: got 'no', allowed: true, false"),
        ("half of VASP", "has calcs_reversed, as emmet's task document of VASP has, and cannot be read as one"),
        ("disk", "No space left on device"),
        ("package", "No module named 'a_package_that_is_nowhere'"),
    ],
)
def test_what_is_no_fault_of_the_frame_is_an_error(alloy: Structure, breaks: str, told: str) -> None:
    with pytest.raises(LabellingError, match=told) as caught:
        labeller("MappingMaker", breaks=breaks).label([alloy])
    assert "MappingMaker" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_structure_may_be_atoms_of_ase(alloy: Structure) -> None:
    plain, atoms = (labeller("MappingMaker", breaks=breaks).label([alloy])[0] for breaks in ("", "atoms"))
    assert (atoms.status, atoms.energy) == ("admitted", plain.energy)


def test_jobs_without_end_are_ended(alloy: Structure) -> None:
    (label,) = labeller("ReplacingMaker", times=10_000).label([alloy])
    assert (label.status, label.reason) == ("failed", "too_many_jobs")


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("toy_makers.NoMaker", "is the class NoMaker, allowed: a class of jobflow.Maker"),
        ("toy_makers.function", "is a function function, allowed: a class of jobflow.Maker"),
        ("os.system", "allowed: a class of jobflow.Maker"),
        ("toy_makers.nothing", "cannot be imported: AttributeError"),
        ("nowhere.at.all", "cannot be imported: ModuleNotFoundError: No module named 'nowhere'"),
        (EMT, "relaxes a structure"),
        ("toy_makers.RelaxingFlowMaker", r"relaxes a structure \(inner\.inner\.steps: "),
        ("atomate2.vasp.flows.core.DoubleRelaxMaker", r"is a Flow of calculations by VASP \(relax_maker1: RelaxMaker, "),
        ("toy_makers.ContinuingMaker", "cannot be called with a structure alone: missing a required argument: 'prev_dir'"),
        ("toy_makers.MakerOfNothing", "has no make"),
        (f"{LENNARD_JONES}.x", "cannot be imported"),
    ],
)
def test_only_static_makers_are_accepted(path: str, told: str) -> None:
    with pytest.raises(LabellingError, match=told) as caught:
        labeller(path)
    assert "\n" not in str(caught.value)


def test_arguments_that_the_maker_does_not_take_are_told() -> None:
    with pytest.raises(LabellingError, match=r"labelling.arguments: toy_makers.MappingMaker does not take them: .*'colour'"):
        labeller("MappingMaker", colour="red")
    assert labeller("MappingMaker", **{"options->depth->of": 3})._maker.options == {"depth": {"of": 3}}


def test_make_must_give_jobs(alloy: Structure) -> None:
    with pytest.raises(LabellingError, match=r"UndecoratedMaker.make gives a dict, allowed: a Job or a Flow"):
        labeller("UndecoratedMaker").label([alloy])


def test_elements_that_the_node_has_not_are_refused() -> None:
    with pytest.raises(LabellingError, match="frames hold Ni; allowed: Au, Cu"):
        labeller("MappingMaker").label([Structure(Lattice.cubic(2.6), ["Ni"], [[0, 0, 0]])])


def test_a_label_within_a_job_leaves_that_job_the_current_one(alloy: Structure) -> None:
    seen = []

    @job
    def outer() -> Response:
        before = CURRENT_JOB.job
        labeller("MappingMaker").label([alloy])
        seen.append((before is not None, CURRENT_JOB.job is before))
        return Response(output=1)

    run_locally(outer(), store=JobStore(MemoryStore()), log=False, raise_immediately=True)
    assert seen == [(True, True)]


# --- settings


def digest(maker: str, *, stated: dict[str, Any] | None = None, elements: Any = ALLOYED, **arguments: Any) -> str:
    maker = maker if "." in maker else f"toy_makers.{maker}"
    config = LabellingConfig(code="maker", maker=maker, arguments=arguments, stated=stated or {})
    return settings_digest(MakerLabeller(config, elements).settings())


def test_the_digest_follows_what_changes_a_number_and_nothing_else(tmp_path: Path) -> None:
    plain = digest(LENNARD_JONES, calculator_kwargs={"sigma": 2.0})
    assert plain == digest(LENNARD_JONES, calculator_kwargs={"sigma": 2.0}, name="mine", tags=["a"], store_trajectory="full")
    assert plain == digest(LENNARD_JONES, calculator_kwargs={"sigma": 2.0}, elements=["Li", "S"])
    others = {
        digest(LENNARD_JONES, calculator_kwargs={"sigma": 2.1}),
        digest(EMT, steps=1),
        digest(LENNARD_JONES, calculator_kwargs={"sigma": 2.0}, stated={"functional": "PBE"}),
        digest(LENNARD_JONES, calculator_kwargs={"sigma": 2.0}, stated={"packages": ["spglib"]}),
        digest(LENNARD_JONES, calculator_kwargs={"sigma": 2.0}, stated={"version": "3"}),
    }
    assert len(others | {plain}) == 6
    # weights at a path are what the file holds, wherever it is
    for name, text in (("a", "weights"), ("b", "weights"), ("c", "others")):
        (tmp_path / name).write_text(text)
    by_file = [digest("MappingMaker", options={"model": str(tmp_path / name)}) for name in "abc"]
    assert by_file[0] == by_file[1] != by_file[2]


def test_versions_and_the_class_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib import metadata

    settings = labeller(LENNARD_JONES).settings()
    assert settings.parameters["maker"] == LENNARD_JONES
    assert settings.parameters["packages"] == {name: metadata.version(name) for name in ("ase", "atomate2")}
    assert (settings.version, settings.functional) == (f"ase {metadata.version('ase')}", "LennardJones")
    before = digest(LENNARD_JONES)
    true = metadata.version
    monkeypatch.setattr(metadata, "version", lambda name: "9.9" if name == "atomate2" else true(name))
    assert digest(LENNARD_JONES) != before
    # a file of the user's own belongs to no distribution
    assert list(labeller("MappingMaker").settings().parameters["sources"]) == ["toy_makers"]


def test_what_is_stated_goes_before_what_is_known() -> None:
    stated = {"functional": "r2SCAN", "anion_corrected": True, "first_principles": True, "version": "1.5"}
    made = labeller("MappingMaker", stated=stated)
    settings = made.settings()
    assert (settings.functional, settings.anion_corrected, settings.version) == ("r2SCAN", True, "1.5")
    assert made.first_principles
    assert not labeller("MappingMaker").first_principles
    assert not labeller(LENNARD_JONES).first_principles
    with pytest.raises(LabellingError, match=r"labelling\.stated\.packages: no-such-thing is not installed here"):
        labeller("MappingMaker", stated={"packages": ["no-such-thing"]}).settings()


def test_settings_are_plain_and_of_no_frame(alloy: Structure) -> None:
    made = labeller(EMT, steps=1)
    before = json.dumps(made.settings().parameters, sort_keys=True)
    made.label([alloy])
    assert json.dumps(labeller(EMT, steps=1).settings().parameters, sort_keys=True) == before
    assert "Au" not in before
