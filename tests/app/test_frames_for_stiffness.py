"""A node that asks for frames for stiffness and watches the hull, from its file to what its states and plans say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

import coevo
from tiny_node import TINY, Coevo

MORE: dict[str, dict[str, Any]] = {
    "curation": {"hull": "labelled"},
    "selection": {"stiff_frames": 2, "label_path": 1, "refuted_frames": 1},
    "training": {"watch_hull": True, "worse_tolerance": 1.0},
}


@pytest.mark.long
def test_a_node_with_frames_for_stiffness(tmp_path: Path) -> None:
    node: dict[str, Any] = yaml.safe_load(TINY)
    for section, keys in MORE.items():
        node[section] |= keys
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(node))
    command = Coevo(tmp_path)

    def planned() -> int:
        rows = json.loads(command("run", "tiny", "--plan", "--format", "json").stdout)["steps"]
        return sum(row["items"] for row in rows if row["step"] == "label")

    def shown() -> dict[str, Any]:
        found: dict[str, Any] = json.loads(command("show", "tiny", "--format", "json").stdout)
        return found["metrics"]

    command("init", "tiny.yaml")
    of_the_budget = planned()
    command("run", "tiny", "-n", "1")
    first, further = shown(), planned() - of_the_budget
    command("run", "tiny", "-n", "1")
    second = shown()
    assert first["selection"]["stiff"] == {"stiff": 0, "corrected": 0}  # nothing had a label before
    phases = second["selection"]["stiff"]
    labels = coevo.open("tiny", database=f"file:{tmp_path / 'db'}").state().labels("documents")
    asked = [label for label in labels if label["how"] in {"stiff", "corrected"}]
    assert phases["stiff"] >= 3  # elements, and a compound at least
    assert further == len(asked) > phases["stiff"]
    assert {label["kind"] for label in asked} <= {"strained", "displaced", "downhill", "rattled"}
    for family in {label["family"] for label in asked}:
        splits = {label["split"] for label in labels if label["family"] == family}
        assert splits in ({"train"}, {"validation"})
    for report in (metrics["force_field"].get("fit") for metrics in (first, second)):
        assert report is None or ("watched" in report) == all("hull_spread" in epoch for epoch in report["epochs"])
