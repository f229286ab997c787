"""The resolution of Li2S by a pair potential, against QUESTS's descriptors; CHGNet's is a long test."""

from __future__ import annotations

import json
from itertools import combinations

import numpy as np
import pytest
from pymatgen.io.ase import AseAtomsAdaptor
from quests.descriptor import get_descriptors_multicomponent

from coevo.analysis.cell_reduction import Crystal
from coevo.analysis.environments import resolution
from coevo.analysis.neighbour_lists import neighbours
from coevo.configs.references import load_references
from coevo.configs.tree import NodeSection
from coevo.makers.signals.environment_calibration import CALIBRATION, calibrated, known_calibration
from coevo.models.contracts import Prediction
from coevo.models.dynamics import snapshots
from coevo.models.registry import force_field_from
from coevo.node_store.canonical import canonical_json, structure_document
from coevo.node_store.seeds import seed_for
from coevo.studies.states.environment_coverage import environment_words

NODE = NodeSection(name="salts", elements=("Li", "S"), references="li-p-s", seed=5)
SHA256 = "ab" * 32


class Morse:
    """Morse's potential between all atoms: whatever it says of Li2S, the crystal stands still at 0 K, by symmetry."""

    def __init__(self, depth: float = 0.3, length: float = 2.9, decay: float = 1.0, cutoff: float = 5.0):
        self.depth, self.length, self.decay, self.cutoff = depth, length, decay, cutoff

    def evaluate(self, structures, **_):
        return [self._one(Crystal.from_structure(structure)) for structure in structures]

    def _one(self, crystal):
        first, second, image, r = neighbours(crystal, self.cutoff)
        places = crystal.fractional @ crystal.cell
        towards = (places[second] + image @ crystal.cell - places[first]) / r[:, None]
        fading = np.exp(-self.decay * (r - self.length))
        energy = 0.5 * self.depth * (fading * (fading - 2.0)).sum()
        forces = np.zeros_like(places)
        slope = 2.0 * self.depth * self.decay * fading * (1.0 - fading)
        np.add.at(forces, first, slope[:, None] * towards)
        return Prediction(float(energy) / len(places), forces, np.zeros((3, 3)))


@pytest.fixture(scope="module")
def phases():
    return {phase.name: phase.structure for phase in load_references("li-p-s", ("Li", "P", "S"))}


def record(structure, identifier="a"):
    return {"id": identifier, "structure": structure_document(structure)}


@pytest.fixture(scope="module")
def found(phases):
    return calibrated([record(phases["Li2S"])], NODE, Morse(), SHA256)


def test_delta_is_the_median_of_distances_of_quests_descriptors(phases, found):
    cell = resolution.doubled(phases["Li2S"])
    assert len(cell) == 24
    seeds = [seed_for(NODE, 0, "calibrate-environments", 0)]
    [geometries] = snapshots(Morse(), [cell], temperature=300.0, timestep=2.0, keep=[50, 150, 250], seeds=seeds)
    atoms = [AseAtomsAdaptor.get_atoms(geometry, msonable=False) for geometry in geometries]
    X = get_descriptors_multicomponent(atoms, k=32, cutoff=5.0, species=["Li", "S"]).reshape(3, 24, -1)
    distances = np.array([np.linalg.norm(X[i] - X[j], axis=1) for i, j in combinations(range(3), 2)])
    assert found["delta"] == pytest.approx(np.median(distances), abs=1e-9)
    assert found["delta90"] == pytest.approx(np.quantile(distances, 0.9), abs=1e-9)
    sulfur = np.array([site.specie.symbol == "S" for site in cell])
    assert found["per_species"]["S"]["delta"] == pytest.approx(np.median(distances[:, sulfur]), abs=1e-9)
    assert 0.01 < found["delta"] < found["delta90"] < 0.5


def test_the_record_says_what_made_it(found):
    [crystal] = found["crystals"]
    assert (crystal["formula"], crystal["atoms"], crystal["delta"]) == ("Li2S", 24, found["delta"])
    assert (found["temperature"], found["timestep"], found["apart"], found["snapshots"]) == (300.0, 2.0, 200.0, 3)
    assert (found["force_field"], found["elements"], found["not_held"]) == (SHA256, ["Li", "S"], [])
    assert found["quests"]["bandwidth"] == 0.015
    assert found["told_apart"]["classes"] == 1


def test_what_explodes_is_left_out_and_named(phases):
    lost = calibrated([record(phases["Li2S"])], NODE, Morse(depth=500.0), SHA256)
    assert (lost["delta"], lost["told_apart"], lost["crystals"]) == (None, None, [])
    assert lost["left_out"][0]["formula"] == "Li2S"
    assert lost["reason"].startswith("no reference could be shaken: Li2S ")
    large = calibrated([record(phases["P4S3"] * (2, 1, 1))], NODE, Morse(), SHA256)
    assert large["reason"] == "no reference could be shaken: no reference has at most 64 atoms in a cell that is wide enough"
    assert large["not_held"] == ["Li", "S"]


def test_only_what_is_known_of_a_stranger_is_handed_on(found):
    elements = ("Li", "S")
    told = {**found["told_apart"], "@class": "system"}
    assert known_calibration({CALIBRATION: {**found, "@module": "os", "merged": [], "told_apart": told}}, elements) == found
    assert known_calibration(json.loads(canonical_json({CALIBRATION: found})), elements) == found
    assert known_calibration({}, elements) is None
    assert known_calibration({CALIBRATION: {key: found[key] for key in ("delta", "delta90")}}, elements) is None
    assert known_calibration({CALIBRATION: found}, ("Li", "P", "S")) is None, "another descriptor"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("delta", float("nan")),
        ("delta", "0.1"),
        ("delta", 0.0),
        ("delta90", -1.0),
        ("delta90", 1e6),
        ("delta90", 1.01),
        ("delta90", 0.001),
        ("delta90", None),
        ("force_field", None),
        ("told_apart", None),
        ("told_apart", ["mixed"]),
        ("told_apart", {"classes": 1, "pairs": 1, "left_out": 0, "largest": None, "mixed": [{"motifs": 3}]}),
        ("crystals", "Li2S"),
        ("crystals", [{"formula": "Li2S"}]),
        ("left_out", None),
        ("left_out", [7]),
        ("quests", {"bandwidth": "wide", "of_volume": 0.02}),
        ("not_held", 5),
        ("per_species", {"Li": 0.06}),
    ],
)
def test_what_a_stranger_calls_a_calibration_and_is_none_is_made_again(found, name, value):
    wrong = {CALIBRATION: {**found, name: value}}
    assert known_calibration(wrong, ("Li", "S")) is None
    assert environment_words(wrong).startswith("not calibrated: ")
    assert known_calibration({CALIBRATION: {key: v for key, v in found.items() if key != name}}, ("Li", "S")) is None


def test_a_state_without_references_to_shake_says_so(phases):
    large = calibrated([record(phases["P4S3"] * (2, 1, 1))], NODE, Morse(), SHA256)
    assert known_calibration({CALIBRATION: large}, ("Li", "S")) is None
    assert environment_words({CALIBRATION: large}).startswith("not calibrated: no reference could be shaken: ")


@pytest.mark.long
def test_lithium_sulfide_by_chgnet_wanders_by_six_or_seven_hundredths(phases):
    found = calibrated([record(phases["Li2S"])], NODE, force_field_from("chgnet"), SHA256)
    # other seeds and longer dynamics gave 0.061 to 0.073, and 0.096 to 0.11
    assert found["delta"] == pytest.approx(0.067, abs=0.01)
    assert found["delta90"] == pytest.approx(0.104, abs=0.015)
