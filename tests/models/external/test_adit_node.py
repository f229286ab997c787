"""A node with ADiT, run on the command line: fits, commits, and a chain of checkpoints that can be moved."""

from __future__ import annotations

import os
import shutil
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from small_adit import CHECKOUT, SMALL

from tiny_node import TINY, Coevo

if TYPE_CHECKING:
    from pathlib import Path

ITERATIONS = 2
CANDIDATES = 6

KEYS = {**SMALL, "weights": "WEIGHTS", "epochs": 20, "vae_epochs": 20, "oversampling": 20.0}
GENERATOR = f"""
generator:
  family: adit
  candidates: {CANDIDATES}
  shard_size: {CANDIDATES}
  max_atoms: 12
  adit: {{{", ".join(f"{key}: {value}" for key, value in KEYS.items())}}}
"""


@pytest.fixture(scope="module")
def campaign(small_adit: Path, adit_environment: Path, tmp_path_factory: pytest.TempPathFactory) -> Coevo:
    """A node that was started from the small model."""
    directory = tmp_path_factory.mktemp("node")
    passed = {name: os.environ[name] for name in ("COEVO_ENVIRONMENTS", "COEVO_CHECKOUTS") if name in os.environ}
    coevo = Coevo(directory, **passed, COEVO_SCRATCH=str(directory / "scratch"))
    head, _, rest = TINY.partition("generator:")
    text = head + GENERATOR.replace("WEIGHTS", f"{small_adit}/") + "screening:" + rest.partition("screening:")[2]
    (directory / "node.yaml").write_text(text)
    coevo("init", "node.yaml")
    coevo("run", "tiny", "-n", str(ITERATIONS))
    return coevo


@pytest.mark.models
def test_a_chain_of_commits_each_read_at_another_place(campaign, tmp_path, monkeypatch):
    from coevo.configs.tree import GeneratorConfig
    from coevo.makers.checkpoints import load_generator
    from coevo.makers.step import current_store
    from coevo.models.contracts import Conditions

    shutil.move(campaign.database, tmp_path / "elsewhere")
    monkeypatch.setenv("COEVO_DATABASE", f"file:{tmp_path / 'elsewhere'}")
    monkeypatch.delenv("COEVO_ARTIFACTS", raising=False)
    store = current_store()
    states = [store.state(f"tiny@main~{back}").document for back in range(ITERATIONS, -1, -1)]
    chain = [state["checkpoints"]["generator"] for state in states]
    assert len({checkpoint["sha256"] for checkpoint in chain}) == ITERATIONS + 1
    for parent, child in pairwise(chain):
        assert child["parent"] == parent["sha256"]
    generator = load_generator(store, chain[-1], GeneratorConfig(family="adit", adit={**SMALL, "weights": "new"}))
    assert generator.document["checkouts"][CHECKOUT.name] in CHECKOUT.commits
    assert {"Li", "P", "S"} <= set(generator.document["elements"])
    sample = generator.sample(2, Conditions(("Li", "P", "S"), max_atoms=12), 5)
    assert len(sample.candidates) + sum(sample.rejected.values()) >= 2
    for state in states[1:]:
        metrics = state["metrics"]["iteration"]
        assert metrics["candidates"] <= CANDIDATES <= metrics["candidates"] + sum(metrics["rejected_by_generator"].values())
