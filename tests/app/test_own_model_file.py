"""A node that begins with a model file of the user's own: read before there is a node, needed no more when there is one."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from example_force_field import EXAMPLE
from fake_family import HERE, install_fake

from tiny_node import Coevo

NODE = """
node: {name: cu-au, elements: [Au, Cu], references: metals.extxyz, energy_scale: emt}
screening:
  force_field: {family: fake, weights: "emt:%s"}
labelling:
  teacher: {family: chgnet, weights: 0.3.0}
"""


@pytest.fixture
def coevo(tmp_path: Path) -> Coevo:
    install_fake(tmp_path / "installed")
    shutil.copy(EXAMPLE / "metals.extxyz", tmp_path)
    paths = [str(tmp_path / "installed"), str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])]
    environments = str(tmp_path / "installed" / "environments")
    return Coevo(tmp_path, PYTHONPATH=os.pathsep.join(paths), COEVO_ENVIRONMENTS=environments)


@pytest.mark.long
def test_a_node_of_a_file(coevo: Coevo, tmp_path: Path) -> None:
    model = tmp_path / "own.model"
    (tmp_path / "node.yaml").write_text(NODE % model)
    for content, told in (
        (None, "there is no file"),
        ("no model", "fake: read: the runner failed"),
        (json.dumps({"slope": 2.0, "constants": {}, "elements": [79]}), "which does not know Cu of node.elements"),
    ):
        if content is not None:
            model.write_text(content)
        assert told in " ".join(coevo("init", "node.yaml", code=2).stderr.split())
        assert not (coevo.database / "cu-au").exists()
    model.write_text(json.dumps({"slope": 2.0, "constants": {}, "elements": [29, 79]}))
    coevo("init", "node.yaml")
    model.unlink()
    state = json.loads(coevo("show", "cu-au", "--format", "json").stdout)
    checkpoint = state["checkpoints"]["force_field"]
    assert (checkpoint["family"], checkpoint["format"]) == ("fake", "model-tar-1")
    coevo("verify", "cu-au")
