"""Rows of a MongoDB server: how documents are written as rows, their hashes and ages, and inserting what is not there yet."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

from coevo.errors import CorruptArtifactError, StateNotFoundError
from coevo.node_store.canonical import digest, dump_plain, plain, read_plain, structure_document_id
from coevo.node_store.identity import label_id

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from coevo.node_store.mongodb.connection import MongoConnection
    from coevo.node_store.prepared_documents import Line

BATCH = 1000
"""Documents in one insert, and ids in one ``$in``: far below the limits of 48 MB a message and 16 MB a document."""

STORED_AT = "stored_at"
"""When a row was last written or wanted; garbage collection spares what is young. Never part of a document."""

ROW_HASH = "sha256"
"""Over a row as it was written, where no other hash covers the whole row. Never part of a document."""

HASHED = ("structures", "references", "labels", "campaigns")
"""Collections whose rows are hashed; evaluations and labels of states are covered by their state, the others hash a text."""

READABLE = ("parents", "iteration", "message", "elements", "checkpoints", "counts", "metrics", "created")
"""Fields of a state that its row repeats beside the text that its id is made from, for queries in the Mongo shell."""

DUPLICATE_KEY = 11000


def row_hash(content: Any) -> str:
    """Hash plain JSON as it goes into a row, or comes out of it."""
    return hashlib.sha256(dump_plain(content)).hexdigest()


def _row(name: str, document: dict[str, Any] | Line) -> dict[str, Any]:
    if not isinstance(document, dict):
        return {**read_plain(document.text), ROW_HASH: hashlib.sha256(document.text).hexdigest()}
    return {**document, ROW_HASH: row_hash(document)} if name in HASHED else document


def state_row(node: str, document: dict[str, Any]) -> dict[str, Any]:
    """Write a state as text, because a server may not keep the difference between 1 and 1.0, which the id depends on."""
    content = plain(document)
    row = {"_id": f"{node}:{document['_id']}", "node": node, "state": document["_id"]}
    row |= {key: content[key] for key in READABLE if key in content}
    return {**row, ROW_HASH: digest(content), "document": dump_plain(content).decode()}


def state_label_rows(state: str, splits: dict[str, str]) -> Iterator[dict[str, Any]]:
    """Say which labels a state has; its manifest is an artifact, which the Mongo shell cannot read."""
    return ({"_id": f"{state}:{label}", "state": state, "label": label, "split": split} for label, split in splits.items())


def in_batches(items: Iterable[Any]) -> Iterator[list[Any]]:
    """Split what comes into lists of at most :data:`BATCH`."""
    iterator = iter(items)
    while batch := list(islice(iterator, BATCH)):
        yield batch


class MongoRows:
    """Rows of one database.

    Parameters
    ----------
    connection : MongoConnection
    """

    def __init__(self, connection: MongoConnection):
        self._connection = connection
        self._errors = connection.errors
        self._collection = connection.collection

    # --- writing

    def want(self, node: str, states: Sequence[str]) -> None:
        """Refresh the age of states that something new will refer to, so that garbage collection leaves them from now on.

        Raises
        ------
        StateNotFoundError
            If one of them is not stored.
        """
        ids = sorted({f"{node}:{state}" for state in states})
        if not ids:
            return
        with self._errors("refreshing a state"):
            refresh = {"$set": {STORED_AT: datetime.now(UTC)}}
            found = self._collection("states").update_many({"_id": {"$in": ids}}, refresh).matched_count
        if found != len(ids):
            wanted = ", ".join(state[:16] for state in states)
            raise StateNotFoundError(
                f"of the states {wanted} of node {node} only {found} are stored (any more); nothing was changed; go on from the "
                "head of a branch, or restore the database from a copy"
            )

    def insert_new(self, name: str, documents: Iterable[dict[str, Any]] | Iterable[Line]) -> None:
        """Insert what is not there yet; ids are content, so what is there is the same, and only its age is refreshed."""
        for batch in in_batches(documents):
            rows = [_row(name, document) for document in batch]
            with self._errors(f"writing {name}"):
                # again, if garbage collection removed one that was there, before its age could be refreshed
                while rows := self._insert_batch(name, rows):
                    pass

    def _insert_batch(self, name: str, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Insert rows, refresh those that were there, and return those that vanished in between."""
        from pymongo.errors import BulkWriteError

        now, collection = datetime.now(UTC), self._collection(name)
        try:
            collection.insert_many([{**row, STORED_AT: now} for row in rows], ordered=False)
        except BulkWriteError as err:
            problems = err.details.get("writeErrors", [])
            if err.details.get("writeConcernErrors") or any(problem.get("code") != DUPLICATE_KEY for problem in problems):
                raise
            there = {rows[problem["index"]]["_id"]: rows[problem["index"]] for problem in problems}
            ids = {"_id": {"$in": list(there)}}
            if collection.update_many(ids, {"$set": {STORED_AT: now}}).matched_count == len(there):
                return []
            left = {row["_id"] for row in collection.find(ids, {"_id": True})}
            return [row for identifier, row in there.items() if identifier not in left]
        return []

    # --- reading

    def document(self, name: str, row: dict[str, Any]) -> dict[str, Any]:
        """Return the document of a row of a hashed collection.

        Raises
        ------
        CorruptArtifactError
            If it has another content than its id or its hash; rows of schema version 1 have no hash.
        """
        document = {key: value for key, value in row.items() if key not in {STORED_AT, ROW_HASH}}
        if name != "campaigns":
            try:
                content = label_id(document) if name == "labels" else structure_document_id(document["structure"])
            except (KeyError, TypeError, ValueError):
                content = "none"
            if content != row["_id"]:
                raise self.damaged(f"document {row['_id']} of {name}", f"its content id is {content}")
        if row.get(ROW_HASH) not in {None, row_hash(document)}:
            raise self.damaged(f"document {row['_id']} of {name}")
        return document

    def damaged(self, what: str, how: str = "it is not the one that was written") -> CorruptArtifactError:
        """Make the error about a row."""
        return CorruptArtifactError(f"{what} at {self._connection.place} is damaged: {how}; restore it from a copy")
