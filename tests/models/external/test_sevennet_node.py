"""A node with SevenNet, run on the command line: it screens, labels as a teacher, is fine-tuned, committed and goes on."""

from __future__ import annotations

import json
import os
from itertools import pairwise

import pytest

from tiny_node import TINY, Coevo

NODE = (
    TINY.replace("  seed: 7\n", "  energy_scale: pbe\n  seed: 7\n")
    .replace("structures: 5", "structures: 4")
    .replace("name: tiny\n", "name: tiny7\n")  # of whose labels there are some for training, validation and test
    .replace("screening:\n", "screening:\n  force_field: {family: sevennet}\n")
    .replace("labelling:\n", "labelling:\n  teacher: {family: sevennet, weights: 7net-mf-0-r2scan}\n")
)
ITERATIONS = 2


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Coevo:
    directory = tmp_path_factory.mktemp("node")
    coevo = Coevo(directory, COEVO_ENVIRONMENTS=os.environ["COEVO_ENVIRONMENTS"], COEVO_SCRATCH=str(directory / "scratch"))
    (directory / "node.yaml").write_text(NODE)
    coevo("init", "node.yaml")
    coevo("run", "tiny7", "-n", str(ITERATIONS))
    return coevo


@pytest.mark.models
class TestSevenNetNode:
    def test_a_chain_of_checkpoints_on_one_scale(self, campaign):
        states = [
            json.loads(campaign("show", f"tiny7@main~{back}", "--format", "json").stdout) for back in range(ITERATIONS, -1, -1)
        ]
        for state in states:
            assert state["config"]["node"]["energy_scale"] == "pbe"
            assert state["checkpoints"]["force_field"]["family"] == "sevennet"
        for before, after in pairwise(states):
            fit, checkpoints = after["metrics"]["force_field"], [s["checkpoints"]["force_field"] for s in (before, after)]
            if fit["adopted"]:
                assert checkpoints[1]["parent"] == checkpoints[0]["sha256"]
            else:
                assert checkpoints[1] == checkpoints[0]
            assert fit["prequential"]["all"]["force_rmse_mev_per_angstrom"] > 0
        last = states[-1]["metrics"]["force_field"]
        assert last["adopted"]
        assert last["fit"]["loss_after"] < last["fit"]["loss_before"]

    def test_it_verifies_and_moves(self, campaign, tmp_path):
        """What comes in a bundle is loaded without being trusted: reading it cannot run code."""
        campaign("verify", "tiny7")
        campaign("export", "tiny7", str(tmp_path / "tiny.coevo"))
        other = Coevo(tmp_path, COEVO_ENVIRONMENTS=os.environ["COEVO_ENVIRONMENTS"])
        other("import", str(tmp_path / "tiny.coevo"))
        other("verify", "tiny7", "--signals")
