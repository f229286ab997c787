"""MatterGen for real, with a small model trained here; ``make test-models`` makes its environment and runs these tests."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from generator_contract import LI_P_S, same_sample
from small_mattergen import strained_examples as examples

from coevo.configs.tree import GeneratorConfig
from coevo.errors import CheckpointError, ConfigError, ModelError
from coevo.models.contracts import Conditions, Example, Generator
from coevo.models.external.checking import examine_environment
from coevo.models.external.mattergen import MATTERGEN, MatterGenGenerator

SMALL = {"weights": "small", "hidden": 32, "blocks": 1, "steps": 20, "epochs": 2, "learning_rate": 2e-3, "batch_size": 4}


def settings(**changes) -> GeneratorConfig:
    return GeneratorConfig(family="mattergen", max_atoms=16, mattergen={**SMALL, **changes})


class TestWithoutItsEnvironment:
    def test_folders_and_names(self, tmp_path):
        named = MatterGenGenerator.initial(GeneratorConfig())
        named.save(tmp_path / "named")
        assert MatterGenGenerator.load(tmp_path / "named").document == {"weights": "chemical_system_energy_above_hull"}
        with pytest.raises(ConfigError, match="is no model directory of MatterGen"):
            MatterGenGenerator.initial(settings(weights=f"{tmp_path}/"))
        (tmp_path / "folder" / "checkpoints").mkdir(parents=True)
        (tmp_path / "folder" / "config.yaml").write_text("a: 1\n")
        (tmp_path / "folder" / "checkpoints" / "last.ckpt").write_bytes(b"weights")
        folder = MatterGenGenerator.initial(settings(weights=str(tmp_path / "folder")))
        folder.save(tmp_path / "packed")
        assert str(tmp_path).encode() not in (tmp_path / "packed").read_bytes(), "no path of this machine"
        loaded = MatterGenGenerator.load(tmp_path / "packed", GeneratorConfig())
        assert (loaded._model.path / "checkpoints" / "last.ckpt").read_bytes() == b"weights"
        assert loaded.options()["weights"] == "folder"

    def test_checkpoints_of_other_families_are_refused(self, tmp_path):
        MatterGenGenerator.initial(settings()).save(tmp_path / "it")
        (tmp_path / "other").write_bytes((tmp_path / "it").read_bytes().replace(b'"mattergen"', b'"nattergen"'))
        with pytest.raises(CheckpointError, match="is of family 'nattergen', expected 'mattergen'"):
            MatterGenGenerator.load(tmp_path / "other")

    def test_runner_and_adapter_agree_on_the_options(self):
        text = "".join(path.read_text() for path in (MATTERGEN.runner, *MATTERGEN.companions))
        for key in GeneratorConfig().mattergen.model_dump():
            assert f'["{key}"]' in text, key


@pytest.mark.models
class TestMatterGen:
    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def environment(cls, tmp_path_factory):
        assert os.environ.get("COEVO_ENVIRONMENTS"), "run `make test-models`"
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("COEVO_SCRATCH", str(tmp_path_factory.mktemp("scratch")))
            yield

    @pytest.fixture(scope="class")
    @classmethod
    def fitted(cls) -> MatterGenGenerator:
        generator, report = MatterGenGenerator.initial(settings()).fit(examples(), 1)
        assert report["fitted"]
        assert report["loss_after"] < report["loss_before"]
        return generator

    def test_its_environment_is_whole(self):
        found = examine_environment(MATTERGEN)
        assert found.broken == []
        assert found.versions["mattergen"] == "1.0.3"

    def test_it_is_a_generator(self, fitted):
        assert isinstance(fitted, Generator)
        assert fitted.sample(0, Conditions(LI_P_S), 0).candidates == []

    def test_the_same_seed_gives_the_same_sample_and_everything_drawn_is_accounted_for(self, fitted):
        conditions = Conditions(LI_P_S, max_atoms=8, chemical_systems={"Li-P-S": 0.5, "Li-S": 0.5})
        first, again = fitted.sample(4, conditions, 7), fitted.sample(4, conditions, 7)
        assert same_sample(first, again)
        assert 4 <= len(first.candidates) + sum(first.rejected.values()) <= 6
        for candidate in first.candidates:
            assert {e.symbol for e in candidate.structure.composition} in ({"Li", "P", "S"}, {"Li", "S"})
            assert candidate.origin["operator"] == "mattergen"

    def test_impossible_conditions_are_counted(self, fitted):
        sample = fitted.sample(3, Conditions(LI_P_S, max_atoms=4, compositions=("Li7P3S11",)), 0)
        assert (sample.candidates, sample.rejected) == ([], {"no_composition": 3})

    def test_a_fit_is_the_same_twice_and_moves_to_another_path(self, fitted, tmp_path):
        again, _ = MatterGenGenerator.initial(settings()).fit(examples()[::-1], 1)
        fitted.save(tmp_path / "a")
        again.save(tmp_path / "b")
        loaded = MatterGenGenerator.load(tmp_path / "a", settings(), trusted=True)
        loaded.save(tmp_path / "c")
        assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes() == (tmp_path / "c").read_bytes()

    def test_three_generations_continue_one_another_at_one_scaler(self, fitted, tmp_path):
        """Validation examples stay so, and each fit begins where its parent ended."""
        generator, last = fitted, None
        for generation in range(3):
            fitted_again, report = generator.fit(examples(), generation)
            assert fitted_again.document["scaler"] == fitted.document["scaler"]
            assert last is None or report["loss_before"] == last
            assert report["loss_after"] <= report["loss_before"]
            last = report["loss_after"]
            fitted_again.save(tmp_path / f"{generation}")
            generator = MatterGenGenerator.load(tmp_path / f"{generation}", settings(), trusted=True)
        assert json.loads(json.dumps(report)) == report
        assert len(report["history"]) == report["epochs_run"] + 1

    def test_more_data_keep_the_scaler(self, fitted):
        shifted = [Example(e.id, e.structure, e.energy_above_hull + 0.03) for e in examples()]
        again, report = fitted.fit(shifted, 0)
        assert again.document["scaler"] == fitted.document["scaler"] == report["scaler"]
        assert again.document["training_set"] != fitted.document["training_set"]

    def test_a_model_directory_is_read_from_anywhere(self, fitted, tmp_path):
        fitted.save(tmp_path / "checkpoint")
        folder = MatterGenGenerator.initial(settings(weights=str(fitted._model.path)))
        conditions = Conditions(LI_P_S, max_atoms=8)
        # the number of atoms is drawn from what the model was trained on, which the folder does not say
        folder.document["atoms"] = fitted.document["atoms"]
        assert same_sample(folder.sample(2, conditions, 3), fitted.sample(2, conditions, 3))

    def test_weights_that_are_not_here_are_an_error_that_says_what_to_do(self, tmp_path, monkeypatch):
        monkeypatch.setenv("HF_HOME", str(tmp_path))
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        published = MatterGenGenerator.initial(settings(weights="chemical_system_energy_above_hull"))
        with pytest.raises(ModelError, match=r"no_weights.*not in the cache of huggingface_hub \(HF_HOME\)"):
            published.sample(1, Conditions(LI_P_S), 0)

    def test_a_damaged_checkpoint_is_one_error(self, fitted, tmp_path):
        config = Path(fitted._model.path, "config.yaml").read_text()
        (tmp_path / "checkpoints").mkdir()
        (tmp_path / "config.yaml").write_text(config)
        (tmp_path / "checkpoints" / "last.ckpt").write_bytes(b"no weights")
        with pytest.raises(ModelError, match="sample: the runner failed"):
            MatterGenGenerator.initial(settings(weights=str(tmp_path))).sample(1, Conditions(LI_P_S), 0)
