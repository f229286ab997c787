"""Phonons of phases by a force field whose crystals are known: argon, which stays face-centred and not simple cubic."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ase.calculators.lj import LennardJones
from pymatgen.core import Lattice, Structure

from coevo.analysis.phonons.quasi_harmonic import GPA
from coevo.configs.studies.phonons import PhononSettings, PhononStudy
from coevo.makers.studies.free_energies import FreeEnergyMaker, without_gaps
from coevo.makers.studies.phonons import phonons_of_phases
from coevo.makers.studies.stability import StabilityResultMaker, entries_of
from coevo.models.ase_force_field import AsePredictor
from coevo.models.relaxing.force_field import BatchForceField
from coevo.node_store.canonical import structure_document
from coevo.studies.stability.words import stability_summary, stability_tables


class Argon(BatchForceField):
    """Lennard and Jones' potential of argon, smooth at its cutoff."""

    family = "argon"

    def __init__(self) -> None:
        self.predictor_ = AsePredictor(LennardJones(sigma=3.4, epsilon=0.0104, rc=6.5, smooth=True), 6.5)
        self.asked: list[int] = []

    @property
    def predictor(self) -> AsePredictor:
        return self.predictor_

    def recipe(self) -> Any:
        return None

    def evaluate(self, structures: Any, **how: Any) -> Any:
        self.asked.append(len(structures))
        return super().evaluate(structures, **how)


SETTINGS = PhononSettings(length=7.0, follow=2, amplitudes=(0.2, 0.4), fmax=1e-3)
CRYSTALS = {
    "face-centred": Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.2), ["Ar"], [[0, 0, 0]]),
    "simple cubic": Structure(Lattice.cubic(3.75), ["Ar"], [[0, 0, 0]]),
    "two at one place": Structure(Lattice.cubic(3.75), ["Ar", "Ar"], [[0, 0, 0], [1e-3, 0, 0]]),
}
TEMPERATURES = [0.0, 20.0, 40.0]


def given(*names: str) -> list[dict[str, Any]]:
    return [{"id": name, "structure": structure_document(CRYSTALS[name])} for name in names]


@pytest.fixture(scope="module")
def records() -> dict[str, Any]:
    force_field = Argon()
    found = phonons_of_phases(force_field, given(*CRYSTALS), SETTINGS, 1)
    maker = FreeEnergyMaker(settings=SETTINGS, temperatures=TEMPERATURES, pressure=0.3, volumes=5, workers=1)
    maker.add_free_energies(force_field, [each for each in found if each["status"] in ("harmonic", "followed")])
    return {each["id"]: each for each in found}


def test_phases_without_unstable_modes_are_harmonic_and_others_are_followed(records: dict[str, Any]) -> None:
    stable, followed = records["face-centred"], records["simple cubic"]
    assert (stable["status"], stable["dynamically_stable"], len(stable["path"])) == ("harmonic", True, 1)
    assert stable["path"][0]["space_group"] == 225
    assert followed["status"] == "followed"
    assert followed["dynamically_stable"] is False, "the phase itself is not stable, whatever it comes down to"
    assert followed["path"][0]["lowest"] < -0.3 <= followed["path"][-1]["lowest"]
    energies = [each["energy"] for each in followed["path"]]
    assert energies == sorted(energies, reverse=True)
    assert followed["energy"] == energies[-1] >= stable["energy"] - 1e-3


def test_what_cannot_be_relaxed_has_failed_with_its_reason(records: dict[str, Any]) -> None:
    failed = records["two at one place"]
    assert failed["status"] == "failed"
    assert failed["reason"]
    assert failed["dynamically_stable"] is None
    assert set(entries_of(list(records.values()))) == {"face-centred", "simple cubic"}


def test_modes_that_are_not_followed_leave_a_phase_unstable() -> None:
    force_field = Argon()
    settings = PhononStudy(length=7.0, fmax=1e-3)
    stable, unstable = phonons_of_phases(force_field, given("face-centred", "simple cubic"), settings, 1)
    assert (stable["status"], unstable["status"]) == ("harmonic", "unstable")
    assert unstable["reason"].startswith("a mode at -")
    assert force_field.asked == [2, 2 * 2], "one call for both as they are, and one for the displaced supercells of both"


def test_a_cell_that_is_too_large_to_follow_is_unstable() -> None:
    (found,) = phonons_of_phases(Argon(), given("simple cubic"), SETTINGS.model_copy(update={"max_atoms": 1}), 1)
    assert found["status"] == "unstable"
    assert "more than 1" in found["reason"]


def test_the_result_names_who_is_out_and_has_a_band(records: dict[str, Any]) -> None:
    phases = [
        {
            "id": name,
            "formula": "Ar",
            "kind": "entry",
            "name": None,
            "e_hull": 0.0,
            "energy_per_atom": records[name]["given_energy"],
        }
        for name in CRYSTALS
    ]
    maker = StabilityResultMaker(phases=phases, elements=["Ar"], temperatures=TEMPERATURES, pressures=[0.0, 0.3])
    results = maker.results_of(records)
    rows = {row["id"]: row for row in results["phases"]}
    argon = rows["face-centred"]
    assert argon["shift"] == 0.0
    at_rest = argon["gibbs"][0][0] - argon["energy"]
    assert at_rest == pytest.approx(0.0082, abs=0.0018), "zero-point energy of argon, 0.19 kcal/mol"
    assert argon["gibbs"][0] == sorted(argon["gibbs"][0], reverse=True)
    pressed = (argon["gibbs"][1][0] - argon["gibbs"][0][0]) / (0.3 / GPA)
    assert argon["volumes"][1][0] < pressed < argon["volumes"][0][0], "the mean of ∂G/∂p is a volume between both"
    hull = results["hulls"][0]
    assert hull["temperature"] == 0.0
    assert hull["above"]["face-centred"] == 0.0 or hull["above"]["simple cubic"] == 0.0
    assert "two at one place" in hull["without"]
    document = {"results": results, "settings": SETTINGS.model_dump(mode="json"), "entries": entries_of(list(records.values()))}
    lines = stability_summary(document)
    assert any("two at o takes no part: failed" in line for line in lines)
    titles = [title for title, _, _ in stability_tables(document)]
    assert titles[0] == "phases"
    assert any("0.3 GPa" in title for title in titles)
    for _, columns, table in stability_tables(document):
        assert {len(row) for row in table} <= {len(columns)}


def test_without_zero_point_energy_g_at_rest_is_the_relaxed_energy() -> None:
    force_field = Argon()
    (record,) = phonons_of_phases(force_field, given("face-centred"), SETTINGS, 1)
    maker = FreeEnergyMaker(settings=SETTINGS, temperatures=[0.0], volumes=5, zero_point=False, workers=1)
    maker.add_free_energies(force_field, [record])
    phases = [{"id": "face-centred", "formula": "Ar", "kind": "entry", "name": None, "e_hull": 0.0, "energy_per_atom": None}]
    maker_of_results = StabilityResultMaker(phases=phases, elements=["Ar"], temperatures=[0.0], pressures=[0.0])
    (row,) = maker_of_results.results_of({"face-centred": record})["phases"]
    assert row["gibbs"][0][0] == pytest.approx(record["energy"], abs=2e-5)
    assert np.array(record["entropies"]).max() == 0.0


def test_nothing_is_interpolated_over_volumes_with_unstable_modes() -> None:
    rows = [{"volumes": float(volume), "energies": abs(volume - 20.0)} for volume in (14, 15, 18, 19, 20, 21, 22)]
    kept, beyond = without_gaps(rows, [16.0, 17.0, 23.0])
    assert [row["volumes"] for row in kept] == [18, 19, 20, 21, 22]
    assert [row["volumes"] for row in beyond] == [14, 15]
    assert without_gaps([], [1.0]) == ([], [])
