"""Reading a state: its entries, evaluations, structures, references and labels."""

from __future__ import annotations

import json
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from coevo.errors import ArtifactNotFoundError, ConfigError, CorruptArtifactError, QueryError, StateNotFoundError
from coevo.node_store.canonical import dump_plain, structure_from_document
from coevo.node_store.documents import STATE_VERSION
from coevo.node_store.identity import identity_digest
from coevo.node_store.prepared_documents import Line, split_evaluation
from coevo.node_store.queries.joined_fields import said_by, with_ids
from coevo.node_store.study_documents import read_studies

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from pymatgen.core import Structure

    from coevo.node_store.backend import Backend
    from coevo.node_store.blobs.artifacts import ArtifactStore
    from coevo.node_store.prepared_documents import SplitEvaluation
    from coevo.node_store.queries.joined_fields import Said
    from coevo.node_store.study_documents import StoredStudy


_T = TypeVar("_T")
_STORE_FIELDS = {"_id", "state", "stored_at"}


class StateView:
    """An immutable state of a node, opened for reading; obtained from :meth:`NodeStore.state`.

    Attributes
    ----------
    id : str
    node : str
    document : dict
        The state document (:class:`coevo.node_store.documents.StateDocument`).
    """

    def __init__(self, backend: Backend, artifacts: ArtifactStore, node: str, document: dict[str, Any]):
        self._backend = backend
        self._artifacts = artifacts
        self.id: str = document["_id"]
        self.node = node
        self.document = document

    def __repr__(self) -> str:
        return f"StateView({self.node}@{self.id[:12]}, iteration {self.iteration})"

    @property
    def parents(self) -> tuple[str, ...]:
        """Ids of the states that this one was made from; the first is the one that was continued."""
        return tuple(self.document["parents"])

    @property
    def iteration(self) -> int:
        """How many transitions lead here from the seed state."""
        return int(self.document["iteration"])

    @property
    def started_from(self) -> dict[str, str] | None:
        """``node`` and ``state`` that the first state of a node began with; None of all others."""
        return self.document.get("started_from")

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """Ids of ``structures`` and ``references``, ``labels`` with splits, ``samples``, ``offsets``; ``refuted`` if any."""
        return json.loads(self._artifacts.get_bytes(self.document["manifest"]["sha256"]))

    # --- evaluations

    def entries(
        self,
        filter: dict[str, Any] | None = None,  # noqa: A002 - MongoDB's word
        projection: Collection[str] | Mapping[str, Any] | None = None,
        sort: Sequence[tuple[str, int]] | None = None,
        limit: int = 0,
        skip: int = 0,
    ) -> Iterator[dict[str, Any]]:
        """Yield the evaluations of entries that match a MongoDB filter.

        Parameters
        ----------
        filter : dict, optional
            For instance from :func:`coevo.node_store.queries.queries.parse_filter`.
        projection : names, or mapping of name to 0 or 1, optional
            Top-level fields wanted. ``relaxed``, the only large one, is read only if it is wanted.
        sort : list of (field, 1 or -1), optional
            Ties, and everything without a sort, are in the order of structure ids.
        limit, skip : int
            0 means no limit.

        Raises
        ------
        QueryError
            If the filter is not valid.
        """
        query = {"kind": "entry"} if not filter else {"$and": [{"kind": "entry"}, filter]}
        return self._evaluations(query, projection, sort or (), limit, skip)

    def matching(
        self,
        filter: dict[str, Any],  # noqa: A002 - MongoDB's word
        *,
        kinds: Sequence[Literal["entry", "reference"]] = ("entry", "reference"),
        sort: Sequence[tuple[str, int]] = (),
        limit: int = 0,
    ) -> Iterator[dict[str, Any]]:
        """Yield the evaluations of entries and references that match a MongoDB filter; raises as :meth:`entries`."""
        return self._evaluations({"$and": [{"kind": {"$in": list(kinds)}}, filter]}, None, sort, limit, 0)

    def count_entries(self, filter: dict[str, Any] | None = None) -> int:  # noqa: A002 - MongoDB's word
        """How many entries match a MongoDB filter; raises as :meth:`entries`."""
        query = {"kind": "entry"} if not filter else {"$and": [{"kind": "entry"}, filter]}
        return self._backend.count_evaluations(self.node, self.id, self._answerable(query))

    def evaluations(self, kind: Literal["entry", "reference"] | None = None) -> Iterator[dict[str, Any]]:
        """Yield all evaluations, in the order of structure ids."""
        return self._evaluations({"kind": kind} if kind else {}, None, (), 0, 0)

    def split_evaluations(self) -> Iterator[SplitEvaluation]:
        """Yield all evaluations as canonical JSON, in the order of structure ids."""
        found = self._backend.split_evaluations(self.node, self.id)
        if found is not None:
            return found
        return (split_evaluation(document, dump_plain(document)) for document in self.evaluations())

    def evaluation(self, structure_id: str) -> dict[str, Any]:
        """Return the evaluation of one entry or reference.

        Raises
        ------
        QueryError
            If the state has none.
        """
        found = self._backend.evaluation(self.node, self.id, structure_id)
        if found is None:
            raise QueryError(f"{structure_id} is neither an entry nor a reference of {self.node}@{self.id[:12]}")
        return _without_store_fields(found)

    def _evaluations(
        self,
        query: dict[str, Any],
        projection: Collection[str] | Mapping[str, Any] | None,
        sort: Sequence[tuple[str, int]],
        limit: int,
        skip: int,
    ) -> Iterator[dict[str, Any]]:
        query = self._answerable(query)
        wanted, unwanted = _split_projection(projection)
        found = self._backend.evaluations(self.node, self.id, query, wanted, sort, limit, skip)
        for document in found:
            yield {key: value for key, value in document.items() if key not in _STORE_FIELDS and key not in unwanted}

    def _answerable(self, query: dict[str, Any]) -> dict[str, Any]:
        """Return a filter as the backends can answer it: on what they store."""
        _refuse_geometry_queries(query)
        return with_ids(query, self._said)

    # --- documents

    def structure(self, structure_id: str, relaxed: bool = True) -> Structure:
        """Return the geometry of an entry or reference.

        Parameters
        ----------
        structure_id : str
        relaxed : bool
            This state's own relaxed geometry where it differs from the stored one; otherwise the geometry as admitted.

        Raises
        ------
        QueryError
            If it is neither an entry nor a reference of this state.
        """
        evaluation = self.evaluation(structure_id)
        if relaxed and evaluation.get("relaxed"):
            return structure_from_document(evaluation["relaxed"])
        kind: Literal["structures", "references"] = "structures" if evaluation["kind"] == "entry" else "references"
        for document in self._backend.documents(self.node, self.id, kind, [structure_id]):
            return structure_from_document(document["structure"])
        raise self._lost(kind, structure_id)

    def structure_documents(self, ids: Iterable[str] | None = None) -> Iterator[dict[str, Any]]:
        """Yield the documents of entries as admitted, in the order of ``ids``; all entries of the state by default."""
        return self.documents("structures", list(self.manifest["structures"] if ids is None else ids))

    def references(self) -> Iterator[dict[str, Any]]:
        """Yield the state's reference documents, in the order of ids."""
        return self.documents("references", self.manifest["references"])

    def labels(self) -> Iterator[dict[str, Any]]:
        """Yield the state's label documents with their ``split``, in the order of ids."""
        splits = self.manifest["labels"]
        for document in self.documents("labels", sorted(splits)):
            yield {**document, "split": splits[document["_id"]]}

    def documents(self, kind: Literal["structures", "references", "labels"], ids: Sequence[str]) -> Iterator[dict[str, Any]]:
        """Yield documents of the state as they are stored, in the order of ``ids``.

        Raises
        ------
        ArtifactNotFoundError
            If one of them is not there.
        """
        found = self._backend.documents(self.node, self.id, kind, ids)
        return self._all(kind, ids, ((document["_id"], document) for document in found))

    def lines(self, kind: Literal["structures", "references", "labels"], ids: Sequence[str]) -> Iterator[Line]:
        """Yield documents as canonical JSON; raises as :meth:`documents`."""
        found = self._backend.document_lines(self.node, self.id, kind, ids)
        if found is None:
            return (Line(document["_id"], dump_plain(document)) for document in self.documents(kind, ids))
        return self._all(kind, ids, ((line.id, line) for line in found))

    def _all(
        self, kind: Literal["structures", "references", "labels"], ids: Sequence[str], documents: Iterator[tuple[str, _T]]
    ) -> Iterator[_T]:
        count = 0
        for identifier, document in documents:
            # a gap is seen at once, because documents come in the order of ids
            if identifier != ids[count]:
                raise self._lost(kind, ids[count])
            count += 1
            yield document
        if count < len(ids):
            raise self._lost(kind, ids[count])

    def _lost(self, kind: str, identifier: str) -> ArtifactNotFoundError:
        return ArtifactNotFoundError(
            f"{kind[:-1]} {identifier} of {self.node}@{self.id[:12]} is not in the database: it was removed, or never belonged "
            "to this state; restore the database from a copy if it should be there"
        )

    # --- studies

    def studies(self, kind: str | None = None) -> list[StoredStudy]:
        """Return the studies of this state, or those of one kind, in the order in which they were stored."""
        found = read_studies(self._backend, self.node, self.id)
        return [study for study in found if kind in (None, study.study)]

    def with_studied(self, documents: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """Yield evaluations with the fields that studies of this state say of them; what no study speaks of stays as it is."""
        said = self._said()
        return ({**document, **said.get(document["structure_id"], {})} for document in documents)

    def _said(self) -> Said:
        return said_by(self.studies(), self.document["checkpoints"]["force_field"]["sha256"])

    # --- lineage

    def parent(self) -> StateView | None:
        """Return the state that this one continued, or None for a seed state."""
        return self._open(self.parents[0]) if self.parents else None

    def parent_views(self) -> list[StateView]:
        """Return all parents; two, the one that was continued first, if the state is a merge."""
        return [self._open(parent) for parent in self.parents]

    def first_parents(self) -> Iterator[StateView]:
        """Yield the states that were continued to make this one, newest first; those that were merged in are left out."""
        view = self.parent()
        while view is not None:
            yield view
            view = view.parent()

    def ancestors(self) -> Iterator[StateView]:
        """Yield the states that this one descends from, newest first, each once; itself not included."""
        seen: dict[str, StateView] = {parent: self._open(parent) for parent in self.parents}
        queue = list(seen.values())
        while queue:
            queue.sort(key=lambda view: (-view.iteration, view.document["created"], view.id))
            view = queue.pop(0)
            yield view
            for parent in view.parents:
                if parent not in seen:
                    seen[parent] = self._open(parent)
                    queue.append(seen[parent])

    def _open(self, state: str) -> StateView:
        try:
            return open_state(self._backend, self._artifacts, self.node, state)
        except StateNotFoundError as err:
            raise CorruptArtifactError(f"a state before {self.node}@{self.id} is missing: {err}; restore it from a copy") from err


def open_state(backend: Backend, artifacts: ArtifactStore, node: str, state: str) -> StateView:
    """Open a state by its full id, after recomputing the id from its document.

    Raises
    ------
    StateNotFoundError
        If it is not stored.
    CorruptArtifactError
        If the document is not that of this id.
    ConfigError
        If it was written by a newer version of this package, in a way that this one does not know.
    """
    document = backend.state_document(node, state)
    if document is None:
        raise StateNotFoundError(f"node {node} has no state {state}")
    if isinstance(document.get("schema_version"), int) and document["schema_version"] > STATE_VERSION:
        raise ConfigError(
            f"state {state} of node {node} has schema version {document['schema_version']}, this coevo reads up to "
            f"{STATE_VERSION}; install a newer coevo"
        )
    try:
        found = identity_digest(document)
    except (KeyError, TypeError, ValueError) as err:
        found = f"none ({type(err).__name__}: {err})"
    if found != state or document.get("_id") != state:
        raise CorruptArtifactError(
            f"the document of state {state} of node {node} is damaged: expected id {state}, found {found}; restore it from a copy"
        )
    return StateView(backend, artifacts, node, document)


def _without_store_fields(document: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in document.items() if key not in _STORE_FIELDS}


def _split_projection(projection: Collection[str] | Mapping[str, Any] | None) -> tuple[set[str] | None, set[str]]:
    """Return the fields wanted (None for all) and the fields not wanted."""
    if projection is None:
        return None, set()
    if isinstance(projection, str):
        raise QueryError(f"the projection {projection!r} is one string; give a list of field names")
    if not hasattr(projection, "items"):
        return set(projection), set()
    wanted = {name for name, flag in projection.items() if flag}
    unwanted = {name for name, flag in projection.items() if not flag}
    return (wanted, set()) if wanted else (None, unwanted)


def _refuse_geometry_queries(query: Any) -> None:
    """Refuse filters inside relaxed geometries, which only one of the backends could answer."""
    if isinstance(query, list):
        for item in query:
            _refuse_geometry_queries(item)
    elif isinstance(query, dict):
        for key, value in query.items():
            if key.startswith("relaxed."):
                raise QueryError(f"a filter cannot look into {key!r}; read the structures of the entries instead")
            _refuse_geometry_queries(value)
