"""The database on a MongoDB server, through pymongo.

Documents are written before the state document that needs them, and the branch last, so a crash leaves at most documents that
nothing refers to. Ids are content, so writing them again changes nothing.
"""

from __future__ import annotations

import json
import re
from contextlib import contextmanager, suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from coevo.errors import CorruptArtifactError, QueryError, StorageError
from coevo.node_store.backend import Backend
from coevo.node_store.canonical import digest, dump_plain, plain, structure_document_id
from coevo.node_store.mongodb_lease import mongodb_run_lock

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from pymongo.collection import Collection as MongoCollection
    from pymongo.database import Database

    from coevo.node_store.backend import Kind
    from coevo.node_store.states import PreparedState

DEFAULT_DATABASE = "coevo"
CLIENT_OPTIONS: dict[str, Any] = {"w": "majority", "journal": True, "serverSelectionTimeoutMS": 10_000, "appname": "coevo"}
"""Unless the URI says otherwise: a commit that was acknowledged is on disk on most members of the replica set."""
BATCH = 1000
"""Documents in one insert, and ids in one ``$in``: far below the limits of 48 MB a message and 16 MB a document."""

INDEXES: dict[str, tuple[tuple[tuple[str, int], ...], ...]] = {
    "states": ((("node", 1), ("state", 1)),),
    "evaluations": (
        (("state", 1), ("kind", 1), ("structure_id", 1)),
        (("state", 1), ("kind", 1), ("energy_above_hull", 1), ("structure_id", 1)),
        (("state", 1), ("kind", 1), ("chemical_formula_reduced", 1)),
        (("structure_id", 1),),
    ),
    "campaigns": ((("node", 1), ("created", 1)),),
}
"""Every index besides ``_id``; created when they are missing."""

_INVALID_FILTER_CODES = {2, 9, 14, 51, 51091, 40353}
"""MongoDB's BadValue, FailedToParse, TypeMismatch and relatives: the filter, not the server."""


class MongoBackend(Backend):
    """A database on a server; nothing is sent before the first call.

    Parameters
    ----------
    uri : str
        ``mongodb://[USER:PASSWORD@]HOST[,HOST…]/[DATABASE]``; the database is ``coevo`` if none is named. Options in the URI win
        over the defaults: write concern majority with journal, 10 s to find a server.
    """

    def __init__(self, uri: str):
        self._uri = uri

    def __repr__(self) -> str:
        return f"MongoBackend({self.place})"

    @property
    def place(self) -> str:
        """Host and database, without user and password."""
        return re.sub(r"^(mongodb(?:\+srv)?://)(?:.*@)?([^?]*).*$", r"\1\2", self._uri, flags=re.DOTALL)

    # --- connection

    @contextmanager
    def _errors(self, doing: str) -> Iterator[None]:
        from pymongo.errors import PyMongoError

        try:
            yield
        except PyMongoError as err:
            raise self._failed(doing, err) from None  # the chained error would print the URI

    def _failed(self, doing: str, err: Exception) -> StorageError:
        return StorageError(
            f"{doing} failed at {self.place}: {type(err).__name__}: {self._without_credentials(str(err))[:400]}; "
            "check that the server runs and COEVO_DATABASE; what was committed before is untouched"
        )

    def _without_credentials(self, text: str) -> str:
        match = re.match(r"^[^:]+://(.*)@", self._uri, flags=re.DOTALL)
        for secret in [self._uri, *([match[1], *match[1].split(":", 1)] if match else [])]:
            if secret:
                text = text.replace(secret, "***")
        return text

    @cached_property
    def _database(self) -> Database[dict[str, Any]]:
        from pymongo import MongoClient

        given = {part.split("=")[0].lower() for part in self._uri.partition("?")[2].split("&")}
        options = {name: value for name, value in CLIENT_OPTIONS.items() if name.lower() not in given}
        with self._errors("connecting"):
            try:
                client: MongoClient[dict[str, Any]] = MongoClient(self._uri, **options)
            except (ValueError, TypeError) as err:  # what pymongo raises for options that it cannot read
                raise self._failed("connecting", err) from None
        try:
            with self._errors("creating indexes"):
                database = client.get_default_database(default=DEFAULT_DATABASE)
                for collection, indexes in INDEXES.items():
                    for keys in indexes:
                        database[collection].create_index(list(keys))
        except BaseException:
            client.close()
            raise
        return database

    @override
    def close(self) -> None:
        if "_database" in self.__dict__:
            self._database.client.close()
            del self._database

    def _collection(self, name: str) -> MongoCollection[dict[str, Any]]:
        return self._database[name]

    # --- nodes and branches

    @override
    def create_node(self, document: dict[str, Any]) -> dict[str, Any]:
        from pymongo.errors import DuplicateKeyError

        row = {"_id": document["name"], "document": document, "config_text": document["config_text"], "branches": {}}
        with self._errors("creating a node"), suppress(DuplicateKeyError):
            self._collection("nodes").insert_one(row)
        stored = self.node_document(document["name"])
        assert stored is not None
        return stored

    @override
    def node_names(self) -> list[str]:
        with self._errors("listing nodes"):
            return sorted(document["_id"] for document in self._collection("nodes").find({}, {"_id": True}))

    def _node(self, name: str, field: str) -> Any:
        with self._errors("reading a node"):
            found = self._collection("nodes").find_one({"_id": name}, {field: True})
        return found[field] if found else None

    @override
    def node_document(self, name: str) -> dict[str, Any] | None:
        return self._node(name, "document")

    @override
    def read_config_text(self, name: str) -> str:
        return str(self._node(name, "config_text"))

    @override
    def config_source(self, name: str) -> str:
        return f"{self.place}, node {name}"

    @override
    def write_config_text(self, name: str, text: str) -> None:
        with self._errors("writing the configuration"):
            self._collection("nodes").update_one({"_id": name}, {"$set": {"config_text": text}})

    @override
    def branches(self, node: str) -> dict[str, str]:
        stored = self._node(node, "branches") or {}
        return {_branch_name(key): state for key, state in sorted(stored.items())}

    @override
    def move_branch(self, node: str, branch: str, expected: str | None, new: str) -> str | None:
        from pymongo import ReturnDocument

        field = f"branches.{_branch_key(branch)}"
        with self._errors("moving a branch"):
            # {field: None} matches a field that is missing
            moved = self._collection("nodes").find_one_and_update(
                {"_id": node, field: expected}, {"$set": {field: new}}, return_document=ReturnDocument.BEFORE
            )
        return expected if moved is not None else self.branches(node).get(branch)

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
        # as text, because a server may not keep the difference between 1 and 1.0, which the id depends on
        try:
            document, expected = json.loads(found["document"]), found["sha256"]
        except (KeyError, TypeError, ValueError):
            document, expected = None, None
        if document is None or digest(document) != expected:
            raise CorruptArtifactError(
                f"the document of state {state} of node {node} at {self.place} is damaged: its sha256 is not {expected}; "
                "restore it from a copy"
            )
        return document

    @override
    def write_state(self, node: str, document: dict[str, Any], prepared: PreparedState) -> None:
        state = document["_id"]
        for name, documents in (
            ("structures", prepared.structures),
            ("references", prepared.references),
            ("labels", prepared.labels),
            ("evaluations", [{"_id": f"{state}:{e['structure_id']}", "state": state, **e} for e in prepared.evaluations]),
        ):
            self._insert_new(name, documents)
        content = plain(document)
        row = {"_id": f"{node}:{state}", "node": node, "state": state}
        self._insert_new("states", [{**row, "sha256": digest(content), "document": dump_plain(content).decode()}])

    def _insert_new(self, name: str, documents: Sequence[dict[str, Any]]) -> None:
        """Insert what is not there yet; ids are content, so what is there is the same."""
        from pymongo.errors import BulkWriteError

        for batch in _batches(documents):
            with self._errors(f"writing {name}"):
                try:
                    self._collection(name).insert_many([dict(document) for document in batch], ordered=False)
                except BulkWriteError as err:
                    problems = err.details.get("writeErrors", [])
                    if err.details.get("writeConcernErrors") or any(problem.get("code") != 11000 for problem in problems):
                        raise

    @override
    def known(self, node: str, parents: Sequence[str], kind: Kind, ids: Collection[str]) -> set[str]:
        found = set()
        for batch in _batches(sorted(ids)):
            with self._errors(f"looking for {kind}"):
                found |= {document["_id"] for document in self._collection(kind).find({"_id": {"$in": batch}}, {"_id": True})}
        return found

    @override
    def documents(self, node: str, state: str, kind: Kind, ids: Sequence[str]) -> Iterator[dict[str, Any]]:
        for batch in _batches(ids):
            with self._errors(f"reading {kind}"):
                found = {document["_id"]: document for document in self._collection(kind).find({"_id": {"$in": batch}})}
            for identifier in batch:
                if identifier in found:
                    self._verify(kind, found[identifier])
                    yield found[identifier]

    def _verify(self, kind: Kind, document: dict[str, Any]) -> None:
        """Compare a geometry with its content id; the ids of labels are made elsewhere."""
        if kind == "labels":
            return
        try:
            content = structure_document_id(document["structure"])
        except (KeyError, TypeError, ValueError):
            content = "none"
        if content != document["_id"]:
            raise CorruptArtifactError(
                f"document {document['_id']} of {kind} at {self.place} is damaged: its structure has the content id {content}; "
                "restore it from a copy"
            )

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
    def evaluation(self, node: str, state: str, structure_id: str) -> dict[str, Any] | None:
        with self._errors("reading an evaluation"):
            return self._collection("evaluations").find_one({"_id": f"{state}:{structure_id}"})

    # --- jobs, campaigns, locks

    @override
    def job_result(self, key: str) -> dict[str, Any] | None:
        with self._errors("reading a job result"):
            found = self._collection("job_results").find_one({"_id": key})
        return json.loads(found["document"]) if found else None

    @override
    def put_job_result(self, key: str, document: dict[str, Any]) -> dict[str, Any]:
        from pymongo.errors import DuplicateKeyError

        content = plain(document)
        with self._errors("writing a job result"):
            try:
                # as text: results hold any JSON, also integers and keys that BSON does not
                self._collection("job_results").insert_one({"_id": key, "document": dump_plain(content).decode()})
            except DuplicateKeyError:
                pass
            else:
                return content
        stored = self.job_result(key)
        return content if stored is None else stored

    @override
    def drop_job_result(self, key: str) -> None:
        with self._errors("removing a job result"):
            self._collection("job_results").delete_one({"_id": key})

    @override
    def campaigns(self, node: str) -> list[dict[str, Any]]:
        with self._errors("reading campaigns"):
            found = list(self._collection("campaigns").find({"node": node}, {"_id": False}))
        return sorted(found, key=lambda document: (document["created"], document["id"]))

    @override
    def insert_campaign(self, document: dict[str, Any]) -> dict[str, Any]:
        self._insert_new("campaigns", [{"_id": document["id"], **document}])
        with self._errors("reading a campaign"):
            found = self._collection("campaigns").find_one({"_id": document["id"]}, {"_id": False})
        assert found is not None
        return found

    @override
    def update_campaign(self, identifier: str, changes: dict[str, Any]) -> bool:
        with self._errors("writing a campaign"):
            return self._collection("campaigns").update_one({"_id": identifier}, {"$set": changes}).matched_count == 1

    @override
    def run_lock(self, node: str) -> AbstractContextManager[None]:
        return mongodb_run_lock(self._collection("locks"), node, self._errors)


def _batches(items: Iterable[Any]) -> Iterator[list[Any]]:
    batch: list[Any] = []
    for item in items:
        batch.append(item)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _branch_key(branch: str) -> str:
    """Write a branch name as a field name: a dot would be a path."""
    return branch.replace("%", "%25").replace(".", "%2E")


def _branch_name(key: str) -> str:
    return key.replace("%2E", ".").replace("%25", "%")
