"""A node with everything that upkeep looks at: branches, an unfinished campaign, a job result and a valid configuration."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from li_p_s_states import NODE, Lineage, new_node

from coevo.node_store.directory.database import EmbeddedBackend

if TYPE_CHECKING:
    from pathlib import Path

    from coevo.node_store.store import NodeStore

VALID_CONFIG = f"node:\n  name: {NODE}\n  elements: [Li, P, S]\n  references: li-p-s\n"
DAYS = 86_400.0


def furnished_node(store: NodeStore) -> Lineage:
    """Two states on main, a third on ``try``, a running campaign, and a job result with an artifact of its own."""
    lineage = new_node(store)
    store.write_config_text(NODE, VALID_CONFIG)
    lineage.commit()
    fork = lineage.fork(variant=1)
    store.commit(fork.draft(n_entries=2), "try", None)
    head = lineage.commit()
    store.finish_campaign(store.start_campaign(NODE, "main", 1, lineage_start(store)).id)
    store.start_campaign(NODE, "main", 2, head)
    shard = store.artifacts.put_bytes(b"a shard of candidates")
    key = "ab" * 32
    store.put_job_result(key, {"output": {"key": key, "shard": {"sha256": shard.sha256, "count": 3}}, "provenance": {}})
    return lineage


def lineage_start(store: NodeStore) -> str:
    return store.state(f"{NODE}~1").id


def local_files(directory: Path) -> list[Path]:
    return [path for path in sorted(directory.rglob("*")) if path.is_file() and not path.name.endswith(".lock")]


def make_old(store: NodeStore, days: float = 30.0) -> None:
    """Set the age of everything that is stored, as if nobody had touched it for so long."""
    then = time.time() - days * DAYS
    if isinstance(store.backend, EmbeddedBackend):
        folder = store.backend.directory
    else:
        from datetime import UTC, datetime

        folder = None
        for name in store.backend.connection.database.list_collection_names():
            collection = store.backend.connection.database[name]
            collection.update_many({"stored_at": {"$exists": True}}, {"$set": {"stored_at": datetime.fromtimestamp(then, UTC)}})
    for top in {folder, store.artifacts.directory} - {None}:
        for path in [top, *top.rglob("*")]:
            os.utime(path, (then, then))
