"""A node whose candidates come from two families, from init to report: one in coevo's own process, one in an environment."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from example_family import install_example, use_this_python

from coevo.node_store.store import open_store
from coevo.settings import read_settings
from signalled_runs import killed
from tiny_node import TINY, Coevo, copy_of

FAMILIES = ("embedded", "random-cells")
MIXTURE = "generator:\n  mixture: {embedded: 0.5, random-cells: 0.5}\n"
NODE = TINY.replace("generator:\n", MIXTURE)
PATHS = ("PYTHONPATH", "COEVO_ENVIRONMENTS")

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Coevo:
    """The node after its first state; read it, do not change it."""
    directory = tmp_path_factory.mktemp("mixture")
    (directory / "installed").mkdir()
    paths = [*install_example(directory / "installed"), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    use_this_python(directory / "environments", "random-cells")
    coevo = Coevo(
        directory,
        PYTHONPATH=os.pathsep.join(filter(None, paths)),
        COEVO_ENVIRONMENTS=str(directory / "environments"),
    )
    (directory / "tiny.yaml").write_text(NODE)
    coevo("init", "tiny.yaml")
    return coevo


def copied(source: Coevo, target: Path) -> Coevo:
    return copy_of(source.directory, target, **{name: source.environment[name] for name in PATHS})


@pytest.fixture(scope="module")
def mixed(begun: Coevo, tmp_path_factory: pytest.TempPathFactory) -> Coevo:
    """A copy of it after a transition."""
    coevo = copied(begun, tmp_path_factory.mktemp("transition"))
    (coevo.directory / "run.txt").write_text(coevo("run", "tiny", "-n", "1").stdout)
    return coevo


def shown(coevo: Coevo, ref: str = "tiny@main") -> dict[str, Any]:
    return json.loads(coevo("show", ref, "--format", "json").stdout)


def test_each_has_a_checkpoint_and_its_own_counts(mixed: Coevo) -> None:
    before, after = shown(mixed, "tiny@main~1"), shown(mixed)
    slots = {"generator": "embedded", "generator/random-cells": "random-cells"}
    for slot, family in slots.items():
        assert after["checkpoints"][slot]["family"] == family
        assert after["checkpoints"][slot]["parent"] == before["checkpoints"][slot]["sha256"]
    examples = {after["checkpoints"][slot]["training_set"] for slot in slots}
    assert len(examples) == 1, "both were fitted on the same examples"
    counts = after["metrics"]["iteration"]
    assert {family: counts["generators"][family]["asked"] for family in FAMILIES} == dict.fromkeys(FAMILIES, 4)
    for key in ("candidates", "relaxed", "unique", "stable", "novel", "sun", "admitted", "electron_excess", "relaxation_steps"):
        assert sum(counts["generators"][family][key] for family in FAMILIES) == counts[key], key
    told = after["metrics"]["generators"]
    for key in ("entries", "stable", "sun"):
        assert sum(told[family][key] for family in FAMILIES) == after["metrics"]["population"][key], key
    # by hand, from where each entry says that it came from
    view = open_store(read_settings(database=mixed.environment["COEVO_DATABASE"])).state("tiny@main")
    drawn = Counter(document["origin"]["generator"] for document in view.structure_documents())
    assert drawn == {before["checkpoints"][slot]["sha256"]: counts["generators"][f]["admitted"] for slot, f in slots.items()}


def test_tables_say_which_one_earns_its_share(mixed: Coevo, tmp_path: Path) -> None:
    table = (mixed.directory / "run.txt").read_text()
    status = json.loads(mixed("status", "tiny", "--format", "json").stdout)["head"]["generators"]
    told = shown(mixed)["metrics"]
    assert [row["family"] for row in status] == list(FAMILIES)
    for row in status:
        family, counts = row["family"], told["iteration"]["generators"][row["family"]]
        assert f"generator {family}" in table
        assert (row["weight"], row["sun"], row["entries"]) == (0.5, counts["sun"], told["generators"][family]["entries"])
        assert row["seconds"] > 0
        assert row["sun_per_thousand"] == pytest.approx(1000 * counts["sun"] / counts["candidates"])
    assert "generators, all iterations of the branch" in mixed("status", "tiny").stdout
    verified = mixed("verify", "tiny", "--signals").stdout
    assert all(f"S.U.N. entries that {family} drew" in verified for family in FAMILIES)
    mixed("report", "tiny", "--output", str(tmp_path / "report"), "--without-map")
    page = (tmp_path / "report" / "index.html").read_text()
    assert "S.U.N. per 1,000 candidates" in page
    planned = mixed("run", "tiny", "--plan").stdout
    assert "generate/random-cells" in planned


def test_killed_and_done_again_it_is_the_same_state(begun: Coevo, mixed: Coevo, tmp_path: Path) -> None:
    coevo = copied(begun, tmp_path / "again")
    killed(coevo, "run", "tiny", "-n", "1", name="tiny/1/train-generator/embedded")
    assert "result reused" in coevo("run", "tiny", "-n", "1").stderr
    assert shown(coevo)["id"] == shown(mixed)["id"]


def test_in_a_bundle_one_that_can_run_code_waits_for_trust(begun: Coevo, tmp_path: Path) -> None:
    begun("export", "tiny", str(tmp_path / "tiny.zip"))
    there = Coevo(tmp_path, **{name: begun.environment[name] for name in PATHS})
    there("import", "tiny.zip")
    conditions = shown(there)["checkpoint_conditions"]
    assert conditions == {"force_field": "here", "generator": "here", "generator/random-cells": "untrusted"}
    there("trust", "tiny", "--configuration", "--yes")
    refused = there("run", "tiny", "-n", "1", code=2).stderr
    sha256 = shown(there)["checkpoints"]["generator/random-cells"]["sha256"]
    assert f"coevo trust {sha256}" in refused
    there("trust", sha256)
    assert shown(there)["checkpoint_conditions"]["generator/random-cells"] == "here"
