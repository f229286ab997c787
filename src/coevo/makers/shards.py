"""Shards between jobs: a job writes records as one artifact and passes its reference, never the structures themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coevo.node_store.shards import read_shard, write_shard

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from coevo.node_store.store import NodeStore

Record = dict[str, Any]
ShardReference = dict[str, Any]
"""``{"sha256": str, "count": int}``."""


def write_records(store: NodeStore, records: Iterable[Record]) -> ShardReference:
    """Write records (JSON documents) as one shard."""
    rows = list(records)
    return {"sha256": write_shard(store.artifacts, rows).sha256, "count": len(rows)}


def read_records(store: NodeStore, shards: ShardReference | Sequence[ShardReference]) -> Iterator[Record]:
    """Read the records of one shard or of several, in order; every byte is verified against its hash."""
    for shard in [shards] if isinstance(shards, dict) else shards:
        yield from read_shard(store.artifacts, shard["sha256"])
