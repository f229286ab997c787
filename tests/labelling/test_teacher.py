"""The teacher around stock CHGNet with its r2SCAN weights, and around force fields that fail."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from labeller_contract import LabellerContract
from pymatgen.core import Lattice, Structure

from coevo.configs.tree import LabellingConfig
from coevo.errors import LabellingError
from coevo.labelling.contract import LabelResult
from coevo.labelling.digest import settings_digest
from coevo.labelling.sanity import SanityLimits
from coevo.labelling.teacher import TeacherLabeller, weights_digest

GPA = 1 / 160.21766208  # eV/Å³


@dataclass
class Point:
    energy: float
    forces: Any
    stress: Any


@dataclass
class NoPoint:
    reason: str
    detail: str = ""


class StockChgnet:
    """Stock CHGNet behind the two methods that a teacher needs."""

    def __init__(self, weights: str):
        import torch
        from chgnet.model import CHGNet

        torch.set_num_threads(1)
        self.model = CHGNet.load(model_name=weights, use_device="cpu", check_cuda_mem=False, verbose=False)

    def evaluate(
        self, structures: Sequence[Structure], *, workers: int = 1, progress: Callable[[int], None] | None = None
    ) -> list[Point | NoPoint]:
        results: list[Point | NoPoint] = []
        for structure in structures:
            try:
                told = self.model.predict_structure(structure)
                stress = np.asarray(told["s"], dtype=float) * GPA
                results.append(Point(float(told["e"]), np.asarray(told["f"], dtype=float), stress))
            except ValueError as err:
                results.append(NoPoint("no_graph", str(err)))
            if progress is not None:
                progress(1)
        return results

    def save(self, path: Path) -> None:
        path.write_bytes(b"".join(value.numpy().tobytes() for _, value in sorted(self.model.state_dict().items())))


@pytest.fixture(scope="module")
def r2scan() -> StockChgnet:
    return StockChgnet("r2scan")


class TestChgnetTeacher(LabellerContract):
    @pytest.fixture(scope="class")
    @classmethod
    def labeller(cls, r2scan: StockChgnet) -> TeacherLabeller:
        return TeacherLabeller.from_config(r2scan, LabellingConfig())

    def test_it_says_what_it_is(self, labeller: TeacherLabeller, r2scan: StockChgnet) -> None:
        settings = labeller.settings()
        assert settings.code == "teacher"
        assert settings.version.startswith("chgnet 0.")
        assert settings.functional == "r2SCAN"
        assert not settings.anion_corrected
        assert settings.parameters == {"weights": weights_digest(r2scan)}

    def test_its_numbers_are_the_force_fields(self, labeller: TeacherLabeller, r2scan: StockChgnet, frame: Structure) -> None:
        (label,) = labeller.label([frame])
        told = r2scan.model.predict_structure(frame)
        assert label.energy == pytest.approx(float(told["e"]), abs=1e-6)
        np.testing.assert_allclose(label.forces, told["f"], atol=1e-6)
        np.testing.assert_allclose(label.stress, told["s"] * GPA, atol=1e-7)

    def test_workers_are_no_part_of_the_settings(self, labeller: TeacherLabeller, r2scan: StockChgnet) -> None:
        more = TeacherLabeller.from_config(r2scan, LabellingConfig(frames_per_job=3), workers=2)
        assert settings_digest(more.settings()) == settings_digest(labeller.settings())

    def test_other_weights_are_other_settings(self, labeller: TeacherLabeller) -> None:
        config = LabellingConfig.model_validate({"teacher": {"weights": "0.3.0"}})
        pbe = TeacherLabeller.from_config(StockChgnet("0.3.0"), config)
        assert (pbe.settings().functional, pbe.settings().anion_corrected) == ("PBE", True)
        assert settings_digest(pbe.settings()) != settings_digest(labeller.settings())


class TestOurChgnetTeacher(LabellerContract):
    """The teacher as a campaign uses it: coevo's own CHGNet, with the r2SCAN weights of the wheel."""

    @pytest.fixture(scope="class")
    @classmethod
    def labeller(cls) -> TeacherLabeller:
        from coevo.models.registry import force_field_from

        return TeacherLabeller.from_config(force_field_from("chgnet", weights="r2scan", device="cpu"), LabellingConfig())

    def test_its_numbers_are_those_of_stock_chgnet(self, label: LabelResult, r2scan: StockChgnet, frame: Structure) -> None:
        told = r2scan.model.predict_structure(frame)
        assert label.energy == pytest.approx(float(told["e"]), abs=1e-5)
        np.testing.assert_allclose(label.forces, told["f"], atol=1e-4)
        np.testing.assert_allclose(label.stress, told["s"] * GPA, atol=1e-5)


class Replay:
    """A force field that gives back what it was made with."""

    def __init__(self, *results: Any):
        self.results = list(results)

    def evaluate(self, structures: Sequence[Structure], *, workers: int = 1, progress: Any = None) -> list[Any]:
        return self.results

    def save(self, path: Path) -> None:
        path.write_bytes(b"weights")


def teacher(*results: Any, limits: SanityLimits | None = None) -> TeacherLabeller:
    return TeacherLabeller(Replay(*results), weights_digest="0" * 64, version="replay 1", limits=limits)


@pytest.fixture
def frame() -> Structure:
    return Structure(Lattice.cubic(4.0), ["Li", "S"], [[0, 0, 0], [0.5, 0.5, 0.5]])


def point(energy: float = -3.0, force: float = 0.1, stress: float = 0.01) -> Point:
    return Point(energy, np.array([[force, 0.0, 0.0], [-force, 0.0, 0.0]]), np.full((3, 3), stress))


@pytest.mark.parametrize(
    ("result", "reason", "number"),
    [
        (point(energy=float("nan")), "not_finite", ""),
        (point(force=float("inf")), "not_finite", ""),
        (point(stress=float("nan")), "not_finite", ""),
        (point(energy=4646.8), "energy_out_of_range", "4647"),
        (point(energy=-51.0), "energy_out_of_range", "-51"),
        (point(force=50.1), "large_force", "50.1"),
        (point(stress=-1.5), "large_stress", "1.5"),
    ],
)
def test_numbers_out_of_limits_are_rejected_with_the_reason(frame: Structure, result: Point, reason: str, number: str) -> None:
    (label,) = teacher(result).label([frame])
    assert (label.status, label.reason) == ("rejected", reason)
    assert number in label.detail
    assert (label.energy, label.forces, label.stress) == (None, None, None)


def test_numbers_on_the_limit_are_admitted(frame: Structure) -> None:
    limits = SanityLimits(max_force=2.0, max_stress=0.5, energy_range=(-3.0, 0.0))
    (label,) = teacher(point(energy=-3.0, force=2.0, stress=-0.5), limits=limits).label([frame])
    assert label.status == "admitted"


def test_limits_come_from_the_configuration(frame: Structure) -> None:
    config = LabellingConfig(max_force=1.0)
    labeller = TeacherLabeller.from_config(Replay(point(force=1.5)), config)
    assert labeller.label([frame])[0].reason == "large_force"


def test_overlapping_atoms_never_reach_the_force_field(frame: Structure) -> None:
    near = Structure(Lattice.cubic(4.0), ["Li", "S"], [[0, 0, 0.99], [0, 0, 0.11]])
    own_image = Structure(Lattice.orthorhombic(0.4, 6.0, 6.0), ["Li"], [[0, 0, 0]])
    reported: list[int] = []
    labels = teacher(point()).label([near, frame, own_image], progress=reported.append)
    assert [label.status for label in labels] == ["rejected", "admitted", "rejected"]
    assert labels[0].reason == labels[2].reason == "overlap"
    assert labels[0].detail == "Li and S are 0.48 Å apart, allowed: at least 0.5 Å"
    assert sum(reported) == 2  # this force field reports nothing of its own


def test_a_frame_without_a_result_is_failed_with_the_force_fields_reason(frame: Structure) -> None:
    labels = teacher(NoPoint("exploded", "fmax 1e9 eV/Å"), point()).label([frame, frame])
    assert [label.status for label in labels] == ["failed", "admitted"]
    assert (labels[0].reason, labels[0].detail) == ("exploded", "fmax 1e9 eV/Å")


def test_a_force_field_that_breaks_its_contract_is_an_error(frame: Structure) -> None:
    with pytest.raises(LabellingError, match="1 results for 2 frames"):
        teacher(point()).label([frame, frame])
    with pytest.raises(LabellingError, match=r"forces \(2, 3\).*1 atoms"):
        teacher(point()).label([Structure(Lattice.cubic(3.0), ["Li"], [[0, 0, 0]])])
