"""SevenNet as a member of a node of CHGNet: its energies on the node's scale, its say, and one family until CHGNet is fitted."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tiny_node import TINY, Coevo

NAME = "sevennet_7net_0"
NODE = (
    TINY.replace("  structures: 5\n", "  structures: 5\n  uncertainty_fraction: 0.4\n").replace(
        "  min_frames: 4\n", "  min_frames: 4\n  worse_tolerance: 1.0\n"
    )
    + "uncertainty: {members: 1, families: [sevennet]}\n"
)


@pytest.mark.models
def test_a_node_of_chgnet_asks_sevennet(tmp_path: Path) -> None:
    kept = {key: value for key, value in os.environ.items() if key == "COEVO_ENVIRONMENTS"}
    coevo = Coevo(tmp_path, **kept)
    (tmp_path / "tiny.yaml").write_text(NODE)
    coevo("init", "tiny.yaml")
    coevo("run", "tiny", "-n", "1")

    def told(ref: str) -> dict[str, Any]:
        return json.loads(coevo("show", ref, "--format", "json").stdout)

    seed, state = told("tiny@main~1"), told("tiny@main")
    member = seed["metrics"]["committee"]["members"][NAME]
    assert (member["family"], member["weights"], member["training"]) == ("sevennet", "7net-0", "PBE of MPtrj")
    # CHGNet is of MP2020, SevenNet of plain PBE: with the correction the offsets that are left are small
    assert all(abs(value) < 0.15 for value in member["offsets"]["values"])
    assert member["offsets"]["residual_rms"] < 0.03
    assert not seed["metrics"]["committee"]["agreement"]["independent"]  # both are of MPtrj
    fitted = state["metrics"]["committee"]
    assert fitted["force_field"]["training"] == "the node's labels (teacher chgnet/r2scan)"
    assert fitted["agreement"]["independent"]
    assert fitted["calibration"]["voices"] == [NAME]
    rows = json.loads(coevo("query", "tiny", f"energies_above_hull.{NAME} >= 0", "--format", "json").stdout)
    assert rows
    assert all(row["is_confidently_sun"] is not None for row in rows)
    coevo("verify", "tiny")
