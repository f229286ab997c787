"""Upkeep of an embedded database: its files one by one, its temporary files, and states moved aside before they are removed."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from typing_extensions import override

from coevo.errors import CoevoError, CorruptArtifactError, StorageError
from coevo.node_store.backend import KINDS
from coevo.node_store.backend_upkeep import DAMAGE, Finding, Upkeep
from coevo.node_store.blobs.stored import Tally
from coevo.node_store.directory.database import EmbeddedBackend
from coevo.node_store.directory.places import NAME as PLACES
from coevo.node_store.directory.places import read_places
from coevo.node_store.directory.segments import Segment
from coevo.node_store.directory.states import STATE_ID
from coevo.node_store.durable import read_sealed, replace_file, seal, storage_errors, sync_directory, temporary_name

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence
    from pathlib import Path

    from coevo.node_store.backend import Backend, Kind
    from coevo.node_store.views import StateView

RESTORE = "restore it from a copy, or import the state from a bundle"
FORGET = "restore it from a copy, or remove it: a branch then goes on with the seed of its state, a command as if it were new"


class EmbeddedUpkeep(Upkeep):
    """Upkeep of a directory.

    Parameters
    ----------
    backend : EmbeddedBackend
    """

    shares_documents = False
    damage = (*DAMAGE, StorageError)  # a file that is missing or cannot be read

    def __init__(self, backend: EmbeddedBackend):
        self._backend = backend
        self._directory = backend.directory

    @override
    def reader(self) -> Backend:
        return EmbeddedBackend(self._directory)

    # --- verification

    @override
    def has_remains(self, node: str) -> bool:
        return (self._directory / node / "states").is_dir()

    @override
    def branches(self, node: str) -> tuple[dict[str, str], list[Finding]]:
        folder, found, findings = self._directory / node / "refs", {}, []
        with storage_errors("reading branches", folder):
            paths = sorted(path for path in folder.glob("*") if not path.name.startswith("."))
            for path in paths:
                state = path.read_bytes().decode("ascii", errors="replace").strip()
                if STATE_ID.fullmatch(state):
                    found[path.name] = state
                else:
                    todo = f"write the id of one of the states in {self._directory / node / 'states'} into it"
                    findings.append(
                        Finding("problem", f"branch {path.name} holds {state[:80]!r} and no state id", str(path), todo)
                    )
        return found, findings

    @override
    def examine_node(self, node: str) -> Iterator[Finding]:
        folder = self._directory / node
        known = {"node.json", "node.yaml", "refs", "states", "campaigns", "notes", "runs", "logs", ".lock"}
        with storage_errors("listing a node", folder):
            strangers = [path for path in sorted(folder.iterdir()) if path.name not in known and not _is_temporary(path)]
            for part in ("refs", "states", "campaigns"):
                if not (folder / part).is_dir():
                    yield Finding("problem", f"the directory {part} is missing", str(folder / part), RESTORE)
            states, notes = sorted((folder / "states").glob("*")), sorted((folder / "notes").glob("[!.]*.json"))
            strangers += [path for path in states if not STATE_ID.fullmatch(path.name) and not _is_temporary(path)]
        for path in strangers:
            yield Finding("note", "coevo knows no such file", str(path), "move it elsewhere if it is yours")
        for path in notes:
            try:
                read_sealed(path, f"note {path.stem}")
            except CorruptArtifactError as err:
                yield Finding("problem", str(err), str(path), FORGET)
        for path in self._temporary_files(node):
            yield Finding(
                "note", "a temporary file, of a process that died or is running", str(path), "coevo gc removes old ones"
            )

    @override
    def examine_state(self, view: StateView, *, quick: bool) -> Iterator[Finding]:
        directory = self._directory / view.node / "states" / view.id
        stored = read_sealed(directory / "state.json", f"state {view.id}")
        segments = {name: Segment(directory, name, summary) for name, summary in stored["segments"].items()}
        expected = {"state.json", PLACES} | {f"{name}.{end}.zst" for name in segments for end in ("jsonl", "index")}
        with storage_errors("listing a state", directory):
            strangers = {path.name for path in directory.iterdir()} - expected
        for name in sorted(strangers):
            yield Finding("note", "coevo knows no such file", str(directory / name), "move it elsewhere if it is yours")
        if set(segments) != {*KINDS, "evaluations", "relaxed"}:
            yield Finding("problem", f"it has the segments {', '.join(sorted(segments))}", str(directory), RESTORE)
        for name, segment in segments.items():
            try:
                segment.check(quick=quick)
            except CoevoError as err:
                yield Finding("problem", str(err), str(directory / f"{name}.*.zst"), RESTORE)
        yield from self._examine_places(view, segments, stored["places"])

    def _examine_places(self, view: StateView, segments: dict[str, Segment], expected: str) -> Iterator[Finding]:
        """Compare where documents are said to be with the manifest and with the segments."""
        states = self._directory / view.node / "states"
        where = str(states / view.id / PLACES)
        try:
            places = read_places(states / view.id, expected)
            for kind in KINDS:
                owners = places[kind]
                if sorted(owners) != sorted(view.manifest[kind]):
                    yield Finding("problem", f"its places are not those of the {kind} of its manifest", where, RESTORE)
                own = {identifier for identifier, owner in owners.items() if owner == view.id}
                if own != set(segments[kind].ids()):
                    yield Finding("problem", f"its places say that it added other {kind} than it did", where, RESTORE)
                for owner in sorted(set(owners.values()) - {view.id}):
                    there = set(self._segment(states / owner, kind).ids())
                    lost = [identifier for identifier, found in owners.items() if found == owner and identifier not in there]
                    if lost:
                        what = f"{len(lost)} {kind} that state {owner} should hold are not there, e.g. {min(lost)}"
                        yield Finding("problem", what, where, RESTORE)
        except (CoevoError, FileNotFoundError) as err:
            yield Finding("problem", str(err), where, RESTORE)

    @staticmethod
    def _segment(directory: Path, name: str) -> Segment:
        return Segment(directory, name, read_sealed(directory / "state.json", f"state {directory.name}")["segments"][name])

    # --- garbage collection

    @override
    def stored_at(self, node: str, state: str) -> float:
        directory = self._directory / node / "states" / state
        with storage_errors("looking at a state", directory):
            try:
                return (directory / "state.json").stat().st_mtime
            except FileNotFoundError:
                return directory.stat().st_mtime

    @override
    def state_size(self, node: str, state: str) -> int:
        return _size(self._directory / node / "states" / state)

    @override
    def remove_states(self, node: str, doomed: Callable[[], Sequence[str]], before: float) -> Iterator[int]:
        states = self._directory / node / "states"
        aside = []
        with self._backend.write_lock(node), storage_errors("removing states", states):
            chosen = [state for state in doomed() if self.stored_at(node, state) < before]
            if chosen:
                self._check_nothing_points_into(node, set(chosen))
            for state in chosen:
                path = states / temporary_name(f"gc-{state}")
                (states / state).rename(path)
                aside.append(path)
            sync_directory(states)
        for path in aside:
            size = _size(path)
            shutil.rmtree(path, ignore_errors=True)
            yield size

    def _check_nothing_points_into(self, node: str, doomed: set[str]) -> None:
        """Make sure that no document of a state that stays is stored in one that goes: owners are ancestors, which stay too."""
        states = self._directory / node / "states"
        for state in set(self.reader().state_ids(node)) - doomed:
            stored = read_sealed(states / state / "state.json", f"state {state}")
            owners = {owner for found in read_places(states / state, stored["places"]).values() for owner in found.values()}
            if owners & doomed:
                raise CorruptArtifactError(
                    f"state {state} of node {node} has documents in state {min(owners & doomed)}, which it does not descend "
                    f"from; nothing was removed; look at it with coevo verify {node}"
                )

    @override
    def shared_garbage(
        self, states: Collection[str], kept: Callable[[Kind], Collection[str]], before: float, *, delete: bool
    ) -> dict[str, Tally]:
        return {}

    @override
    def leftovers(self, before: float, *, delete: bool) -> Tally:
        found = Tally()
        if not self._directory.is_dir():
            return found
        for node in ("", "jobs", *self._backend.node_names()):
            for path in self._temporary_files(node):
                with storage_errors("removing a temporary file", path):
                    try:
                        if path.stat().st_mtime >= before:
                            continue
                        found.add(_size(path))
                        if delete:
                            shutil.rmtree(path) if path.is_dir() else path.unlink()
                    except FileNotFoundError:
                        continue
        return found

    def _temporary_files(self, folder: str) -> list[Path]:
        patterns = {"": [".tmp-*"], "jobs": ["*/.tmp-*"]}.get(folder, [".tmp-*", "*/.tmp-*"])
        with storage_errors("listing temporary files", self._directory / folder):
            return sorted(path for pattern in patterns for path in (self._directory / folder).glob(pattern))

    # --- migration

    @override
    def write_schema_version(self, node: str, version: int) -> None:
        document = self._backend.node_document(node)
        assert document is not None
        replace_file(self._directory / node / "node.json", seal({**document, "schema_version": version}))


def _is_temporary(path: Path) -> bool:
    return path.name.startswith(".tmp-")


def _size(path: Path) -> int:
    """Bytes of a file, or of all files in a directory."""
    if path.is_dir():
        return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    return path.stat().st_size
