"""Migrations of nodes on a MongoDB server."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from coevo.errors import NodeBusyError
from coevo.node_store.mongodb.rows import HASHED, ROW_HASH, STORED_AT, in_batches, row_hash, state_label_rows, state_row

if TYPE_CHECKING:
    from coevo.node_store.blobs.artifacts import ArtifactStore
    from coevo.node_store.mongodb.database import MongoBackend

STAMPED = ("states", "structures", "references", "labels", "evaluations", "state_labels", "campaigns")


def complete_rows(backend: MongoBackend, artifacts: ArtifactStore, node: str) -> None:
    """From version 1 to 2: readable fields and labels of states, and for all rows of the database a time and a hash.

    Raises
    ------
    NodeBusyError
        If a process of version 1 runs a campaign on the node.
    CorruptArtifactError
        If a state or its manifest cannot be read.
    """
    connection = backend.connection
    with connection.errors("looking for a lock of version 1"):
        held = connection.collection("locks").find_one({"_id": f"run:{node}"})
        if held and held["expires"] > datetime.now(UTC).replace(tzinfo=None):
            raise NodeBusyError(
                f"node {node} is being run by process {held.get('pid')} of an older coevo on {held.get('host')}; wait for it to "
                "end, or stop it (its lease runs out within two minutes)"
            )
    now = datetime.now(UTC)
    for state in backend.state_ids(node):
        document = backend.state_document(node, state)
        assert document is not None
        manifest = json.loads(artifacts.get_bytes(document["manifest"]["sha256"]))
        _write_labels(backend, state, manifest["labels"])
        row = state_row(node, document)
        with connection.errors("writing the readable fields of a state"):
            connection.collection("states").update_one({"_id": row["_id"]}, {"$set": row})
    for name in STAMPED:
        with connection.errors(f"writing the times of {name}"):
            connection.collection(name).update_many({STORED_AT: {"$exists": False}}, {"$set": {STORED_AT: now}})
    for name in (*HASHED, "job_results"):
        _write_missing_hashes(backend, name)


def _write_labels(backend: MongoBackend, state: str, splits: dict[str, str]) -> None:
    connection = backend.connection
    with connection.errors("reading which labels a state has"):
        rows = list(connection.collection("state_labels").find({"state": state}))
        wrong = [row["_id"] for row in rows if splits.get(str(row.get("label"))) != row.get("split")]
        if wrong:
            connection.collection("state_labels").delete_many({"_id": {"$in": wrong}})
    backend.rows.insert_new("state_labels", state_label_rows(state, splits))


def _write_missing_hashes(backend: MongoBackend, name: str) -> None:
    from pymongo import UpdateOne

    connection = backend.connection
    with connection.errors(f"writing the hashes of {name}"):
        ids = [row["_id"] for row in connection.collection(name).find({ROW_HASH: {"$exists": False}}, {"_id": True})]
    for batch in in_batches(ids):
        with connection.errors(f"writing the hashes of {name}"):
            rows = list(connection.collection(name).find({"_id": {"$in": batch}, ROW_HASH: {"$exists": False}}))
            updates = [
                UpdateOne({"_id": row["_id"], ROW_HASH: {"$exists": False}}, {"$set": {ROW_HASH: _hash(backend, name, row)}})
                for row in rows
            ]
            if updates:
                connection.collection(name).bulk_write(updates, ordered=False)


def _hash(backend: MongoBackend, name: str, row: dict[str, Any]) -> str:
    """Hash a row as it would be written now; one with another content than its id is refused."""
    return row_hash(row["document"] if name == "job_results" else backend.rows.document(name, row))
