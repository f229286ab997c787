"""The suite that every labelling code must pass; a code subclasses it and gives its labeller.

The physics is checked without another code's numbers: forces and stresses must be the derivatives of the energies.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import ClassVar

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from coevo.labelling.contract import Labeller, LabelResult
from coevo.labelling.digest import settings_digest


class LabellerContract:
    """Subclass it, name it ``Test…`` and override ``labeller``.

    Attributes
    ----------
    force_tolerance, stress_tolerance : float
        Allowed difference between a derivative by finite differences and the label, eV/Å and eV/Å³.
    """

    force_tolerance: ClassVar[float] = 5e-3
    stress_tolerance: ClassVar[float] = 5e-4
    displacement: ClassVar[float] = 0.01
    strain: ClassVar[float] = 0.005

    @pytest.fixture(scope="class")
    @classmethod
    def labeller(cls) -> Labeller:
        raise NotImplementedError

    @pytest.fixture(scope="class")
    @classmethod
    def frame(cls) -> Structure:
        """Li2S, strained and displaced such that no force and no stress component is zero by symmetry."""
        cell = Lattice(np.array([[0.0, 2.86, 2.86], [2.86, 0.0, 2.86], [2.86, 2.86, 0.0]]) @ np.diag([0.97, 1.0, 1.04]))
        return Structure(cell, ["S", "Li", "Li"], [[0.02, 0.0, 0.01], [0.25, 0.24, 0.25], [0.75, 0.75, 0.77]])

    @pytest.fixture(scope="class")
    @classmethod
    def overlapping(cls) -> Structure:
        """Two atoms 0.004 Å apart."""
        return Structure(Lattice.cubic(6.0), ["Li", "S"], [[0.0, 0.0, 0.0], [0.004 / 6.0, 0.0, 0.0]])

    @pytest.fixture(scope="class")
    @classmethod
    def label(cls, labeller: Labeller, frame: Structure) -> LabelResult:
        (label,) = labeller.label([frame])
        assert label.status == "admitted", label
        return label

    def test_it_is_a_labeller(self, labeller: Labeller) -> None:
        assert isinstance(labeller, Labeller)
        assert labeller.code == labeller.settings().code

    def test_settings_are_json_and_have_one_digest(self, labeller: Labeller) -> None:
        settings = labeller.settings()
        assert settings.version
        assert settings.functional
        assert type(settings)(**json.loads(json.dumps(asdict(settings), allow_nan=False))) == settings
        digest = settings_digest(settings)
        assert digest == settings_digest(labeller.settings())
        assert len(digest) == 64

    def test_no_frames_no_labels(self, labeller: Labeller) -> None:
        assert labeller.label([]) == []

    def test_an_admitted_label_has_all_numbers(self, label: LabelResult, frame: Structure) -> None:
        assert label.reason == ""
        assert isinstance(label.energy, float)
        assert label.forces is not None
        assert label.forces.shape == (len(frame), 3)
        assert label.stress is not None
        assert label.stress.shape == (3, 3)
        assert np.isfinite(label.forces).all()
        assert np.isfinite(label.stress).all()
        np.testing.assert_allclose(label.stress, label.stress.T, atol=1e-4)
        np.testing.assert_allclose(label.forces.sum(axis=0), 0.0, atol=5e-3)

    def test_labels_come_in_order_and_repeat(self, labeller: Labeller, frame: Structure, label: LabelResult) -> None:
        larger = frame.copy()
        larger.scale_lattice(frame.volume * 1.1)
        reported: list[int] = []
        results = labeller.label([larger, frame], progress=reported.append)
        assert sum(reported) == 2
        assert results[0].energy != results[1].energy
        assert results[1].energy == pytest.approx(label.energy, abs=1e-6)
        np.testing.assert_allclose(results[1].forces, label.forces, atol=1e-5)

    def test_frames_are_left_as_they_were(self, labeller: Labeller, frame: Structure) -> None:
        before = frame.as_dict()
        labeller.label([frame])
        assert frame.as_dict() == before

    def test_energy_is_per_atom(self, labeller: Labeller, frame: Structure, label: LabelResult) -> None:
        (double,) = labeller.label([frame.make_supercell([2, 1, 1], in_place=False)])
        assert double.energy == pytest.approx(label.energy, abs=2e-3)

    def test_forces_are_minus_the_gradient_of_the_energy(self, labeller: Labeller, frame: Structure, label: LabelResult) -> None:
        atom, axis = 1, 2
        shifted = []
        for sign in (1.0, -1.0):
            moved = frame.copy()
            moved.translate_sites([atom], sign * self.displacement * np.eye(3)[axis], frac_coords=False)
            shifted.append(moved)
        up, down = (result.energy for result in labeller.label(shifted))
        force = -(up - down) * len(frame) / (2 * self.displacement)
        assert abs(force) > 10 * self.force_tolerance, "the frame has no force to compare"
        assert label.forces[atom, axis] == pytest.approx(force, abs=self.force_tolerance)

    def test_stress_is_the_strain_derivative_over_the_volume(
        self, labeller: Labeller, frame: Structure, label: LabelResult
    ) -> None:
        for axis in (1, 2):
            strained = []
            for sign in (1.0, -1.0):
                deformation = np.eye(3)
                deformation[axis, axis] += sign * self.strain
                strained.append(Structure(frame.lattice.matrix @ deformation, frame.species, frame.frac_coords))
            up, down = (result.energy for result in labeller.label(strained))
            stress = (up - down) * len(frame) / (2 * self.strain * frame.volume)
            assert abs(stress) > 5 * self.stress_tolerance, "the frame has no stress to compare"
            assert label.stress[axis, axis] == pytest.approx(stress, abs=self.stress_tolerance)

    def test_a_frame_that_goes_wrong_is_a_result_and_spoils_no_other(
        self, labeller: Labeller, frame: Structure, overlapping: Structure, label: LabelResult
    ) -> None:
        bad, good = labeller.label([overlapping, frame])
        assert bad.status in {"rejected", "failed"}
        assert bad.reason
        assert " " not in bad.reason
        assert bad.energy is None
        assert bad.forces is None
        assert bad.stress is None
        assert good.status == "admitted"
        assert good.energy == pytest.approx(label.energy, abs=1e-6)
