"""Upkeep of a database on a MongoDB server: rows that repeat what states say, and rows that belong to no state any more.

Nothing locks the server for garbage collection. Instead, whoever refers to a row that is there already first refreshes its
``stored_at``, and a row is only ever removed by an operation that itself asks for an old ``stored_at``: one of the two comes
first, and the other one notices.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from coevo.node_store.backend import KINDS
from coevo.node_store.backend_upkeep import DAMAGE, Finding, Upkeep
from coevo.node_store.blobs.stored import Tally
from coevo.node_store.canonical import plain
from coevo.node_store.mongodb.rows import READABLE, ROW_HASH, STORED_AT, in_batches, row_hash

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from coevo.node_store.backend import Backend, Kind
    from coevo.node_store.mongodb.database import MongoBackend
    from coevo.node_store.views import StateView

OF_STATES = {"evaluations": "evaluations", "state_labels": "labels of states"}
"""Collections with rows for each state, and what garbage collection calls them."""
RESTORE = "restore it from a copy, or import the state from a bundle"
FORGET = "restore it from a copy, or remove it: a branch then goes on with the seed of its state, a command as if it were new"
MIGRATE = "restore the row from a copy; or take it as it is, if its content id is right: coevo migrate NODE --again"


class MongoUpkeep(Upkeep):
    """Upkeep of a database on a server.

    Parameters
    ----------
    backend : MongoBackend
    """

    shares_documents = True
    damage = DAMAGE

    def __init__(self, backend: MongoBackend):
        self._backend = backend
        self._place = backend.connection.place
        self._errors = backend.connection.errors
        self._collection = backend.connection.collection

    @override
    def reader(self) -> Backend:
        return self._backend

    # --- verification

    @override
    def has_remains(self, node: str) -> bool:
        with self._errors("looking for a node"):
            return self._collection("states").find_one({"node": node}, {"_id": True}) is not None

    @override
    def branches(self, node: str) -> tuple[dict[str, str], list[Finding]]:
        return self._backend.branches(node), []

    @override
    def examine_node(self, node: str) -> Iterator[Finding]:
        with self._errors("reading a node"):
            row = self._collection("nodes").find_one({"_id": node}) or {}
            if row and row.get(ROW_HASH) != row_hash(row.get("document")):
                yield Finding("problem", "its hash is missing or another", self._where("nodes", node), MIGRATE)
            for row in self._collection("campaigns").find({"node": {"$nin": self._backend.node_names()}}):
                yield Finding("problem", f"there is no node {row.get('node')!r}", self._where("campaigns", row["_id"]), RESTORE)
            for row in self._collection("campaigns").find({"node": node, ROW_HASH: {"$exists": False}}, {"_id": True}):
                yield Finding("problem", "it has no hash", self._where("campaigns", row["_id"]), MIGRATE)
            for row in self._collection("notes").find({"node": node}):
                if row.get(ROW_HASH) != row_hash(row.get("document")):
                    yield Finding("problem", "it has another hash", self._where("notes", row["_id"]), FORGET)
            for row in self._collection("job_results").find({ROW_HASH: {"$exists": False}}, {"_id": True}):
                yield Finding("problem", "it has no hash", self._where("job_results", row["_id"]), MIGRATE)

    @override
    def examine_state(self, view: StateView, *, quick: bool) -> Iterator[Finding]:
        with self._errors("reading a state"):
            row = self._collection("states").find_one({"_id": f"{view.node}:{view.id}"}) or {}
        written = {"node": view.node, "state": view.id} | plain({k: v for k, v in view.document.items() if k in READABLE})
        other = sorted(key for key in ("node", "state", *READABLE) if row.get(key) != written.get(key))
        if other:
            what = f"its readable {', '.join(other)} are not what its document says; only queries in the Mongo shell see them"
            yield Finding(
                "problem",
                what,
                self._where("states", f"{view.node}:{view.id}"),
                f"write them again: coevo migrate {view.node} --again",
            )
        with self._errors("reading which labels a state has"):
            rows = self._collection("state_labels").find({"state": view.id}, {"label": True, "split": True})
            if {row.get("label"): row.get("split") for row in rows} != view.manifest["labels"]:
                what = "the rows that say which labels it has are not what its manifest says"
                yield Finding(
                    "problem", what, self._where("state_labels", view.id), f"write them again: coevo migrate {view.node} --again"
                )
        if not quick:
            yield from self._rows_without_hash(view)

    def _rows_without_hash(self, view: StateView) -> Iterator[Finding]:
        inherited = [parent.manifest for parent in view.parent_views()]
        for kind in KINDS:
            added = sorted(set(view.manifest[kind]).difference(*(manifest[kind] for manifest in inherited)))
            for batch in in_batches(added):
                with self._errors(f"reading {kind}"):
                    rows = self._collection(kind).find({"_id": {"$in": batch}, ROW_HASH: {"$exists": False}}, {"_id": True})
                    lacking = [row["_id"] for row in rows]
                if lacking:
                    yield Finding("problem", f"{len(lacking)} rows have no hash", self._where(kind, min(lacking)), MIGRATE)

    def _where(self, collection: str, identifier: str) -> str:
        return f"{self._place}, {collection}, {identifier}"

    # --- garbage collection

    @override
    def stored_at(self, node: str, state: str) -> float:
        with self._errors("looking at a state"):
            row = self._collection("states").find_one({"_id": f"{node}:{state}"}, {STORED_AT: True}) or {}
        found = row.get(STORED_AT)
        # a row without a time is not known to be old
        return found.replace(tzinfo=UTC).timestamp() if isinstance(found, datetime) else float("inf")

    @override
    def state_size(self, node: str, state: str) -> int:
        return self._rows("states", {"_id": f"{node}:{state}"}).bytes

    @override
    def remove_states(self, node: str, doomed: Callable[[], Sequence[str]], before: float) -> Iterator[int]:
        while chosen := doomed():
            for state in chosen:
                size = self.state_size(node, state)
                old = {"_id": f"{node}:{state}", STORED_AT: {"$lt": _time(before)}}
                with self._errors("removing a state"):
                    done = self._collection("states").delete_one(old).deleted_count
                if not done:
                    break  # somebody wants it: what is to go is chosen again, without its ancestors
                yield size
            else:
                return

    @override
    def shared_garbage(
        self, states: Collection[str], kept: Callable[[Kind], Collection[str]], before: float, *, delete: bool
    ) -> dict[str, Tally]:
        found = {}
        for name, label in OF_STATES.items():
            with self._errors(f"listing {name}"):
                strangers = [state for state in self._collection(name).distinct("state") if state not in states]
            found[label] = Tally()
            for state in strangers:
                self._collect(name, {"state": state}, before, found[label], delete=delete)
        for kind in KINDS:
            members = kept(kind)
            with self._errors(f"listing {kind}"):
                rows = self._collection(kind).find({STORED_AT: {"$lt": _time(before)}}, {"_id": True})
                found[kind] = Tally()
                for batch in in_batches(row["_id"] for row in rows if row["_id"] not in members):
                    self._collect(kind, {"_id": {"$in": batch}}, before, found[kind], delete=delete)
        return found

    def _collect(self, name: str, query: dict[str, Any], before: float, tally: Tally, *, delete: bool) -> None:
        old = {**query, STORED_AT: {"$lt": _time(before)}}
        rows = self._rows(name, old)
        if delete and rows.count:
            with self._errors(f"removing {name}"):
                rows.count = self._collection(name).delete_many(old).deleted_count
        tally.count += rows.count
        tally.bytes += rows.bytes

    def _rows(self, name: str, query: dict[str, Any]) -> Tally:
        """Count rows and their bytes, uncompressed."""
        import bson

        tally = Tally()
        with self._errors(f"reading {name}"):
            for row in self._collection(name).find(query):
                tally.add(len(bson.encode(row)))
        return tally

    @override
    def leftovers(self, before: float, *, delete: bool) -> Tally:
        return Tally()

    # --- migration

    @override
    def write_schema_version(self, node: str, version: int) -> None:
        document = self._backend.node_document(node)
        assert document is not None
        new = {**document, "schema_version": version}
        with self._errors("writing the schema version"):
            self._collection("nodes").update_one({"_id": node}, {"$set": {"document": new, ROW_HASH: row_hash(new)}})


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
