"""Which members of a state go on, and which are asked about."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from coevo.configs.loading import config_from_dict
from coevo.configs.tree import NodeSection
from coevo.errors import CheckpointError
from coevo.makers.checkpoints import check_checkpoints
from coevo.makers.committee import members
from coevo.makers.committee.members import check_members_going_on, members_for, members_going_on
from coevo.makers.committee.recomputation import _wanted
from coevo.makers.step import current_store
from coevo.node_store.trust.loading import COMPUTED_HERE

if TYPE_CHECKING:
    from pathlib import Path

    from coevo.node_store.store import NodeStore

NODE = NodeSection(name="a", elements=("Li", "S"), references="x")
SLOT, FITTED, OTHER = "committee/chgnet_r2scan", "committee/chgnet_1", "committee/of_nobody"


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NodeStore:
    monkeypatch.setenv("COEVO_DATABASE", f"file:{tmp_path}")
    return current_store()


def config(**uncertainty: Any) -> Any:
    return config_from_dict({"node": NODE.model_dump(mode="json"), "uncertainty": uncertainty}, "a test")


def checkpoint(letter: str, family: str = "chgnet", parent: str | None = None) -> Any:
    form = "safetensors-1"
    return {"family": family, "format": form, "sha256": letter * 64, "size": 1, "parent": parent, "training_set": None}


def view(store: NodeStore, **slots: Any) -> Any:
    return SimpleNamespace(document={"checkpoints": slots}, node="a", id="0" * 64)


def test_only_models_that_go_on_are_asked_about(store: NodeStore) -> None:
    state = view(store, **{OTHER: checkpoint("a", "nobodys"), FITTED: checkpoint("b", parent="c" * 64)})
    check_checkpoints(store, state)  # neither of its models: there is none
    check_members_going_on(store, state, config())
    check_members_going_on(store, state, config(families=["chgnet/r2scan"]))
    with pytest.raises(CheckpointError):
        check_members_going_on(store, state, config(members=1))
    check_members_going_on(store, state, config(members=1), {})  # it does not go on
    with pytest.raises(CheckpointError):
        check_checkpoints(store, view(store, force_field=checkpoint("d")))


def test_another_family_goes_on_as_published_and_from_here(store: NodeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = config(families=["chgnet/r2scan"])
    here, fitted, imported, again = (checkpoint("a"), checkpoint("b", parent="c" * 64), checkpoint("d"), checkpoint("e"))
    store.backend.mark_untrusted(imported["sha256"], "a bundle")
    store.backend.mark_trusted(imported["sha256"])  # that it may be loaded, not that it is what it is called
    store.backend.mark_trusted(again["sha256"], COMPUTED_HERE)
    published = checkpoint("f")
    monkeypatch.setattr(members, "published", lambda _: published)
    for found, expected in ((here, here), (again, again), (fitted, published), (imported, published)):
        name = "chgnet_r2scan"
        assert members_for(wanted, {SLOT: found})[name]["sha256"] == expected["sha256"]
        assert (name in members_going_on(wanted, {SLOT: found}, store)) is (found is expected)
    assert members_for(wanted, {}) == {"chgnet_r2scan": published}


def test_only_what_the_configuration_wants_is_computed_again() -> None:
    slots = {SLOT: checkpoint("a"), FITTED: checkpoint("b"), OTHER: checkpoint("c"), "force_field": checkpoint("d")}
    assert _wanted(config(), slots) == {}
    assert sorted(_wanted(config(members=2, families=["chgnet/r2scan"]), slots)) == ["chgnet_1", "chgnet_r2scan"]
