"""Chemeleon-DNG for real, with small networks trained here; ``make test-models`` makes its environment and runs these tests."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from generator_contract import LI_P_S, GeneratorContract, same_sample
from small_chemeleon import settings
from small_mattergen import strained_examples as examples

from coevo.errors import ModelError
from coevo.models.contracts import Conditions
from coevo.models.external.checking import examine_environment
from coevo.models.external.chemeleon import ChemeleonGenerator
from coevo.models.external.environment import environment_of


@pytest.fixture(scope="module", autouse=True)
def environment(tmp_path_factory):
    assert os.environ.get("COEVO_ENVIRONMENTS"), "run `make test-models`"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COEVO_SCRATCH", str(tmp_path_factory.mktemp("scratch")))
        yield


@pytest.mark.models
class TestChemeleonContract(GeneratorContract):
    generator_class = ChemeleonGenerator
    configuration = settings()
    n = 6
    cases = 4

    @classmethod
    def examples(cls):
        return examples()


@pytest.mark.models
class TestChemeleon:
    @pytest.fixture(scope="class")
    @classmethod
    def fitted(cls) -> ChemeleonGenerator:
        generator, report = ChemeleonGenerator.initial(settings()).fit(examples(), 1)
        assert report["fitted"]
        assert report["loss_after"] < report["loss_before"]
        return generator

    def test_its_environment_is_whole(self):
        found = examine_environment(ChemeleonGenerator.external)
        assert found.broken == []
        assert found.versions["chemeleon_dng"] == "0.1.5"

    def test_compositions_are_exact(self, fitted):
        conditions = Conditions(LI_P_S, max_atoms=9, compositions=("Li2S", "Li3P"))
        sample = fitted.sample(6, conditions, 2)
        assert len(sample.candidates) + sum(sample.rejected.values()) >= 6
        assert {c.structure.composition.reduced_formula for c in sample.candidates} <= {"Li2S", "Li3P"}
        impossible = Conditions(LI_P_S, max_atoms=4, compositions=("Li7P3S11",))
        assert fitted.sample(3, impossible, 0).rejected == {"no_composition": 3}

    def test_three_generations_continue_one_another_on_other_paths(self, fitted, tmp_path):
        """Each fit begins where its parent ended; after two more, with more examples, the first one's are not forgotten."""
        first, more = examples()[:24], examples()
        generator, report = ChemeleonGenerator.initial(settings()).fit(first, 0)
        before = report["loss_after"]
        for generation in (1, 2):
            generator.save(tmp_path / f"{generation}")
            place = tmp_path / f"elsewhere-{generation}"
            (tmp_path / f"{generation}").rename(place)
            loaded = ChemeleonGenerator.load(place, settings())  # not trusted: reading it runs nothing
            loaded.save(tmp_path / "again")
            assert (tmp_path / "again").read_bytes() == place.read_bytes()
            generator, report = loaded.fit(more, generation)
            assert report["loss_after"] <= report["loss_before"]
        assert json.loads(json.dumps(report)) == report
        assert generator.fit(first, 3)[1]["loss_before"] <= before

    def test_a_published_file_is_read_as_the_package_wrote_it(self, tmp_path):
        """A checkpoint of the package's own, with random weights: sampled, and fitted on."""
        script = tmp_path / "write.py"
        script.write_text(
            "import sys, torch, pytorch_lightning as pl\n"
            "from chemeleon_dng.script_util import create_diffusion_module\n"
            "network = dict(hidden_dim=16, time_dim=16, num_layers=1, max_atoms=100, act_fn='silu', dis_emb='sin', num_freqs=8,\n"
            "    ln=True, ip=True, smooth=False, cond_dim=0, pred_atom_types=False)\n"
            "optimizer = dict(optimizer='adam', lr=1e-3, weight_decay=0, scheduler='constant', patience=1, early_stopping=1)\n"
            "module = create_diffusion_module(task=sys.argv[1], model_configs=network, optimizer_configs=optimizer,\n"
            "    num_timesteps=12, beta_schedule_ddpm='cosine', beta_schedule_d3pm='reciprocal', max_atoms=100,\n"
            "    d3pm_hybrid_coeff=0.1, sigma_begin=0.005, sigma_end=0.5)\n"
            "trainer = pl.Trainer(accelerator='cpu', logger=False, enable_checkpointing=False, enable_progress_bar=False)\n"
            "trainer.strategy.connect(module)\n"
            "trainer.save_checkpoint(sys.argv[2])\n"
        )
        python = environment_of(ChemeleonGenerator.external).command()
        for task in ("csp", "dng"):
            subprocess.run([*python, str(script), task, str(tmp_path / f"{task}.ckpt")], check=True, cwd=tmp_path)
        own = ChemeleonGenerator.initial(settings(weights=str(tmp_path / "csp.ckpt")))
        conditions = Conditions(LI_P_S, max_atoms=6)
        sample = own.sample(3, conditions, 0)
        assert len(sample.candidates) + sum(sample.rejected.values()) >= 3
        fitted, report = own.fit(examples(), 1)
        assert report["fitted"]
        told = json.loads(Path(fitted._model.path, "model.json").read_text())
        assert (told["network"]["hidden_dim"], told["num_timesteps"]) == (16, 12)
        assert same_sample(fitted.sample(3, conditions, 1), fitted.sample(3, conditions, 1))
        other = ChemeleonGenerator.initial(settings(weights=str(tmp_path / "dng.ckpt")))
        with pytest.raises(ModelError, match=r"no_weights.*draws compositions of its own"):
            other.sample(1, conditions, 0)

    def test_weights_that_are_not_here_are_an_error_that_says_what_to_do(self):
        published = ChemeleonGenerator.initial(settings(weights="chemeleon_csp_mp_20_v0.0.2"))
        with pytest.raises(ModelError, match=r"no_weights.*CHEMELEON_CKPTS"):
            published.sample(1, Conditions(LI_P_S), 0)
