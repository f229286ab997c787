"""Stiffness of the published CHGNet, and what is compared with which labels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from coevo.configs.references import load_references
from coevo.flows.seeding import reference_documents
from coevo.makers.labels.stiffness import simplest_compounds
from coevo.makers.signals.stiffness import ratios, stiffness_metrics
from coevo.models.contracts import Failure, Prediction
from coevo.models.registry import force_field_from


@pytest.fixture(scope="module")
def references() -> list[dict[str, Any]]:
    return reference_documents(load_references("li-p-s", ("Li", "P", "S")))


class Springs:
    """Atoms on springs to their places in the crystal, and an energy of the volume: numbers that are known."""

    family, format, energy_scale = "springs", "none", "mp2020"

    def __init__(self, references: list[dict[str, Any]], modulus: float, spring: float, failing: tuple[int, ...] = ()):
        (self.compound,) = simplest_compounds(references, 1)
        self.modulus, self.spring, self.failing = modulus, spring, failing

    def evaluate(self, structures: Any, *, workers: int = 1, progress: Any = None) -> list[Any]:
        cell = self.compound.frames.cell
        found: list[Any] = []
        for number, structure in enumerate(structures):
            moved = structure.frac_coords - cell.frac_coords
            forces = -self.spring * ((moved - np.round(moved)) @ structure.lattice.matrix)
            forces -= forces.mean(axis=0)  # springs to the others, as it were
            volume, least = structure.volume / 3, cell.volume / 3
            energy = -4.0 + self.modulus / 160.21766208 * least * 0.5 * np.log(volume / least) ** 2
            found.append(Failure("nan") if number in self.failing else Prediction(energy, forces, np.zeros((3, 3))))
        return found

    def labels(self, digest: str = "d", left_out: int | None = None) -> list[dict[str, Any]]:
        rows = [
            {
                "frame": record["id"],
                "status": "admitted",
                "settings_digest": digest,
                "code": "espresso",
                "functional": "PBE",
                "energy_per_atom": p.energy - 700.0,  # another zero of energy is no other stiffness
                "forces": p.forces.tolist(),
            }
            for record, p in zip(self.compound.records, self.evaluate(self.compound.frames.all), strict=True)
        ]
        return [row for number, row in enumerate(rows) if number != left_out]


def measured(references: list[dict[str, Any]], labels: list[dict[str, Any]], model: Any) -> dict[str, Any]:
    return stiffness_metrics(references, labels, model, 1, 1)


def test_published_chgnet_is_as_soft_as_is_known(references: list[dict[str, Any]]) -> None:
    """Li2S: 29.5 GPa and T2g at 266 to 280 cm⁻¹ by several methods; pw.x has 40.8 GPa and 373 cm⁻¹."""
    found = measured(references, [], force_field_from("chgnet", weights="0.3.0"))
    (compound,) = found["compounds"]
    assert (compound["formula"], compound["atoms"], compound["labels"]) == ("Li2S", 3, None)
    assert compound["model"]["bulk_modulus_gpa"] == pytest.approx(29.5, abs=1.5)
    assert compound["model"]["volume_per_atom"] == pytest.approx(5.70**3 / 12, rel=0.01)
    frequencies = compound["model"]["frequencies_cm1"]
    assert len(frequencies) == 6
    assert any(256 <= value <= 290 for value in frequencies)
    for triple in (frequencies[:3], frequencies[3:]):  # T1u and T2g
        assert max(triple) - min(triple) < 1.0
    assert (found["bulk_modulus_ratio"], found["frequency_ratio"]) == (None, None)


def test_the_model_is_compared_with_labels_of_the_same_frames(references: list[dict[str, Any]]) -> None:
    soft, hard = Springs(references, 30.0, 4.0), Springs(references, 40.0, 9.0)
    found = measured(references, hard.labels(), soft)
    (compound,) = found["compounds"]
    assert compound["model"]["bulk_modulus_gpa"] == pytest.approx(30.0, rel=0.01)
    assert compound["labels"]["bulk_modulus_gpa"] == pytest.approx(40.0, rel=0.01)
    assert (compound["labels"]["code"], compound["labels"]["functional"]) == ("espresso", "PBE")
    assert found["bulk_modulus_ratio"] == pytest.approx(0.75, rel=1e-3)
    assert found["frequency_ratio"] == pytest.approx(2 / 3, rel=1e-3)


def test_labels_of_most_frames_are_compared_and_none_where_a_frame_has_none(references: list[dict[str, Any]]) -> None:
    soft, hard = Springs(references, 30.0, 4.0), Springs(references, 40.0, 9.0)
    both = [*hard.labels("a", left_out=5), *soft.labels("b")]
    assert measured(references, both, soft)["compounds"][0]["labels"]["settings_digest"] == "b"
    assert measured(references, hard.labels("a", left_out=5), soft)["compounds"][0]["labels"] is None
    rejected = [{**row, "status": "rejected", "energy_per_atom": None, "forces": None} for row in hard.labels()]
    assert measured(references, rejected, soft)["compounds"][0]["labels"] is None


def test_what_a_model_cannot_evaluate_is_told(references: list[dict[str, Any]]) -> None:
    (compound,) = measured(references, [], Springs(references, 30.0, 4.0, failing=(2, 6)))["compounds"]
    numbers = compound["model"]
    assert (numbers["bulk_modulus_gpa"], numbers["volume_per_atom"], numbers["frequencies_cm1"]) == (None, None, None)
    assert len(numbers["notes"]) == 2


def test_no_compound_is_no_number(references: list[dict[str, Any]]) -> None:
    elements = [row for row in references if len(row["elements"]) == 1]
    assert measured(elements, [], None) == {"compounds": [], "bulk_modulus_ratio": None, "frequency_ratio": None}


def test_a_ratio_is_of_what_both_have() -> None:
    one = {"bulk_modulus_gpa": 30.0, "frequencies_cm1": [100.0, 200.0]}
    other = {"bulk_modulus_gpa": 40.0, "frequencies_cm1": [200.0, 400.0]}
    none = {"bulk_modulus_gpa": None, "frequencies_cm1": None}
    rows = [{"model": one, "labels": other}, {"model": none, "labels": other}, {"model": one, "labels": None}]
    assert ratios(rows) == {"bulk_modulus_ratio": 0.75, "frequency_ratio": pytest.approx(0.5)}
