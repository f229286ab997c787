"""The models of a head are looked for before anything is computed: a missing one costs a second, not a night."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from ase.build import bulk
from ase.io import write
from hand_made_node import NODE, TwoBranches, two_branches

from coevo.campaigns.adding import add_labels, add_references
from coevo.campaigns.labelling import label_head
from coevo.campaigns.merging import Target, extend, merge
from coevo.campaigns.on_site import submit
from coevo.campaigns.running import initialise, run_campaign
from coevo.campaigns.starting import start_from
from coevo.configs.loading import LoadedConfig, config_from_dict, dump_config
from coevo.configs.overrides import read_overrides
from coevo.configs.tree import GeneratorConfig
from coevo.errors import CheckpointError, ConfigError, CorruptArtifactError
from coevo.families import find_loader
from coevo.flows.seeding import check_generator
from coevo.makers.step import current_store

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def silent(line: str) -> None:
    pass


def commands(node: TwoBranches, folder: Path) -> dict[str, Callable[[], Any]]:
    store, queue = node.store, None
    write(folder / "chlorine.extxyz", [bulk("Cl", "sc", a=3.0)], format="extxyz")
    elsewhere = Target("elsewhere", "main")
    return {
        "run": lambda: run_campaign(store, NODE, branch="main", iterations=1, say=silent, on_state=lambda view: None),
        "submit": lambda: submit(store, queue, NODE, "main", 1, silent),  # type: ignore[arg-type]
        "label": lambda: label_head(store, NODE, "main", limit=1, labeller=None, competing=False, say=silent),
        "add references": lambda: add_references(store, NODE, "main", [folder / "chlorine.extxyz"], silent),
        "add labels": lambda: add_labels(store, NODE, "main", [], functional="PBE", anion_corrected=False, say=silent),
        "merge": lambda: merge(store, node.main, node.other, Target(NODE, "main"), train=False),
        "merge into a new node": lambda: merge(store, node.main, node.other, elsewhere, train=False),
        "extend": lambda: extend(store, node.main, ["Cl"], "elsewhere", str(folder / "chlorine.extxyz")),
    }


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TwoBranches:
    monkeypatch.setenv("COEVO_DATABASE", f"file:{tmp_path / 'db'}")
    monkeypatch.delenv("COEVO_ARTIFACTS", raising=False)
    # a loader that can run code trusts what was computed here, and these are to come from elsewhere
    monkeypatch.setattr("coevo.makers.checkpoints.computed_here", lambda *asked: None)
    return two_branches(current_store(), mixture={"embedded": 0.5, "mattergen": 0.5})


def blob_of(node: TwoBranches, kind: str) -> Path:
    sha256 = node.main.document["checkpoints"][kind]["sha256"]
    return node.store.artifacts.fetch(sha256)


def refused(node: TwoBranches, folder: Path, message: str, error: type[Exception] = CheckpointError) -> None:
    """Every command is refused, and leaves nothing: no job result, no campaign, no node, no state."""
    before = list(node.store.backend.job_keys()), node.store.backend.branches(NODE), node.store.nodes()
    for name, command in commands(node, folder).items():
        with pytest.raises(error, match=message):
            command()
        assert (list(node.store.backend.job_keys()), node.store.backend.branches(NODE), node.store.nodes()) == before, name
        assert node.store.campaigns(NODE) == [], name


@pytest.mark.parametrize("kind", ["force_field", "generator", "generator/mattergen"])
def test_without_a_model_nothing_begins(node: TwoBranches, tmp_path: Path, kind: str) -> None:
    blob_of(node, kind).unlink()
    refused(node, tmp_path, r"is not in file:.*get it by importing a bundle")


@pytest.mark.parametrize("kind", ["force_field", "generator", "generator/mattergen"])
def test_with_a_model_that_is_not_trusted_nothing_begins(
    node: TwoBranches, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """As if the loaders could run code: those of the node's own families cannot, and load what nobody trusts.

    And as if no weights were published, whose names are trusted from anybody.
    """
    code: dict[str, Any] = {"runs_code": True, "published": {}}
    monkeypatch.setattr("coevo.node_store.trust.loading.find_loader", lambda *asked: replace(find_loader(*asked), **code))
    sha256 = node.main.document["checkpoints"][kind]["sha256"]
    node.store.backend.mark_untrusted(sha256, "it came from a stranger")
    refused(node, tmp_path, f"came from a stranger.*coevo trust {sha256}")


def test_with_a_damaged_model_nothing_begins(node: TwoBranches, tmp_path: Path) -> None:
    path = blob_of(node, "force_field")
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    refused(node, tmp_path, "damaged|hash|sha256", CorruptArtifactError)


def test_without_the_environment_of_a_generator_that_draws_or_is_fitted_nothing_begins(
    node: TwoBranches, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That of the mixture which is not ``generator.family``; one without weight needs none."""
    monkeypatch.setenv("COEVO_ENVIRONMENTS", str(tmp_path / "environments"))
    other = two_branches(node.store, "fitted", mixture={"embedded": 0.5, "mattergen": 0.5}, fit=True)
    document = other.main.document["config"]
    new = config_from_dict({**document, "node": {**document["node"], "name": "new"}}, "a test")
    begun = f"fitted@{other.main.id}", "new", read_overrides(["generator.mixture={embedded: 1.0, adit: 1.0}"]), silent
    begin: dict[str, tuple[str, Callable[[], Any]]] = {
        "run": ("mattergen", commands(node, tmp_path)["run"]),
        "init": ("mattergen", lambda: initialise(node.store, LoadedConfig(new, dump_config(new), "a test"))),
        "merge": ("mattergen", lambda: merge(node.store, other.main, other.other, Target("elsewhere", "main"))),
        "start": ("adit", lambda: start_from(node.store, *begun)),
    }
    before = list(node.store.backend.job_keys()), node.store.backend.branches(NODE), node.store.nodes()
    for name, (family, command) in begin.items():
        with pytest.raises(ConfigError, match=f"family {family} has no environment"):
            command()
        assert (list(node.store.backend.job_keys()), node.store.backend.branches(NODE), node.store.nodes()) == before, name
        assert node.store.campaigns(NODE) == [], name
    check_generator(new.model_copy(update={"generator": GeneratorConfig(mixture={"embedded": 1.0, "mattergen": 0.0})}))


@pytest.mark.parametrize("name", ["run", "submit"])
def test_without_what_an_added_generator_begins_with_nothing_begins(
    node: TwoBranches, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    section = GeneratorConfig.model_validate({"mixture": {"embedded": 1, "adit": 0}, "adit": {"weights": str(tmp_path / "none")}})
    config = config_from_dict(node.main.document["config"], "a test").model_copy(update={"generator": section})
    monkeypatch.setattr("coevo.flows.campaign.live_config", lambda *asked: config)
    with pytest.raises(ConfigError, match=r"generator\.adit\.weights: .*/none: got no folder"):
        commands(node, tmp_path)[name]()
    assert node.store.campaigns(NODE) == []
