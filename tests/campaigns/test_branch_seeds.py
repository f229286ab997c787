"""Seeds of branches at the command line: given, listed, recorded, and what the jobs of a transition get."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import pytest
from hand_made_node import NODE, TwoBranches, two_branches

from coevo.app.cli import main
from coevo.campaigns import running
from coevo.campaigns.merging import Target, merge
from coevo.campaigns.on_site import submit
from coevo.configs.loading import dump_config, load_config, parse_config
from coevo.errors import CampaignError, ConfigError
from coevo.flows.campaign import create_node, live_config
from coevo.makers.step import current_store, job_key
from coevo.makers.unite import UniteMaker
from coevo.node_store.seeds import give_seed, seed_of_branch, seed_of_name

if TYPE_CHECKING:
    from pathlib import Path

    from jobflow import Flow


class WiredError(Exception):
    """A transition was wired."""

    def __init__(self, flow: Flow):
        self.flow = flow

    @property
    def seeds(self) -> set[int]:
        """Seeds of the branch in the Makers of its jobs."""
        makers = [job.function.__self__ for job, _ in self.flow.iterflow()]
        return {maker.node.branch_seed for maker in makers if hasattr(maker, "node")}


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TwoBranches:
    monkeypatch.setenv("COEVO_DATABASE", f"file:{tmp_path / 'db'}")
    monkeypatch.delenv("COEVO_ARTIFACTS", raising=False)

    def wired(flow: Flow, job_store: object) -> None:
        raise WiredError(flow)

    monkeypatch.setattr(running, "run_flow", wired)
    return two_branches(current_store())


def silent(line: str) -> None:
    pass


def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: str, code: int = 0) -> Any:
    monkeypatch.setattr(sys, "argv", ["coevo", *arguments])
    with pytest.raises(SystemExit) as caught:
        main()
    printed = capsys.readouterr()
    assert (caught.value.code or 0) == code, printed.err
    return printed


def transition(node: TwoBranches, branch: str, seed: int | None = None) -> WiredError:
    with pytest.raises(WiredError) as caught:
        running.run_campaign(node.store, NODE, branch=branch, iterations=1, say=silent, on_state=lambda view: None, seed=seed)
    return caught.value


def test_a_new_branch_has_the_seed_of_its_name_unless_it_is_given_one(node, capsys, monkeypatch) -> None:
    for name, options in (("one", []), ("two", []), ("five", ["--seed", "5"]), ("same", ["--seed", "0"])):
        said = command(capsys, monkeypatch, "branch", f"{NODE}~1", name, *options).err
    assert "the node's own seed" in said
    command(capsys, monkeypatch, "branch", f"{NODE}~1", "five")  # again: it keeps its seed
    rows = json.loads(command(capsys, monkeypatch, "branch", NODE, "--format", "json").out)
    seeds = {row["name"]: row["seed"] for row in rows}
    derived = {name: seed_of_name(name) for name in ("one", "two")}
    assert seeds == {"main": 0, "try": 0, "five": 5, "same": 0, **derived}
    assert len(set(derived.values())) == 2
    for branch in ("one", "five", "same", "main"):
        assert transition(node, branch).seeds == {seeds[branch]}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["branch", NODE, "--seed", "3"], "it is for a new branch"),
        (["branch", f"{NODE}@try", "--delete", "--seed", "3"], "it is for a new branch"),
        (["branch", NODE, "new", "--seed", "-1"], "got -1, allowed: 0"),
        (["run", NODE, "--seed", str(2**32)], "allowed: 0"),
    ],
)
def test_seeds_that_cannot_be_given(node, capsys, monkeypatch, arguments: list[str], words: str) -> None:
    assert words in command(capsys, monkeypatch, *arguments, code=2).err
    assert node.store.head(NODE, "new") is None
    assert node.store.campaigns(NODE) == []


def test_a_run_changes_the_seed_between_campaigns_only(node) -> None:
    assert transition(node, "try", seed=8).seeds == {8}  # begins a campaign, which is not finished
    assert transition(node, "try").seeds == {8}
    assert transition(node, "try", seed=8).seeds == {8}
    with pytest.raises(CampaignError, match="goes on with the seed 8, not 9"):
        running.run_campaign(node.store, NODE, branch="try", iterations=1, say=silent, on_state=lambda view: None, seed=9)
    assert transition(node, "main").seeds == {0}


def test_a_cluster_gets_the_seed_of_the_branch(node, monkeypatch) -> None:
    def submitted(queue: Any, flow: Flow, campaign: Any, iteration: int) -> None:
        raise WiredError(flow)

    monkeypatch.setattr("coevo.slurm.continuation.insert_once", lambda queue, key, add: add())
    monkeypatch.setattr("coevo.slurm.continuation.add_transition", submitted)
    queue: Any = None
    for seed in (4, None):
        with pytest.raises(WiredError) as caught:
            submit(node.store, queue, NODE, "try", 1, silent, seed=seed)
        assert caught.value.seeds == {4}


def test_a_merge_has_the_seed_of_the_branch_that_it_goes_to(node) -> None:
    give_seed(node.store.backend, "try", node.other, 6)
    into = {branch: merge(node.store, node.main, node.other, Target(NODE, branch), train=False)[0] for branch in ("try", "main")}
    assert into["try"].document["config"]["node"]["branch_seed"] == 6
    assert "branch_seed" not in into["main"].document["config"]["node"]
    # main was where the merge into try began from, so it can be moved there: it goes on with what the state says
    node.store.create_branch(node.main, "behind")
    view, outcome = merge(node.store, node.main, into["try"], Target(NODE, "behind"))
    assert (view.id, outcome) == (into["try"].id, "fast-forward")
    assert seed_of_branch(node.store.backend, NODE, "behind", view) == 6
    assert live_config(node.store, NODE, view, silent, "behind").node.branch_seed == 6
    new, _ = merge(node.store, node.main, node.other, Target("new-node", "main"), train=False)
    assert "branch_seed" not in new.document["config"]["node"]
    assert "branch_seed" not in node.store.read_config_text("new-node")


def test_a_file_holds_no_seed_of_a_branch(node) -> None:
    text = node.store.read_config_text(NODE)
    assert "branch_seed" not in text
    node.store.write_config_text(NODE, text.replace("node:\n", "node:\n  branch_seed: 3\n", 1))
    with pytest.raises(ConfigError, match=r"node\.yaml: node\.branch_seed: got 3.*coevo run NODE"):
        live_config(node.store, NODE, node.main, silent, "main")
    loaded = load_config("li-p-s-demo")
    seeded = loaded.config.model_copy(update={"node": loaded.config.node.model_copy(update={"branch_seed": 3})})
    with pytest.raises(ConfigError, match="branch_seed"):
        create_node(node.store, type(loaded)(seeded, loaded.text, loaded.source))


def test_without_a_seed_of_the_branch_keys_and_records_are_as_before(node) -> None:
    plain = load_config("li-p-s-demo").config
    seeded = plain.model_copy(update={"node": plain.node.model_copy(update={"branch_seed": 3})})
    assert "branch_seed" not in plain.identity()["node"]
    assert seeded.identity()["node"] == {**plain.identity()["node"], "branch_seed": 3}
    keys = [job_key(UniteMaker(node=config.node), {}) for config in (plain, seeded)]
    assert keys[0] != keys[1]
    assert parse_config(dump_config(plain), "x") == plain
    assert type(plain.node).from_dict(seeded.node.as_dict()) == seeded.node
