"""The embedded database: a directory, no server.

::

    DIR/blobs/                     artifact store, by default
    DIR/jobs/ab/KEY.json           job results
    DIR/untrusted/SHA.json         blobs that came in a bundle, where from, and whether they are trusted by now
    DIR/untrusted/NODE/ID.json     what else came in bundles: configuration to agree to, checkpoints that were left out
    DIR/NODE/node.json             the node as created       DIR/NODE/node.yaml  its live configuration
    DIR/NODE/refs/BRANCH           a state id
    DIR/NODE/states/ID/state.json  state document            …/NAME.jsonl.zst    segments: what the state added, its evaluations
    DIR/NODE/states/ID/places.zst  which state added each document of this one
    DIR/NODE/campaigns/ID.json     campaign documents       DIR/NODE/runs/       who runs which branch
    DIR/NODE/notes/KEY.json        seeds of branches, commands that were begun
    DIR/NODE/logs/BRANCH.log       what its runs did; for people

Every file appears whole by one rename, a state with all its segments by the rename of its directory. Documents that a state
shares with its ancestors are in the segments of the ancestor that added them, where its places say.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from coevo.errors import ConfigError, CorruptArtifactError, StateNotFoundError
from coevo.node_store.backend import Backend, Mark
from coevo.node_store.canonical import plain
from coevo.node_store.directory.locks import embedded_run_lock, file_lock
from coevo.node_store.directory.states import STATE_ID, EmbeddedStates
from coevo.node_store.durable import (
    create_file,
    make_directory,
    read_sealed,
    replace_file,
    seal,
    storage_errors,
    sync_directory,
    temporary_name,
    write_synced,
)
from coevo.node_store.runs import now

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from coevo.node_store.backend import Kind
    from coevo.node_store.prepared_documents import Line, PreparedState, SplitEvaluation

RESERVED = ("blobs", "jobs", "untrusted")
_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{2,199}")


class EmbeddedBackend(Backend):
    """A database in a directory; nothing is created before the first write.

    Parameters
    ----------
    directory : Path
    """

    def __init__(self, directory: Path):
        self.directory = directory.absolute()
        self._states: dict[str, EmbeddedStates] = {}

    # --- nodes and branches

    @override
    def create_node(self, document: dict[str, Any]) -> dict[str, Any]:
        name = document["name"]
        if name in RESERVED:
            raise ConfigError(
                f"a node of an embedded database cannot be called {name!r}: the directory is taken; choose another name"
            )
        final = self.directory / name
        temporary = self.directory / temporary_name(name)
        with storage_errors("creating a node", final):
            make_directory(self.directory)
            temporary.mkdir()
            try:
                for folder in ("refs", "states", "campaigns"):
                    (temporary / folder).mkdir()
                write_synced(temporary / "node.json", seal(document))
                write_synced(temporary / "node.yaml", document["config_text"].encode())
                sync_directory(temporary)
                try:
                    temporary.rename(final)
                except OSError as err:
                    if err.errno not in {errno.ENOTEMPTY, errno.EEXIST} or not (final / "node.json").is_file():
                        raise
                sync_directory(self.directory)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
        stored = self.node_document(name)
        assert stored is not None
        return stored

    @override
    def node_names(self) -> list[str]:
        with storage_errors("listing nodes", self.directory):
            if not self.directory.is_dir():
                return []
            return sorted(path.parent.name for path in self.directory.glob("*/node.json") if not path.parent.name.startswith("."))

    @override
    def node_document(self, name: str) -> dict[str, Any] | None:
        try:
            return read_sealed(self.directory / name / "node.json", f"node {name}")
        except FileNotFoundError:
            return None

    @override
    def read_config_text(self, name: str) -> str:
        path = self.directory / name / "node.yaml"
        with storage_errors("reading the configuration", path):
            return path.read_text(encoding="utf-8")

    @override
    def config_source(self, name: str) -> str:
        return str(self.directory / name / "node.yaml")

    @override
    def log_directory(self, node: str) -> Path:
        return self.directory / node / "logs"

    @property
    @override
    def place(self) -> str:
        return str(self.directory)

    @override
    def write_config_text(self, name: str, text: str) -> None:
        replace_file(self.directory / name / "node.yaml", text.encode())

    @override
    def branches(self, node: str) -> dict[str, str]:
        folder = self.directory / node / "refs"
        with storage_errors("reading branches", folder):
            names = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
        found = {name: self._read_branch(node, name) for name in names}
        return {name: state for name, state in found.items() if state is not None}

    def _read_branch(self, node: str, branch: str) -> str | None:
        path = self.directory / node / "refs" / branch
        with storage_errors("reading a branch", path):
            try:
                state = path.read_text(encoding="ascii", errors="replace").strip()
            except FileNotFoundError:
                return None
        if not STATE_ID.fullmatch(state):
            raise CorruptArtifactError(
                f"branch {branch} of node {node} ({path}) holds {state[:80]!r} and no state id; write the id of one of those "
                f"in {self.directory / node / 'states'} into it"
            )
        return state

    @override
    def move_branch(self, node: str, branch: str, expected: str | None, new: str) -> str | None:
        with self.write_lock(node):
            if not self._refresh(node, new):
                raise StateNotFoundError(
                    f"branch {branch} of node {node} cannot move to {new}: that state is not stored (any more)"
                )
            found = self._read_branch(node, branch)
            if found == expected:
                folder = self.directory / node / "refs"
                for path in folder.glob(".tmp-*"):  # of a process that died: the lock is ours
                    path.unlink(missing_ok=True)
                replace_file(folder / branch, new.encode() + b"\n")
            return found

    @override
    def delete_branch(self, node: str, branch: str, expected: str) -> str | None:
        with self.write_lock(node):
            found = self._read_branch(node, branch)
            if found == expected:
                self._refresh(node, expected)  # it stays for a while
                path = self.directory / node / "refs" / branch
                with storage_errors("removing a branch", path):
                    path.unlink(missing_ok=True)
                    sync_directory(path.parent)
            return found

    def _refresh(self, node: str, state: str) -> bool:
        """Make a state young, so that it is not collected as garbage for a while; False if it is not there."""
        path = self.directory / node / "states" / state / "state.json"
        with storage_errors("refreshing a state", path):
            try:
                os.utime(path)
            except FileNotFoundError:
                return False
        return True

    def write_lock(self, node: str) -> AbstractContextManager[None]:
        """Keep all others from changing branches and states of a node."""
        return file_lock(self.directory / node / ".lock", wait=True)

    # --- states

    def _node_states(self, node: str) -> EmbeddedStates:
        return self._states.setdefault(node, EmbeddedStates(self.directory / node / "states"))

    @override
    def state_ids(self, node: str, prefix: str = "") -> list[str]:
        return self._node_states(node).ids(prefix)

    @override
    def state_document(self, node: str, state: str) -> dict[str, Any] | None:
        return self._node_states(node).document(state)

    @override
    def write_state(self, node: str, document: dict[str, Any], prepared: PreparedState) -> None:
        with self.write_lock(node):
            self._node_states(node).write(document, prepared)

    @override
    def documents(self, node: str, state: str, kind: Kind, ids: Sequence[str]) -> Iterator[dict[str, Any]]:
        return self._node_states(node).documents(state, kind, ids)

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
        return self._node_states(node).evaluations(state, query, fields, sort, limit, skip)

    @override
    def count_evaluations(self, node: str, state: str, query: dict[str, Any]) -> int:
        return self._node_states(node).count_evaluations(state, query)

    @override
    def document_lines(self, node: str, state: str, kind: Kind, ids: Sequence[str]) -> Iterator[Line]:
        return self._node_states(node).lines(state, kind, ids)

    @override
    def split_evaluations(self, node: str, state: str) -> Iterator[SplitEvaluation]:
        return self._node_states(node).split_evaluations(state)

    @override
    def evaluation(self, node: str, state: str, structure_id: str) -> dict[str, Any] | None:
        return self._node_states(node).evaluation(state, structure_id)

    # --- trust

    def _trust_path(self, sha256: str) -> Path:
        if not STATE_ID.fullmatch(sha256):
            raise ValueError(f"{sha256!r} is no sha256: expected 64 lower-case hexadecimal digits")
        return self.directory / "untrusted" / f"{sha256}.json"

    @override
    def mark_untrusted(self, sha256: str, reason: str) -> None:
        create_file(self._trust_path(sha256), seal(Mark(sha256, reason).to_dict()))

    @override
    def mark_trusted(self, sha256: str, reason: str = "") -> None:
        found = self.mark(sha256) or Mark(sha256, reason)
        if not found.trusted:
            replace_file(self._trust_path(sha256), seal(Mark(sha256, found.reason, now()).to_dict()))

    @override
    def mark(self, sha256: str) -> Mark | None:
        try:
            document = read_sealed(self._trust_path(sha256), f"the mark of checkpoint {sha256}")
        except FileNotFoundError:
            return None
        return Mark.from_dict(sha256, document)

    @override
    def marks(self) -> dict[str, Mark]:
        folder = self.directory / "untrusted"
        with storage_errors("listing untrusted checkpoints", folder):
            names = sorted(path.stem for path in folder.glob("*.json") if STATE_ID.fullmatch(path.stem))
        found = {name: self.mark(name) for name in names}
        return {name: mark for name, mark in found.items() if mark is not None}

    # --- what came in bundles

    def _arrivals(self, node: str) -> Path:
        # beside the node, which may not exist yet: what it is created with must be remembered before
        return self.directory / "untrusted" / node

    @override
    def put_arrival(self, node: str, identifier: str, document: dict[str, Any]) -> None:
        if not STATE_ID.fullmatch(identifier):
            raise ValueError(f"{identifier!r} is no id: expected 64 lower-case hexadecimal digits")
        path = self._arrivals(node) / f"{identifier}.json"
        with storage_errors("remembering what came in a bundle", path):
            make_directory(path.parent)
        replace_file(path, seal(document))

    @override
    def arrivals(self, node: str) -> dict[str, dict[str, Any]]:
        folder = self._arrivals(node)
        with storage_errors("listing what came in bundles", folder):
            paths = sorted(path for path in folder.glob("*.json") if STATE_ID.fullmatch(path.stem))
        return {path.stem: read_sealed(path, f"the record {path.stem} of what came in bundles") for path in paths}

    # --- notes

    @override
    def note(self, node: str, key: str) -> dict[str, Any] | None:
        try:
            return read_sealed(self._note_path(node, key), f"note {key} of node {node}")
        except FileNotFoundError:
            return None

    @override
    def note_keys(self, node: str, prefix: str) -> list[str]:
        with storage_errors("reading the notes", folder := self.directory / node / "notes"):
            return sorted(path.stem for path in folder.glob("[!.]*.json") if path.stem.startswith(prefix))

    @override
    def write_note(self, node: str, key: str, document: dict[str, Any] | None) -> None:
        path = self._note_path(node, key)
        if document is not None:
            replace_file(path, seal(plain(document)))
            return
        with storage_errors("removing a note", path):
            path.unlink(missing_ok=True)

    def _note_path(self, node: str, key: str) -> Path:
        if not _KEY.fullmatch(key):
            raise ValueError(f"{key!r} cannot name a note: expected 3 to 200 letters, digits, dots, dashes or underscores")
        return self.directory / node / "notes" / f"{key}.json"

    # --- jobs, campaigns, locks

    def _job_path(self, key: str) -> Path:
        if not _KEY.fullmatch(key):
            raise ValueError(f"{key!r} is no job key: expected 3 to 200 letters, digits, dots, dashes or underscores")
        return self.directory / "jobs" / key[:2] / f"{key}.json"

    @override
    def job_result(self, key: str) -> dict[str, Any] | None:
        try:
            return read_sealed(self._job_path(key), f"the result of job {key}")
        except FileNotFoundError:
            return None

    @override
    def put_job_result(self, key: str, document: dict[str, Any]) -> dict[str, Any]:
        content = plain(document)
        if create_file(self._job_path(key), seal(content)):
            return content
        stored = self.job_result(key)
        return content if stored is None else stored

    @override
    def job_keys(self) -> Iterator[str]:
        folder = self.directory / "jobs"
        with storage_errors("listing job results", folder):
            yield from sorted(path.stem for path in folder.glob("*/[!.]*.json"))

    @override
    def drop_job_result(self, key: str) -> None:
        path = self._job_path(key)
        with storage_errors("removing a job result", path):
            path.unlink(missing_ok=True)

    @override
    def campaigns(self, node: str) -> list[dict[str, Any]]:
        folder = self.directory / node / "campaigns"
        with storage_errors("listing campaigns", folder):
            paths = sorted(folder.glob("[!.]*.json"))
        found = [read_sealed(path, f"campaign {path.stem}") for path in paths]
        return sorted(found, key=lambda document: (document["created"], document["id"]))

    @override
    def insert_campaign(self, document: dict[str, Any]) -> dict[str, Any]:
        path = self.directory / document["node"] / "campaigns" / f"{document['id']}.json"
        create_file(path, seal(document))
        return read_sealed(path, f"campaign {document['id']}")

    @override
    def update_campaign(self, identifier: str, changes: dict[str, Any]) -> bool:
        for node in self.node_names():
            path = self.directory / node / "campaigns" / f"{identifier}.json"
            if not path.is_file():
                continue
            with self.write_lock(node):
                document = read_sealed(path, f"campaign {identifier}")
                replace_file(path, seal({**document, **changes}))
                return True
        return False

    @override
    def run_lock(self, node: str, branch: str) -> AbstractContextManager[None]:
        return embedded_run_lock(self.directory / node / "runs", node, branch)
