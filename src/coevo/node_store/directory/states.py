"""The states of one embedded node: directories of segments, and the documents that a state shares with its ancestors."""

from __future__ import annotations

import os
import re
import shutil
from collections import OrderedDict
from copy import deepcopy
from threading import Lock
from typing import TYPE_CHECKING, Any

from coevo.errors import CorruptArtifactError, StateNotFoundError, StorageError
from coevo.node_store.backend import KINDS
from coevo.node_store.canonical import read_plain
from coevo.node_store.directory.places import read_places, write_places
from coevo.node_store.directory.segments import Segment, SegmentWriter, write_segment
from coevo.node_store.durable import (
    make_directory,
    read_sealed,
    seal,
    storage_errors,
    sync_directory,
    temporary_name,
    write_synced,
)
from coevo.node_store.prepared_documents import Line, SplitEvaluation

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from pathlib import Path

    from coevo.node_store.backend import Kind
    from coevo.node_store.prepared_documents import PreparedState
    from coevo.node_store.queries.evaluation_index import EvaluationIndex

STATE_ID = re.compile(r"[0-9a-f]{64}")
INDEXED_STATES = 2
"""States of a node whose evaluations are kept in memory for filters, per process."""


class EmbeddedStates:
    """The directory ``states`` of a node.

    A state's directory holds what the state added (structures, references, labels) and its own evaluations; relaxed geometries
    are a segment of their own, because filters run over evaluations, which are small without them.

    Parameters
    ----------
    directory : Path
    """

    def __init__(self, directory: Path):
        self.directory = directory
        self._stored: dict[str, dict[str, Any]] = {}
        self._segments: dict[tuple[str, str], Segment] = {}
        self._indexes: OrderedDict[str, EvaluationIndex] = OrderedDict()
        self._indexing = Lock()
        self._places: OrderedDict[str, dict[Kind, dict[str, str]]] = OrderedDict()

    def ids(self, prefix: str) -> list[str]:
        """Ids of the states that start with a prefix, sorted."""
        with storage_errors("listing states", self.directory):
            names = [path.name for path in self.directory.iterdir()]
        return sorted(name for name in names if name.startswith(prefix) and STATE_ID.fullmatch(name))

    def document(self, state: str) -> dict[str, Any] | None:
        """Return the state document (a copy of its own), or None."""
        stored = self._read(state)
        return deepcopy(stored["state"]) if stored else None

    def _read(self, state: str) -> dict[str, Any] | None:
        if state not in self._stored:
            if not STATE_ID.fullmatch(state):
                return None
            try:
                self._stored[state] = read_sealed(self.directory / state / "state.json", f"state {state}")
            except FileNotFoundError:
                return None
        return self._stored[state]

    def _required(self, state: str) -> dict[str, Any]:
        stored = self._read(state)
        if stored is None:
            raise StorageError(f"state {state} is not in {self.directory}; restore its directory from a copy")
        return stored

    def _segment(self, state: str, name: str) -> Segment:
        key = (state, name)
        if key not in self._segments:
            self._segments[key] = Segment(self.directory / state, name, self._required(state)["segments"][name])
        return self._segments[key]

    # --- writing

    def write(self, document: dict[str, Any], prepared: PreparedState) -> None:
        """Store a state; the caller holds the node's write lock. A damaged state of this id is replaced, a whole one is kept."""
        state = document["_id"]
        final = self.directory / state
        with storage_errors("writing a state", final):
            make_directory(self.directory)
            # the lock is ours: what is still called temporary was left by a process that died
            for path in self.directory.glob(".tmp-*"):
                shutil.rmtree(path, ignore_errors=True)
            self._check_parents(document)
            if self._is_whole(state):
                os.utime(final / "state.json")  # it is wanted again: what is young is not collected as garbage
                return
            temporary = self.directory / temporary_name(state)
            temporary.mkdir()
            try:
                inherited = [self._owners(parent) for parent in document["parents"]]
                _write_files(temporary, document, prepared, inherited)
                if final.exists():
                    final.rename(self.directory / temporary_name("damaged"))
                temporary.rename(final)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
            sync_directory(self.directory)
        self._stored.pop(state, None)
        self._indexes.pop(state, None)
        self._places.pop(state, None)
        self._segments = {key: segment for key, segment in self._segments.items() if key[0] != state}

    def _check_parents(self, document: dict[str, Any]) -> None:
        """Refuse a state whose parents were collected as garbage while it was made; what was read before may be remembered."""
        for parent in document["parents"]:
            if not (self.directory / parent / "state.json").is_file():
                raise StateNotFoundError(
                    f"state {document['_id']} continues state {parent}, which is not in {self.directory} (any more); nothing was "
                    "stored; commit on the head of a branch, or restore the state from a copy"
                )

    def _is_whole(self, state: str) -> bool:
        """Whether a state is stored with all its bytes."""
        self._stored.pop(state, None)
        try:
            stored = self._read(state)
            if stored is None:
                return False
            for name, summary in stored["segments"].items():
                Segment(self.directory / state, name, summary).check()
            read_places(self.directory / state, stored["places"])
        except (CorruptArtifactError, StorageError):
            return False
        return True

    # --- documents

    def documents(self, state: str, kind: Kind, ids: Sequence[str]) -> Iterator[dict[str, Any]]:
        """Documents of a state, from wherever they were added, in the order of ids; missing ones are left out."""
        return (read_plain(line.text) for line in self.lines(state, kind, ids))

    def lines(self, state: str, kind: Kind, ids: Sequence[str]) -> Iterator[Line]:
        """As :meth:`documents`, as they are stored."""
        owners = self._owners(state)[kind]
        for identifier in ids:
            owner = owners.get(identifier)
            if owner is not None and (text := self._segment(owner, kind).get_text(identifier)) is not None:
                yield Line(identifier, text)

    def _owners(self, state: str) -> dict[Kind, dict[str, str]]:
        """Which state added each document of a state."""
        if state not in self._places:
            stored = self._required(state)
            self._places[state] = read_places(self.directory / state, stored["places"])
            while len(self._places) > INDEXED_STATES:
                self._places.popitem(last=False)
        self._places.move_to_end(state)
        return self._places[state]

    # --- evaluations

    def evaluation(self, state: str, structure_id: str) -> dict[str, Any] | None:
        """One evaluation with its geometry, or None."""
        document = self._segment(state, "evaluations").get(structure_id)
        return self._joined(state, document) if document else None

    def evaluations(
        self,
        state: str,
        query: dict[str, Any],
        fields: Collection[str] | None,
        sort: Sequence[tuple[str, int]],
        limit: int,
        skip: int,
    ) -> Iterator[dict[str, Any]]:
        """As :meth:`coevo.node_store.backend.Backend.evaluations`."""
        if set(query) <= {"kind"} and isinstance(query.get("kind", ""), str) and not sort:
            found = self._scan(state, query.get("kind"), limit, skip)
        else:
            # the geometry of an evaluation is found by its id
            needed = {*fields, "structure_id"} if fields is not None and "relaxed" in fields else fields
            found = self._index(state).find(query, needed, sort, limit, skip)
        for document in found:
            joined = document if fields is not None and "relaxed" not in fields else self._joined(state, document)
            yield joined if fields is None else {key: value for key, value in joined.items() if key in fields}

    def count_evaluations(self, state: str, query: dict[str, Any]) -> int:
        """As :meth:`coevo.node_store.backend.Backend.count_evaluations`."""
        return self._index(state).count(query)

    def split_evaluations(self, state: str) -> Iterator[SplitEvaluation]:
        """All evaluations as they are stored."""
        relaxed = iter(self._segment(state, "relaxed").texts())
        for identifier, text in self._segment(state, "evaluations").texts():
            geometry = None
            if text.count(b'"relaxed":{}') and read_plain(text)["relaxed"] is not None:
                found, line = next(relaxed, ("", b""))
                assert found == identifier
                geometry = line[len(b'{"relaxed":') : -len(b',"structure_id":"%b"}' % identifier.encode())]
            yield SplitEvaluation(identifier, text, geometry)

    def _joined(self, state: str, document: dict[str, Any]) -> dict[str, Any]:
        if document.get("relaxed") is None:
            return document
        stored = self._segment(state, "relaxed").get(document["structure_id"])
        assert stored is not None
        return {**document, "relaxed": stored["relaxed"]}

    def _scan(self, state: str, kind: str | None, limit: int, skip: int) -> Iterator[dict[str, Any]]:
        """Read in stored order, without an index."""
        place = 0
        for document in self._segment(state, "evaluations"):
            if kind is None or document["kind"] == kind:
                place += 1
                if limit and place > skip + limit:
                    return
                if place > skip:
                    yield document

    def _index(self, state: str) -> EvaluationIndex:
        """Load the evaluations of a state, without geometries, into memory."""
        with self._indexing:
            if state not in self._indexes:
                from coevo.node_store.queries.evaluation_index import EvaluationIndex

                self._indexes[state] = EvaluationIndex(self._segment(state, "evaluations"))
                while len(self._indexes) > INDEXED_STATES:
                    self._indexes.popitem(last=False)
            self._indexes.move_to_end(state)
            return self._indexes[state]


def _write_files(
    directory: Path, document: dict[str, Any], prepared: PreparedState, inherited: Sequence[dict[Kind, dict[str, str]]]
) -> None:
    segments: dict[str, Any] = {kind: write_segment(directory, kind, getattr(prepared, kind).lines()) for kind in KINDS}
    # an empty dictionary marks a geometry in the other segment, and answers filters such as {"relaxed": {"$ne": None}}
    with SegmentWriter(directory, "evaluations") as evaluations, SegmentWriter(directory, "relaxed") as relaxed:
        for identifier, text, geometry in prepared.evaluations.evaluations():
            evaluations.add(identifier, text)
            if geometry is not None:
                relaxed.add(identifier, b'{"relaxed":%b,"structure_id":"%b"}' % (geometry, identifier.encode()))
        segments |= {"evaluations": evaluations.close(), "relaxed": relaxed.close()}
    added = {kind: getattr(prepared, kind).ids() for kind in KINDS}
    places = write_places(directory, document["_id"], prepared.manifest, added, inherited)
    write_synced(directory / "state.json", seal({"state": document, "segments": segments, "places": places}))
    sync_directory(directory)
