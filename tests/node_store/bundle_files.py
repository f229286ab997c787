"""Databases, checkpoints and files of bundles that tests make."""

from __future__ import annotations

from pathlib import Path

from li_p_s_states import CONFIG, NODE, Lineage

from coevo.node_store.bundles.export import export_bundle, heads_of
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
