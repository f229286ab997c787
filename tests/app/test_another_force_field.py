"""A node whose force field is the example of docs/force-fields.md, an ASE calculator that nothing can train."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from example_force_field import EXAMPLE, FAMILY, install_force_field

from tiny_node import Coevo

NODE = """
node:
  name: cu-au
  elements: [Au, Cu]
  references: metals.extxyz
  energy_scale: emt
  seed: 5
generator: {candidates: 6, shard_size: 6, max_atoms: 4}
screening:
  force_field: {family: effective-medium}
  fmax: 0.2
curation: {max_e_hull: 0.5, stable_threshold: 0.2}
selection: {structures: 3}
labelling:
  frames_per_job: 30
  teacher: {family: chgnet, weights: 0.3.0}
  accept_scale_mismatch: true
training: {min_frames: 4, test_fraction: 0.3, validation_fraction: 0.3}
maturity: {environments: 20, subsamples: 2, ruler_size: 4}
"""


@pytest.fixture
def coevo(tmp_path: Path) -> Coevo:
    paths = [*install_force_field(tmp_path / "installed"), *filter(None, [os.environ.get("PYTHONPATH")])]
    shutil.copy(EXAMPLE / "metals.extxyz", tmp_path)
    (tmp_path / "cu-au.yaml").write_text(NODE)
    return Coevo(tmp_path, PYTHONPATH=os.pathsep.join(paths))


@pytest.mark.long
def test_one_iteration(coevo: Coevo, tmp_path: Path) -> None:
    """Screening, hull and labels by it; the training step says that it stays, and measures its error on the labels."""
    assert FAMILY in coevo("doctor").stdout
    coevo("init", "cu-au.yaml")
    plan = json.loads(coevo("run", "cu-au", "-n", "1", "--plan", "--format", "json").stdout)
    assert {step["items"] for step in plan["steps"] if step["step"] == "train-force-field"} == {0}
    coevo("run", "cu-au", "-n", "1")
    first, state = (json.loads(coevo("show", f"cu-au@{ref}", "--format", "json").stdout) for ref in ("main~1", "main"))
    checkpoint = state["checkpoints"]["force_field"]
    assert (checkpoint["family"], checkpoint["format"]) == (FAMILY, "json")
    assert checkpoint["sha256"] == first["checkpoints"]["force_field"]["sha256"]
    force_field = state["metrics"]["force_field"]
    assert not force_field["adopted"]
    assert "effective-medium cannot be fitted: it stays as it is" in force_field["reason"]
    assert force_field["prequential"]["all"]["energy_rmse_mev_per_atom"] > 0
    coevo("verify", "cu-au")


def test_what_does_not_fit_is_refused_when_the_file_is_read(coevo: Coevo, tmp_path: Path) -> None:
    for change, message in (
        (
            ("energy_scale: emt", "energy_scale: mp2020"),
            "mp2020, allowed: none; or set node.energy_scale: emt",
        ),
        (
            ("{family: effective-medium}", "{family: effective}"),
            "got 'effective', allowed: chgnet, dpa3, mace, mattersim, sevennet, effective-medium",
        ),
        (("{family: effective-medium}", "{family: effective-medium, weights: best}"), "got 'best', allowed: standard"),
        (("[Au, Cu]", "[Au, Cu, Li]"), "got effective-medium, which does not know Li of node.elements"),
        (("{family: chgnet, weights: 0.3.0}", "{family: effective-medium}"), "functional of its training data is not known"),
    ):
        (tmp_path / "other.yaml").write_text(NODE.replace(*change))
        assert message in " ".join(coevo("init", "other.yaml", code=2).stderr.split())
