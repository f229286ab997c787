"""Databases, checkpoints and files of bundles that tests make."""

from __future__ import annotations

from pathlib import Path

from li_p_s_states import CONFIG, NODE, Lineage

from coevo.node_store.bundles.export import export_bundle, heads_of
from coevo.node_store.canonical import dump_plain
from coevo.node_store.lineage.transfers import history
from coevo.node_store.store import NodeStore, open_store
from coevo.settings import Settings

CONFIG_TEXT = f"node:  # a comment\n  name: {NODE}  # the name\n  elements: [Li, P, S]\n  references: li-p-s\n"


SAFETENSORS = (2).to_bytes(8, "little") + b"{}"


PICKLE = b"\x80\x04\x95\x05\x00\x00\x00\x00\x00\x00\x00]."


def embedded(directory: Path) -> NodeStore:
    return open_store(Settings(database=f"file:{directory}"))


def new_lineage(store: NodeStore) -> Lineage:
    store.create_node(NODE, ["Li", "P", "S"], CONFIG, CONFIG_TEXT)
    return Lineage(store)


def checkpoint_of(store: NodeStore, data: bytes, form: str = "safetensors", family: str = "chgnet") -> dict:
    return {**store.artifacts.put_bytes(data).to_dict(), "family": family, "format": form}


def pickled(store: NodeStore) -> dict:
    """A checkpoint of a family whose loader can run code; what its bytes look like says nothing."""
    return checkpoint_of(store, PICKLE, "model-tar-1", "mattergen")


def export(store: NodeStore, path: Path, ref: str = NODE, **options) -> Path:
    whole_node = options.pop("whole_node", False)
    export_bundle(store, heads_of(store, ref, whole_node=whole_node), path, **options)
    return path


def content(store: NodeStore, ref: str) -> dict[str, bytes]:
    """Everything that a state holds, as canonical JSON, without the names of places."""
    view = store.state(ref)
    document = {key: value for key, value in view.document.items() if key != "manifest"}
    document["checkpoints"] = {
        kind: {key: value for key, value in checkpoint.items() if key != "uri"}
        for kind, checkpoint in view.document["checkpoints"].items()
    }
    return {
        "document": dump_plain(document),
        "manifest": dump_plain(view.manifest),
        "evaluations": dump_plain(list(view.evaluations())),
        "entries": dump_plain(list(view.entries(sort=[("energy_above_hull", 1)]))),
        "structures": dump_plain(list(view.structure_documents())),
        "references": dump_plain(list(view.references())),
        "labels": dump_plain(list(view.labels())),
        "blobs": b"".join(store.artifacts.get_bytes(sha256) for sha256 in view.manifest["samples"].values()),
    }


def assert_same_history(left: NodeStore, right: NodeStore, node: str = NODE) -> None:
    assert left.node(node).branches == right.node(node).branches
    for head in left.node(node).branches.values():
        states = [view.id for view in history([left.state(f"{node}@{head}")])]
        assert states == [view.id for view in history([right.state(f"{node}@{head}")])]
        for state in states:
            assert content(left, f"{node}@{state}") == content(right, f"{node}@{state}")


def forked(store: NodeStore, lineage: Lineage, branch: str, variant: int, **changes) -> tuple[Lineage, str]:
    """Continue the present state on a branch of its own."""
    fork = lineage.fork(variant)
    store.create_branch(store.state(f"{NODE}@{lineage.parents[0]}"), branch)
    return fork, fork.commit(branch, **changes)
