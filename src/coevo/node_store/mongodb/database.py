"""The database on a MongoDB server, through pymongo.

Documents are written before the state document that needs them, and the branch last, so a crash leaves at most documents that
nothing refers to. Ids are content, so writing them again changes nothing.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from coevo.errors import CorruptArtifactError, QueryError, StateNotFoundError, StorageError
from coevo.node_store.backend import KINDS, Backend, Mark
from coevo.node_store.canonical import digest, dump_plain, plain
from coevo.node_store.mongodb.connection import MongoConnection
from coevo.node_store.mongodb.lease import mongodb_run_lock
from coevo.node_store.mongodb.rows import ROW_HASH, MongoRows, in_batches, row_hash, state_label_rows, state_row
from coevo.node_store.runs import now

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from contextlib import AbstractContextManager

    from coevo.node_store.backend import Kind
    from coevo.node_store.prepared_documents import PreparedState

_INVALID_FILTER_CODES = {2, 9, 14, 51, 51091, 40353}
"""MongoDB's BadValue, FailedToParse, TypeMismatch and relatives: the filter, not the server."""


class MongoBackend(Backend):
    """A database on a server; nothing is sent before the first call.

    Parameters
    ----------
    uri : str
        As :class:`~coevo.node_store.mongodb.connection.MongoConnection` takes it.

    Attributes
    ----------
    connection : MongoConnection
    rows : MongoRows
        For the upkeep of this database.
    """

    def __init__(self, uri: str):
        self.connection = MongoConnection(uri)
        self.rows = MongoRows(self.connection)
        self._errors = self.connection.errors
        self._collection = self.connection.collection

    def __repr__(self) -> str:
        return f"MongoBackend({self.connection.place})"

    @override
    def close(self) -> None:
        self.connection.close()

    # --- nodes and branches

    @override
    def create_node(self, document: dict[str, Any]) -> dict[str, Any]:
        from pymongo.errors import DuplicateKeyError

        row = {"_id": document["name"], "document": document, ROW_HASH: row_hash(document)}
        row |= {"config_text": document["config_text"], "branches": {}}
        with self._errors("creating a node"), suppress(DuplicateKeyError):
            self._collection("nodes").insert_one(row)
        stored = self.node_document(document["name"])
        assert stored is not None
        return stored

    @override
    def node_names(self) -> list[str]:
        with self._errors("listing nodes"):
            return sorted(document["_id"] for document in self._collection("nodes").find({}, {"_id": True}))

    def _node(self, name: str, *fields: str) -> dict[str, Any]:
        with self._errors("reading a node"):
            return self._collection("nodes").find_one({"_id": name}, dict.fromkeys(fields, True)) or {}

    @override
    def node_document(self, name: str) -> dict[str, Any] | None:
        row = self._node(name, "document", ROW_HASH)
        if not row:
            return None
        document = row.get("document")
        of_version_1 = ROW_HASH not in row and isinstance(document, dict) and document.get("schema_version") == 1
        if not of_version_1 and row.get(ROW_HASH) != row_hash(document):
            raise self.rows.damaged(f"the document of node {name}")
        return document

    @override
    def read_config_text(self, name: str) -> str:
        return str(self._node(name, "config_text").get("config_text"))

    @override
    def config_source(self, name: str) -> str:
        return f"{self.connection.place}, node {name}"

    @property
    @override
    def place(self) -> str:
        return self.connection.place

    @override
    def write_config_text(self, name: str, text: str) -> None:
        with self._errors("writing the configuration"):
            self._collection("nodes").update_one({"_id": name}, {"$set": {"config_text": text}})

    @override
    def branches(self, node: str) -> dict[str, str]:
        stored = self._node(node, "branches").get("branches", {})
        return {_branch_name(key): state for key, state in sorted(stored.items())}

    @override
    def move_branch(self, node: str, branch: str, expected: str | None, new: str) -> str | None:
        from pymongo import ReturnDocument

        field = f"branches.{_branch_key(branch)}"
        self.rows.want(node, [new])
        with self._errors("moving a branch"):
            # {field: None} matches a field that is missing
            moved = self._collection("nodes").find_one_and_update(
                {"_id": node, field: expected}, {"$set": {field: new}}, return_document=ReturnDocument.BEFORE
            )
        return expected if moved is not None else self.branches(node).get(branch)

    @override
    def delete_branch(self, node: str, branch: str, expected: str) -> str | None:
        field = f"branches.{_branch_key(branch)}"
        with suppress(StateNotFoundError):
            self.rows.want(node, [expected])  # its state stays for a while
        with self._errors("removing a branch"):
            done = self._collection("nodes").update_one({"_id": node, field: expected}, {"$unset": {field: ""}})
        return expected if done.matched_count else self.branches(node).get(branch)

    # --- states

    @override
    def state_ids(self, node: str, prefix: str = "") -> list[str]:
        query: dict[str, Any] = {"node": node}
        if prefix:
            query["state"] = {"$gte": prefix, "$lt": prefix + "g"}  # after every hexadecimal digit
        with self._errors("listing states"):
            return sorted(document["state"] for document in self._collection("states").find(query, {"state": True}))

    @override
    def state_document(self, node: str, state: str) -> dict[str, Any] | None:
        with self._errors("reading a state"):
            found = self._collection("states").find_one({"_id": f"{node}:{state}"})
        if found is None:
            return None
        try:
            document, expected = json.loads(found["document"]), found["sha256"]
        except (KeyError, TypeError, ValueError):
            document, expected = None, None
        if document is None or digest(document) != expected:
            raise CorruptArtifactError(
                f"the document of state {state} of node {node} at {self.connection.place} is damaged: its sha256 is not "
                f"{expected}; restore it from a copy"
            )
        return document

    @override
    def write_state(self, node: str, document: dict[str, Any], prepared: PreparedState) -> None:
        state = document["_id"]
        self.rows.want(node, document["parents"])
        for name, documents in (
            *((kind, getattr(prepared, kind).lines()) for kind in KINDS),
            ("evaluations", ({"_id": f"{state}:{e['structure_id']}", "state": state, **e} for e in prepared.evaluations)),
            ("state_labels", state_label_rows(state, prepared.manifest["labels"])),
        ):
            self.rows.insert_new(name, documents)
        self.rows.insert_new("states", [state_row(node, document)])

    @override
    def documents(self, node: str, state: str, kind: Kind, ids: Sequence[str]) -> Iterator[dict[str, Any]]:
        for batch in in_batches(ids):
            with self._errors(f"reading {kind}"):
                found = {document["_id"]: document for document in self._collection(kind).find({"_id": {"$in": batch}})}
            for identifier in batch:
                if identifier in found:
                    yield self.rows.document(kind, found[identifier])

    # --- evaluations

    @override
    def evaluations(
        self,
        node: str,
        state: str,
        query: dict[str, Any],
        fields: Collection[str] | None,
        sort: Sequence[tuple[str, int]],
        limit: int,
        skip: int,
    ) -> Iterator[dict[str, Any]]:
        from pymongo.errors import OperationFailure

        projection = None if fields is None else {"_id": False, **dict.fromkeys(fields, True)}
        order = [*sort, *([] if any(name == "structure_id" for name, _ in sort) else [("structure_id", 1)])]
        with self._errors("querying evaluations"):
            try:
                cursor = self._collection("evaluations").find({"$and": [{"state": state}, query]}, projection).sort(order)
                for document in cursor.skip(skip).limit(limit):
                    yield document if fields is None else {key: document[key] for key in fields if key in document}
            except OperationFailure as err:
                if err.code in _INVALID_FILTER_CODES:
                    raise QueryError(f"the filter {query} is not valid: {err.details}; see MongoDB's query operators") from None
                raise

    @override
    def count_evaluations(self, node: str, state: str, query: dict[str, Any]) -> int:
        from pymongo.errors import OperationFailure

        with self._errors("counting evaluations"):
            try:
                return self._collection("evaluations").count_documents({"$and": [{"state": state}, query]})
            except OperationFailure as err:
                if err.code in _INVALID_FILTER_CODES:
                    raise QueryError(f"the filter {query} is not valid: {err.details}; see MongoDB's query operators") from None
                raise

    @override
    def evaluation(self, node: str, state: str, structure_id: str) -> dict[str, Any] | None:
        with self._errors("reading an evaluation"):
            return self._collection("evaluations").find_one({"_id": f"{state}:{structure_id}"})

    # --- trust

    @override
    def mark_untrusted(self, sha256: str, reason: str) -> None:
        from pymongo.errors import DuplicateKeyError

        with self._errors("marking a checkpoint"), suppress(DuplicateKeyError):
            self._collection("untrusted").insert_one({"_id": sha256, "reason": reason})

    @override
    def mark_trusted(self, sha256: str, reason: str = "") -> None:
        with self._errors("trusting a checkpoint"):
            change = {"$set": {"trusted": now()}, "$setOnInsert": {"reason": reason}}
            self._collection("untrusted").update_one({"_id": sha256}, change, upsert=True)

    @override
    def mark(self, sha256: str) -> Mark | None:
        with self._errors("looking at a mark"):
            row = self._collection("untrusted").find_one({"_id": sha256})
        return None if row is None else Mark.from_dict(sha256, row)

    @override
    def marks(self) -> dict[str, Mark]:
        with self._errors("listing untrusted checkpoints"):
            rows = list(self._collection("untrusted").find({}).sort("_id", 1))
        return {row["_id"]: Mark.from_dict(row["_id"], row) for row in rows}

    # --- what came in bundles

    @override
    def put_arrival(self, node: str, identifier: str, document: dict[str, Any]) -> None:
        text = dump_plain(plain(document)).decode()
        row = {"_id": f"{node}:{identifier}", "node": node, "document": text, ROW_HASH: row_hash(text)}
        with self._errors("remembering what came in a bundle"):
            self._collection("arrivals").replace_one({"_id": row["_id"]}, row, upsert=True)

    @override
    def arrivals(self, node: str) -> dict[str, dict[str, Any]]:
        with self._errors("listing what came in bundles"):
            rows = list(self._collection("arrivals").find({"node": node}).sort("_id", 1))
        for row in rows:
            if row.get(ROW_HASH) != row_hash(row.get("document")):
                raise self.rows.damaged(f"the record {row['_id']} of what came in bundles")
        return {row["_id"].rpartition(":")[2]: json.loads(row["document"]) for row in rows}

    # --- notes

    @override
    def note(self, node: str, key: str) -> dict[str, Any] | None:
        with self._errors("reading a note"):
            found = self._collection("notes").find_one({"_id": f"{node}:{key}"})
        if found and found.get(ROW_HASH) != row_hash(found.get("document")):
            raise self.rows.damaged(f"note {key} of node {node}")
        return json.loads(found["document"]) if found else None

    @override
    def note_keys(self, node: str, prefix: str) -> list[str]:
        start = f"{node}:"
        with self._errors("reading the notes"):
            rows = self._collection("notes").find({"_id": {"$regex": f"^{re.escape(start + prefix)}"}}, {"_id": 1})
            return sorted(row["_id"].removeprefix(start) for row in rows)

    @override
    def write_note(self, node: str, key: str, document: dict[str, Any] | None) -> None:
        row = {"_id": f"{node}:{key}"}
        with self._errors("writing a note"):
            if document is None:
                self._collection("notes").delete_one(row)
                return
            text = dump_plain(plain(document)).decode()
            content = {"node": node, "document": text, ROW_HASH: row_hash(text)}
            self._collection("notes").replace_one(row, row | content, upsert=True)

    # --- jobs, campaigns, locks

    @override
    def job_result(self, key: str) -> dict[str, Any] | None:
        with self._errors("reading a job result"):
            found = self._collection("job_results").find_one({"_id": key})
        # rows of schema version 1 have no hash
        if found and found.get(ROW_HASH) not in {None, row_hash(found["document"])}:
            raise self.rows.damaged(f"the result of job {key}")
        return json.loads(found["document"]) if found else None

    @override
    def put_job_result(self, key: str, document: dict[str, Any]) -> dict[str, Any]:
        from pymongo.errors import DuplicateKeyError

        content = plain(document)
        with self._errors("writing a job result"):
            try:
                # as text: results hold any JSON, also integers and keys that BSON does not
                text = dump_plain(content).decode()
                self._collection("job_results").insert_one({"_id": key, "document": text, ROW_HASH: row_hash(text)})
            except DuplicateKeyError:
                pass
            else:
                return content
        stored = self.job_result(key)
        return content if stored is None else stored

    @override
    def job_keys(self) -> Iterator[str]:
        with self._errors("listing job results"):
            for row in self._collection("job_results").find({}, {"_id": True}).sort("_id", 1):
                yield row["_id"]

    @override
    def drop_job_result(self, key: str) -> None:
        with self._errors("removing a job result"):
            self._collection("job_results").delete_one({"_id": key})

    @override
    def campaigns(self, node: str) -> list[dict[str, Any]]:
        with self._errors("reading campaigns"):
            found = list(self._collection("campaigns").find({"node": node}))
        return sorted(map(self._campaign, found), key=lambda document: (document["created"], document["id"]))

    def _campaign(self, row: dict[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in self.rows.document("campaigns", row).items() if key != "_id"}

    @override
    def insert_campaign(self, document: dict[str, Any]) -> dict[str, Any]:
        self.rows.insert_new("campaigns", [{"_id": document["id"], **document}])
        with self._errors("reading a campaign"):
            found = self._collection("campaigns").find_one({"_id": document["id"]})
        assert found is not None
        return self._campaign(found)

    @override
    def update_campaign(self, identifier: str, changes: dict[str, Any]) -> bool:
        for _ in range(10):  # at most: once more for each other process that changes it in between
            with self._errors("writing a campaign"):
                row = self._collection("campaigns").find_one({"_id": identifier})
                if row is None:
                    return False
                new = {"_id": identifier, **self._campaign(row), **changes}
                done = self._collection("campaigns").update_one(
                    {"_id": identifier, ROW_HASH: row.get(ROW_HASH)}, {"$set": {**changes, ROW_HASH: row_hash(new)}}
                )
            if done.matched_count:
                return True
        raise StorageError(f"campaign {identifier} is being changed by other processes all the time; try again")

    @override
    def run_lock(self, node: str, branch: str) -> AbstractContextManager[None]:
        return mongodb_run_lock(self._collection("locks"), node, branch, self._errors)


def _branch_key(branch: str) -> str:
    """Write a branch name as a field name: a dot would be a path."""
    return branch.replace("%", "%25").replace(".", "%2E")


def _branch_name(key: str) -> str:
    return key.replace("%2E", ".").replace("%25", "%")
