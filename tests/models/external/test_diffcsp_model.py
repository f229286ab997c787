"""DiffCSP for real, from the user's checkout, with a small model trained here: generations, its own model directories, a node."""

from __future__ import annotations

import argparse
import json
import os

import pytest
from generator_contract import LI_P_S, same_sample
from required_checkouts import require_checkouts
from small_diffcsp import small_settings
from small_mattergen import strained_examples

from coevo.errors import ModelError
from coevo.families.built_in import DIFFCSP_CHECKOUT
from coevo.models.contracts import Conditions
from coevo.models.external.checking import examine_environment
from coevo.models.external.diffcsp import DIFFCSP, DiffCSPGenerator
from tiny_node import TINY, Coevo

NODE = """
generator:
  family: diffcsp
  candidates: 6
  shard_size: 6
  max_atoms: 8
  diffcsp: {weights: WEIGHTS, epochs: 3, learning_rate: 1e-3, train_batch_size: 16, validation_fraction: 0.3, oversampling: 4}
"""


@pytest.fixture(autouse=True)
def places(tmp_path_factory, monkeypatch):
    require_checkouts(DIFFCSP)
    monkeypatch.setenv("COEVO_SCRATCH", str(tmp_path_factory.mktemp("scratch")))
    monkeypatch.setenv("COEVO_DEVICE", "cpu")


@pytest.mark.models
class TestDiffCSP:
    def test_its_environment_is_whole_and_says_what_stands_in(self):
        found = examine_environment(DIFFCSP)
        assert found.broken == []
        assert {"torch_scatter", "dotenv", "wandb", "torch_geometric.data.DataLoader"} <= set(found.stand_ins)

    def test_three_generations_go_on_from_one_another_on_other_paths(self, small_diffcsp, tmp_path):
        """Each fit begins where its parent ended; the third knows the first fit's examples no worse than the first did."""
        place = require_checkouts(DIFFCSP)[DIFFCSP_CHECKOUT.name]
        before = {path: path.stat().st_mtime_ns for path in place.rglob("*") if ".git" not in path.parts}
        settings = small_settings(weights=str(small_diffcsp))
        generator, losses = DiffCSPGenerator.initial(settings), []
        for generation in range(3):
            fitted, report = generator.fit(strained_examples(), generation)
            assert not losses or report["loss_before"] == losses[-1]
            losses.append(report["loss_after"])
            (tmp_path / f"{generation}").mkdir()
            fitted.save(tmp_path / f"{generation}" / "checkpoint")
            generator = DiffCSPGenerator.load(tmp_path / f"{generation}" / "checkpoint", settings)
            assert generator.document["checkouts"] == {"DiffCSP": DIFFCSP_CHECKOUT.commits[0]}
        assert losses[2] <= losses[0]
        assert json.loads(json.dumps(report)) == report
        conditions = Conditions(LI_P_S, max_atoms=12, compositions=("Li2S",))
        first, again = generator.sample(2, conditions, 5), fitted.sample(2, conditions, 5)
        assert same_sample(first, again)
        assert all(c.structure.composition.reduced_formula == "Li2S" for c in first.candidates)
        assert {path: path.stat().st_mtime_ns for path in place.rglob("*") if ".git" not in path.parts} == before

    def test_a_model_directory_of_its_own_is_read_once_and_holds_no_pickle_then(self, small_diffcsp, tmp_path):
        import torch

        network = json.loads((small_diffcsp / "network.json").read_text())
        model = {
            "_target_": "diffcsp.pl_modules.diffusion.CSPDiffusion",
            "time_dim": network["time_width"],
            "timesteps": network["steps"],
            "decoder": {
                k: network[n] for k, n in {"hidden_dim": "hidden", "num_layers": "layers", "num_freqs": "frequencies"}.items()
            },
            "beta_scheduler": {"scheduler_mode": "linear", "beta_start": network["beta_start"], "beta_end": network["beta_end"]},
            "sigma_scheduler": {"sigma_begin": network["sigma_begin"], "sigma_end": network["sigma_end"]},
        }
        (tmp_path / "hparams.yaml").write_text(json.dumps({"model": model}))
        state = torch.load(small_diffcsp / "weights.pt", weights_only=True)
        torch.save({"state_dict": state, "hyper_parameters": argparse.Namespace(a=1)}, tmp_path / "epoch=3-step=9.ckpt")
        read = DiffCSPGenerator.initial(small_settings(weights=str(tmp_path)))
        assert sorted(path.name for path in read._model.path.iterdir()) == ["network.json", "weights.pt"]
        kept = torch.load(read._model.path / "weights.pt", weights_only=True)
        assert kept.keys() == state.keys()
        assert all(torch.equal(kept[name], state[name]) for name in state)
        assert json.loads((read._model.path / "network.json").read_text()) == network

    def test_weights_of_another_network_are_one_error(self, small_diffcsp, tmp_path):
        network = json.loads((small_diffcsp / "network.json").read_text())
        (tmp_path / "network.json").write_text(json.dumps({**network, "hidden": 32}))
        (tmp_path / "weights.pt").write_bytes((small_diffcsp / "weights.pt").read_bytes())
        with pytest.raises(ModelError, match=r"no_weights.*the weights are not those of the network beside them"):
            DiffCSPGenerator.initial(small_settings(weights=str(tmp_path))).sample(1, Conditions(LI_P_S, max_atoms=8), 0)

    def test_a_node(self, small_diffcsp, tmp_path):
        """Candidates keep to the systems, what is lost is counted, and the state has a checkpoint that names its parent."""
        names = ("COEVO_ENVIRONMENTS", "COEVO_CHECKOUTS", "COEVO_SCRATCH", "COEVO_DEVICE")
        coevo = Coevo(tmp_path, **{name: os.environ[name] for name in names if name in os.environ})
        head, _, rest = TINY.partition("generator:")
        text = head + NODE.replace("WEIGHTS", str(small_diffcsp)) + "screening:" + rest.partition("screening:")[2]
        (tmp_path / "node.yaml").write_text(text)
        coevo("init", "node.yaml")
        coevo("run", "tiny")
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("COEVO_DATABASE", f"file:{coevo.database}")
            from coevo.makers.step import current_store

            state, parent = (current_store().state(name).document for name in ("tiny@main", "tiny@main~1"))
        metrics = state["metrics"]["iteration"]
        assert metrics["candidates"] + sum(metrics["rejected_by_generator"].values()) >= 6
        checkpoint = state["checkpoints"]["generator"]
        assert (checkpoint["family"], checkpoint["parent"]) == ("diffcsp", parent["checkpoints"]["generator"]["sha256"])
