"""From a node of CHGNet to one of SevenNet, with its real weights, on the command line: another scale, the same labels."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

from tiny_node import Coevo, copy_of

START = ("init", "tiny-7", "--from-state", "tiny", "--set", "screening.force_field.family=sevennet")


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory, finished: Coevo) -> Coevo:
    directory = tmp_path_factory.mktemp("started")
    environment = {"COEVO_ENVIRONMENTS": os.environ["COEVO_ENVIRONMENTS"], "COEVO_SCRATCH": str(directory / "scratch")}
    coevo = copy_of(finished.directory, directory, **environment)
    coevo(*START)
    return coevo


def shown(coevo: Coevo, ref: str) -> dict[str, Any]:
    return json.loads(coevo("show", ref, "--format", "json").stdout)


@pytest.mark.models
class TestFromChgnetToSevenNet:
    def test_the_first_state(self, started):
        old, new = shown(started, "tiny"), shown(started, "tiny-7")
        assert new["started_from"] == {"node": "tiny", "state": old["id"]}
        assert (old["config"]["node"]["energy_scale"], new["config"]["node"]["energy_scale"]) == ("mp2020", "pbe")
        assert new["checkpoints"]["force_field"]["family"] == "sevennet"
        assert new["counts"]["labels"] == old["counts"]["labels"]
        errors = new["metrics"]["force_field"]["prequential"]["all"]
        # r2SCAN labels, brought to raw PBE by offsets of the elements
        assert errors["n"] > 0
        assert errors["energy_rmse_mev_per_atom"] < 300

    def test_it_goes_on_and_verifies(self, started):
        started("run", "tiny-7", "-n", "1")
        state = shown(started, "tiny-7")
        fit = state["metrics"]["force_field"]
        assert fit["frames"]["train"] > 0, "labels that came along are trained on"
        assert state["checkpoints"]["force_field"]["family"] == "sevennet"
        started("verify", "tiny-7")
