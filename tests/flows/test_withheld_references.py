"""What a merge, an extension and added references do with phases that a node withholds (``references.exclude``)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hand_made_states import ELEMENTAL, Node, antifluorite, config_for, describe, evaluation, rocksalt, simple
from pymatgen.core import Structure

from coevo.campaigns.adding import add_references
from coevo.campaigns.merging import Target, extend, merge
from coevo.configs.tree import NodeConfig
from coevo.errors import ConfigError, ReferenceDataError
from coevo.makers.step import current_store
from coevo.node_store.canonical import structure_document, structure_id

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from coevo.node_store.store import NodeStore
    from coevo.node_store.views import StateView

SULPHIDE = antifluorite("Li", "S", 5.7)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeStore]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COEVO_DATABASE", f"file:{tmp_path_factory.mktemp('withheld')}/db")
        patch.delenv("COEVO_ARTIFACTS", raising=False)
        yield current_store()


def node(store: NodeStore, name: str, exclude: tuple[str, ...] = (), *, known: tuple[str, ...] = ()) -> Node:
    """A node that withholds phases; its first state has references of those names beside the elements."""
    base = config_for(name)
    made = Node(store, NodeConfig.model_validate({**base.model_dump(), "references": {"exclude": exclude}}))
    crystals = {"Li2S": SULPHIDE, "LiP": rocksalt("Li", "P", 5.3)}
    references = {
        **{f"{e} simple": simple(e, ELEMENTAL[e]) for e in ("Li", "P", "S")},
        **{name: crystals[name] for name in known},
    }
    rows = [
        {"_id": structure_id(s), "name": name, "source": "a test", "structure": structure_document(s), **describe(s)}
        for name, s in references.items()
    ]
    made._commit("main", None, references=rows, evaluations=[evaluation(s, "reference", 0) for s in references.values()])
    return made


def head(made: Node) -> StateView:
    return made.store.state(made.config.node.name)


def exclude_of(view: StateView) -> list[str]:
    return view.document["config"]["references"]["exclude"]


def names(view: StateView) -> set[str]:
    return {document["name"] for document in view.references()}


def test_a_merge_withholds_what_neither_side_has_as_a_reference(store: NodeStore) -> None:
    left = node(store, "left", ("Li2S", "P2S5"))
    grown = left.grow(head(left), "main", [SULPHIDE], {})
    right = node(store, "right", ("LiP",), known=("Li2S",))
    merged, _ = merge(store, grown, head(right), Target("both", "main"), train=False)
    assert exclude_of(merged) == ["LiP", "P2S5"]
    assert names(merged) == {"Li simple", "P simple", "S simple", "Li2S"}
    # what the left side had found is a reference of the other
    assert merged.document["metrics"]["union"]["entries_that_became_references"] == 1
    assert merged.document["metrics"]["reference_set"]["size"] == 4


def test_a_merge_of_branches_brings_nothing_back(store: NodeStore) -> None:
    made = node(store, "branches", ("Li2S",))
    seed = head(made)
    one, two = (made.grow(seed, branch, [crystal], {}) for branch, crystal in (("a", SULPHIDE), ("b", rocksalt("P", "S", 5.0))))
    merged, outcome = merge(store, one, two, Target("branches", "c"), train=False)
    assert outcome == "merged"
    assert (exclude_of(merged), names(merged)) == (["Li2S"], {"Li simple", "P simple", "S simple"})


def test_a_merge_does_not_change_what_a_node_withholds(store: NodeStore) -> None:
    strict = node(store, "strict", ("Li2S",))
    free = node(store, "free", known=("Li2S",))
    with pytest.raises(ConfigError, match=r"node strict withholds Li2S \(references.exclude\), .* no reference.*a new node"):
        merge(store, head(strict), head(free), Target("strict", "main"), train=False)
    assert head(strict).iteration == 0
    # the other way the node has withheld nothing, and goes on doing so
    merged, _ = merge(store, head(free), head(strict), Target("free", "main"), train=False)
    assert exclude_of(merged) == []


@pytest.mark.long
def test_an_extension_does_not_bring_withheld_phases_back(store: NodeStore, tmp_path: Path) -> None:
    made = node(store, "small", ("Li2S",))
    given = {"Li2S": SULPHIDE, "Cl simple": simple("Cl", 2.4), "LiCl": rocksalt("Li", "Cl", 5.1)}
    path = write(tmp_path, given)
    extended, _ = extend(store, head(made), ["Cl"], "larger", str(path))
    assert names(extended) == {"Li simple", "P simple", "S simple", "Cl simple", "LiCl"}
    assert exclude_of(extended) == ["Li2S"]


def test_a_withheld_phase_cannot_be_added(store: NodeStore, tmp_path: Path) -> None:
    made = node(store, "adding", ("Li2S",))
    path = write(tmp_path, {"Li2S": SULPHIDE, "LiP": rocksalt("Li", "P", 5.3)})
    with pytest.raises(ReferenceDataError, match=r"Li2S: node adding withholds phases of that name"):
        add_references(store, "adding", "main", [path], lambda _: None)
    assert head(made).iteration == 0


def write(folder: Path, structures: dict[str, Structure]) -> Path:
    items: list[dict[str, Any]] = [{"name": name, "structure": s.as_dict()} for name, s in structures.items()]
    path = folder / "given.json"
    path.write_text(json.dumps(items))
    return path
