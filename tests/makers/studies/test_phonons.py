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


def made_record(name: str, energy: float, structure: Structure, highest: float = 1.12, **more: Any) -> dict[str, Any]:
    """Nine volumes of a crystal of 20 Å³/atom and 0.25 eV/Å³, whose vibrations are worth nothing at 0 K."""
    volumes = 20.0 * np.linspace(0.96, highest, 9)
    nothing = [[0.0, 0.0]] * 9
    return {
        "id": name,
        "status": "harmonic",
        "reason": "",
        "dynamically_stable": True,
        "path": [{"lowest": 0.0, "energy": energy, "space_group": 225}],
        "given_energy": energy,
        "energy": energy,
        "structure": structure_document(structure),
        "volumes": volumes.tolist(),
        "energies": (energy + 0.125 / 20.0 * (volumes - 20.0) ** 2).tolist(),
        "temperatures": [0.0, 500.0],
        # at 500 K vibrations pull outwards, by 0.02 eV/Å³: the least is at 21.6 Å³
        "free_energies": [[0.0, -0.02 * (volume - 20.0)] for volume in volumes],
        "entropies": nothing,
        "heat_capacities": nothing,
        "noise": nothing,
        "left_out": [],
    } | more


def made_phase(name: str, formula: str, kind: str = "entry") -> dict[str, Any]:
    return {"id": name, "formula": formula, "kind": kind, "name": None, "e_hull": 0.0, "energy_per_atom": None}


LITHIUM = Structure.from_spacegroup("Im-3m", Lattice.cubic(3.45), ["Li"], [[0, 0, 0]])
SULFIDE = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.7), ["Li", "S"], [[0.25] * 3, [0, 0, 0]])
SALT = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.2), ["Li", "S"], [[0.5] * 3, [0, 0, 0]])
SPHALERITE = Structure.from_spacegroup("F-43m", Lattice.cubic(5.7), ["Li", "S"], [[0.25] * 3, [0, 0, 0]])


def test_a_phase_whose_g_is_refused_neither_leaves_the_hull_nor_lets_others_join() -> None:
    """LiS is on the hull at rest and refused at 500 K; Li2S, 0.1 eV/atom above it at rest, does not become stable by that."""
    phases = [made_phase("li", "Li"), made_phase("li2s", "Li2S"), made_phase("lis", "LiS"), made_phase("s", "S")]
    records = {
        "li": made_record("li", 0.0, LITHIUM),
        "s": made_record("s", 0.0, LITHIUM),
        "lis": made_record("lis", -1.2, SALT, highest=1.04),
        "li2s": made_record("li2s", -0.7, SULFIDE),
    }
    maker = StabilityResultMaker(phases=phases, elements=["Li", "S"], temperatures=[0.0, 500.0], pressures=[0.0])
    results = maker.results_of(records)
    assert results["static"]["stable"] == ["li", "lis", "s"]
    cold, hot = results["hulls"]
    assert (cold["joined"], cold["left"], cold["without"]) == ([], [], [])
    assert cold["above"] == pytest.approx({"li": 0.0, "li2s": 0.1, "lis": 0.0, "s": 0.0}, abs=1e-4), "as at rest: by hand"
    assert hot["without"] == ["lis"]
    assert hot["above"]["li2s"] == 0.0
    assert (hot["joined"], hot["left"]) == ([], [])
    lines = stability_summary({"results": results, "settings": SETTINGS.model_dump(mode="json"), "entries": {}})
    assert any("the hull is without LiS lis" in line for line in lines)


def test_a_phase_that_is_stable_at_rest_and_has_too_few_volumes_is_not_called_unstable() -> None:
    left_out = [{"volume": 21.0, "reason": "a mode at -0.50 THz"}]
    short = {name: made_record("li", 0.0, LITHIUM)[name][:4] for name in ("volumes", "energies", "free_energies", "entropies")}
    record = made_record("li", 0.0, LITHIUM, **short, left_out=left_out)
    record["noise"] = record["noise"][:4]
    maker = StabilityResultMaker(phases=[made_phase("li", "Li")], elements=["Li"], temperatures=[0.0, 500.0], pressures=[0.0])
    (row,) = maker.results_of({"li": record})["phases"]
    assert row["status"] == "outside_volumes"
    assert "a mode at -0.50 THz" in row["reason"]


def test_phases_that_came_to_one_crystal_are_named_and_not_compared() -> None:
    phases = [made_phase("a", "LiS"), made_phase("b", "LiS"), made_phase("known", "LiS", "reference"), made_phase("c", "LiS")]
    records = {
        "a": made_record("a", -1.2, SALT),
        "b": made_record("b", -1.2001, SALT * (2, 1, 1), status="followed"),
        "known": made_record("known", -1.19995, SALT),
        "c": made_record("c", -1.1, SPHALERITE),
    }
    how = {"temperatures": [0.0, 500.0], "pressures": [0.0, 1.0], "formula": "LiS"}
    results = StabilityResultMaker(phases=phases, elements=["Li", "S"], **how).results_of(records)
    assert [(each["id"], each["as"]) for each in results["same"]] == [("a", "known"), ("b", "known")]
    (polymorphs,) = results["polymorphs"]
    assert polymorphs["phases"] == ["known", "c"]
    document = {"results": results, "settings": SETTINGS.model_dump(mode="json"), "entries": {}}
    assert any("LiS a and LiS known are one crystal now" in line for line in stability_summary(document))
    title, columns, rows = stability_tables(document)[-1]
    assert title.startswith("lowest polymorphs of LiS")
    assert columns == ["T (K)", "0 GPa", "1 GPa"]
    assert rows == [[0.0, "LiS known", "LiS known"], [500.0, "LiS known", "LiS known"]]


def test_polymorphs_within_the_error_are_said_to_be() -> None:
    phases = [made_phase("a", "LiS"), made_phase("c", "LiS")]
    records = {"a": made_record("a", -1.2, SALT), "c": made_record("c", -1.1995, SPHALERITE)}
    rough = np.array([1, -2, 1, 0, 2, -1, -2, 2, -1]) * 1e-3
    records["c"]["free_energies"] = [[f, g] for f, (_, g) in zip(rough, records["c"]["free_energies"], strict=True)]
    how = {"temperatures": [0.0, 500.0], "pressures": [0.0], "formula": "LiS"}
    results = StabilityResultMaker(phases=phases, elements=["Li", "S"], **how).results_of(records)
    lines = stability_summary({"results": results, "settings": SETTINGS.model_dump(mode="json"), "entries": {}})
    assert any("within the error of the lowest are" in line and "at 1 temperature" in line for line in lines)
