"""The same commands on MongoDB (a real wire-protocol server): the same state as in a directory."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tiny_node import TINY, Coevo


# test_campaign of tests/slurm runs an iteration on a server in `make test`
@pytest.mark.long
@pytest.mark.service
def test_a_campaign_on_a_server_ends_in_the_state_of_the_embedded_one(mongodb_uri: str, finished: Coevo, tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(TINY)
    coevo = Coevo(tmp_path, COEVO_DATABASE=mongodb_uri, COEVO_ARTIFACTS=f"file://{tmp_path}/artifacts")
    coevo("init", "tiny.yaml")
    coevo("run", "tiny", "-n", "1")
    embedded = json.loads(finished("log", "tiny@main~1", "--format", "json").stdout)
    served = json.loads(coevo("log", "tiny", "--format", "json").stdout)
    assert [state["id"] for state in served] == [state["id"] for state in embedded]
    wanted = 'elements HAS "P" AND energy_above_hull < 0.3'
    rows = json.loads(coevo("query", "tiny", wanted, "--format", "json").stdout)
    same = json.loads(finished("query", "tiny@main~1", wanted, "--format", "json").stdout)
    assert [row["structure_id"] for row in rows] == [row["structure_id"] for row in same]
    assert not (tmp_path / "coevo-data").exists()
    status = json.loads(coevo("status", "tiny", "--format", "json").stdout)
    assert [campaign["status"] for campaign in status["campaigns"]] == ["finished"]
