"""A model file of the user's own as the weights of a force field: read once, kept with its checkpoint, trusted no further."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import pytest
from fake_family import FAMILY, FakeForceField, fake
from force_field_contract import rattled
from pymatgen.core import Lattice, Structure
from test_worker_contract import TestWorkerContract as Contract

from coevo.configs.loading import parse_config
from coevo.configs.tree import NodeConfig
from coevo.errors import CheckpointError, ConfigError, ModelError
from coevo.families.weights_files import WeightsFile, weights_file
from coevo.flows.seeding import check_own_file
from coevo.models.contracts import FitSettings
from coevo.models.external.archive import pack
from coevo.models.registry import force_field_from

if TYPE_CHECKING:
    from pathlib import Path

    from coevo.models.contracts import ForceField

__all__ = ["fake"]

COPPER_GOLD = [29, 79]


def model_file(directory: Path, **changes: Any) -> Path:
    """A model of the fake family with twice the energies, that knows copper and gold."""
    path = directory / "own.model"
    path.write_text(json.dumps({"slope": 2.0, "constants": {}, "elements": COPPER_GOLD, **changes}))
    return path


def opened(path: Path) -> ForceField:
    return force_field_from("fake", f"emt:{path}")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("pbe:/data/a b.model", WeightsFile("pbe", "/data/a b.model")),
        ("omat24:~/x.model#matpes_r2scan", WeightsFile("omat24", "~/x.model", "matpes_r2scan")),
        ("pbe:x.model", None),
        ("medium-mpa-0", None),
        ("/data/x.model", None),
        ("pbe:/data/x.model#", None),
        ("PBE:/x", None),
    ],
)
def test_how_a_file_is_named(text, expected):
    assert weights_file(text) == expected


@pytest.mark.usefixtures("fake")
class TestOwnFiles:
    def test_is_the_model_of_the_file(self, tmp_path):
        crystals = [rattled(Contract.small(), 1), Structure(Lattice.cubic(3.8), ["Ni"], [[0, 0, 0]])]
        own = opened(model_file(tmp_path))
        published = force_field_from("fake").evaluate(crystals[:1])
        known, unknown = own.evaluate(crystals)
        assert known.energy == pytest.approx(2.0 * published[0].energy)
        assert unknown.reason == "unsupported_element"  # which the family knows and this model does not
        assert own.document == {
            "weights": "file",
            "energy_scale": "emt",
            "functional": "EMT",
            "elements": COPPER_GOLD,
            "sha256": hashlib.sha256((tmp_path / "own.model").read_bytes()).hexdigest(),
        }

    def test_its_checkpoint_needs_neither_the_file_nor_trust(self, tmp_path):
        own, crystal = opened(model_file(tmp_path)), [rattled(Contract.small(), 1)]
        own.save(tmp_path / "checkpoint")
        (tmp_path / "own.model").unlink()
        loaded = force_field_from("fake", checkpoint=tmp_path / "checkpoint")
        assert (loaded.digest, set(loaded.atomic_numbers)) == (own.digest, set(COPPER_GOLD))
        assert loaded.evaluate(crystal)[0].energy == own.evaluate(crystal)[0].energy

    def test_a_fit_says_what_it_began_with(self, tmp_path):
        own = opened(model_file(tmp_path, elements=[29, 46, 79]))
        training, validation = Contract.shifted_frames(own, range(8)), Contract.shifted_frames(own, range(100, 104))
        fitted, report = own.fit(training, validation, FitSettings(epochs=2), seed=1)
        assert report["best_epoch"] > 0
        kept = ("weights", "energy_scale", "functional", "elements", "sha256")
        assert {name: fitted.document[name] for name in kept} == {name: own.document[name] for name in kept}
        assert fitted.document["parent"] == own.digest
        assert set(fitted.atomic_numbers) == {29, 46, 79}

    def test_bad_files(self, tmp_path):
        with pytest.raises(ConfigError, match=r"weights emt:.*/none.model: there is no file .*/none.model"):
            opened(tmp_path / "none.model")
        (tmp_path / "text").write_text("no model")
        with pytest.raises(ModelError, match="fake: read: the runner failed"):
            opened(tmp_path / "text")
        for elements in ([], [0], ["Cu"], None):
            with pytest.raises(ModelError, match="said nothing of the elements"):
                opened(model_file(tmp_path, elements=elements))

    def test_bad_names(self, tmp_path):
        for name in (f"pbe:{tmp_path}/own.model", "emt:own.model", "/own.model"):
            with pytest.raises(ConfigError, match=r"allowed: .*worsens, boasts, or emt:/PATH/OF/A/FILE"):
                force_field_from("fake", name)

    def test_a_checkpoint_that_says_file_and_holds_none(self, tmp_path):
        document = {"weights": "file", "energy_scale": "emt", "functional": "EMT"}
        pack(tmp_path / "empty", "fake", document, {})
        with pytest.raises(CheckpointError, match="holds no model with a list of elements"):
            FakeForceField.load(tmp_path / "empty")
        pack(tmp_path / "scale", "fake", {**document, "energy_scale": "pbe"}, {})
        with pytest.raises(CheckpointError, match="fake has no weights 'file' here"):
            FakeForceField.load(tmp_path / "scale")

    def test_a_node_of_elements_that_it_does_not_know(self, tmp_path):
        model_file(tmp_path)
        chosen = {"family": "fake", "weights": f"emt:{tmp_path}/own.model"}
        for elements, said in ((["Au", "Cu"], ""), (["Au", "Cu", "Ni"], "does not know Ni of node.elements")):
            node = {"name": "a", "elements": elements, "references": "x", "energy_scale": "emt"}
            config = NodeConfig.model_validate({"node": node, "screening": {"force_field": chosen}})
            if not said:
                check_own_file(config)
                continue
            with pytest.raises(ConfigError, match=said):
                check_own_file(config)

    def test_in_a_configuration(self):
        node = "node: {name: a, elements: [Au, Cu], references: x, energy_scale: emt}\n"
        text = node + "screening:\n  force_field: {family: fake, %s}\n"
        config = parse_config(text % "weights: emt:/data/own.model", "a.yaml")
        assert config.screening.force_field.energy_scale == "emt"
        with pytest.raises(ConfigError, match=r"got 'pbe:/data/own.model', allowed: sound, .*, or emt:/PATH/OF/A/FILE"):
            parse_config(text % "weights: pbe:/data/own.model", "a.yaml")
        teacher = "labelling:\n  teacher: {family: fake, weights: emt:/data/own.model}\n"
        with pytest.raises(ConfigError, match="a file may change under its name, allowed: published weights of fake, sound"):
            parse_config(text % "weights: sound" + teacher, "a.yaml")


def test_families_without_files_of_users():
    assert FAMILY.weights_named("emt:/x") is not None
    with pytest.raises(ConfigError, match=r"got 'mp2020:/x.model', allowed: 0.2.0, 0.3.0, r2scan$"):
        parse_config(
            "node: {name: a, elements: [Li], references: x}\nscreening: {force_field: {weights: 'mp2020:/x.model'}}\n", "a.yaml"
        )
