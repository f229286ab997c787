"""What a database must be able to do; everything else is built on it once, for all backends.

A backend stores and finds documents and moves branches. It knows nothing of ids or the meaning of a commit. All documents
that it is given are plain JSON, sorted by id.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from coevo.node_store.prepared_documents import Line, PreparedState, SplitEvaluation

Kind = Literal["structures", "references", "labels"]
"""Collections of documents that are keyed by content and shared between states."""
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True)
class Mark:
    """The record of a blob that came from elsewhere, or that was computed here as a checkpoint.

    Attributes
    ----------
    sha256 : str
    reason : str
        Where it came from.
    trusted : str
        When it was said, by the user or by the step that computed it, that it is trusted (ISO 8601 UTC); empty if nobody did.
    """

    sha256: str
    reason: str
    trusted: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON dictionary, as it is stored; an older coevo reads it as not trusted."""
        plain = {"sha256": self.sha256, "reason": self.reason}
        return plain | {"trusted": self.trusted} if self.trusted else plain

    @classmethod
    def from_dict(cls, sha256: str, document: Mapping[str, Any]) -> Mark:
        """Read what :meth:`to_dict` wrote."""
        return cls(sha256, str(document["reason"]), str(document.get("trusted") or ""))


class Backend(ABC):
    """The storage contract; every method raises :class:`~coevo.errors.StorageError` when the storage fails."""

    def close(self) -> None:
        """Give connections back; the backend is not used afterwards."""
        return

    # --- nodes and branches

    @abstractmethod
    def create_node(self, document: dict[str, Any]) -> dict[str, Any]:
        """Insert a node document if no node has its name; return the document that is stored now."""

    @abstractmethod
    def node_names(self) -> list[str]:
        """Names of all nodes, sorted."""

    @abstractmethod
    def node_document(self, name: str) -> dict[str, Any] | None:
        """Return the node as it was created, without branches, or None."""

    @abstractmethod
    def read_config_text(self, name: str) -> str:
        """Return the live configuration of an existing node."""

    @abstractmethod
    def config_source(self, name: str) -> str:
        """Say where the live configuration of a node stands, for messages."""

    def log_directory(self, node: str) -> Path | None:  # noqa: ARG002
        """Where logs of a node can be written beside it; None if the database is no directory."""
        return None

    @property
    def place(self) -> str:
        """Where the database is, for messages: a directory, or host and database without credentials."""
        return "this database"

    @abstractmethod
    def write_config_text(self, name: str, text: str) -> None:
        """Replace the live configuration of an existing node."""

    @abstractmethod
    def branches(self, node: str) -> dict[str, str]:
        """Branch name to state id."""

    @abstractmethod
    def move_branch(self, node: str, branch: str, expected: str | None, new: str) -> str | None:
        """Compare and swap: point a branch at a state if it is at ``expected``; return where it was found (atomic, durable).

        Raises
        ------
        StateNotFoundError
            If the state is not stored (any more).
        """

    @abstractmethod
    def delete_branch(self, node: str, branch: str, expected: str) -> str | None:
        """Remove a branch if it is at ``expected``; return where it was found (atomic, durable)."""

    # --- states

    @abstractmethod
    def state_ids(self, node: str, prefix: str = "") -> list[str]:
        """Ids of the node's states that start with a prefix, sorted; also of states that no branch contains."""

    @abstractmethod
    def state_document(self, node: str, state: str) -> dict[str, Any] | None:
        """Return a state document as it was stored, or None."""

    @abstractmethod
    def write_state(self, node: str, document: dict[str, Any], prepared: PreparedState) -> None:
        """Store a state with all its documents; the state document last, so that it is there whole or not at all (idempotent).

        Raises
        ------
        StateNotFoundError
            If one of its parents is not stored (any more).
        """

    @abstractmethod
    def documents(self, node: str, state: str, kind: Kind, ids: Sequence[str]) -> Iterator[dict[str, Any]]:
        """Documents with these ids, in their order; those that are missing are left out."""

    @abstractmethod
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
        """Evaluations of a state that match a MongoDB filter, ordered by ``sort`` and then by structure id.

        ``fields`` are the top-level fields wanted, None for all; ``limit`` 0 means no limit.
        """

    @abstractmethod
    def count_evaluations(self, node: str, state: str, query: dict[str, Any]) -> int:
        """How many evaluations of a state match a MongoDB filter."""

    def document_lines(self, node: str, state: str, kind: Kind, ids: Sequence[str]) -> Iterator[Line] | None:  # noqa: ARG002
        """As :meth:`documents`, as canonical JSON; None if that is not how they are stored."""
        return None

    def split_evaluations(self, node: str, state: str) -> Iterator[SplitEvaluation] | None:  # noqa: ARG002
        """All evaluations of a state as canonical JSON, in the order of structure ids; None if they are not stored so."""
        return None

    @abstractmethod
    def evaluation(self, node: str, state: str, structure_id: str) -> dict[str, Any] | None:
        """One evaluation of a state, or None."""

    # --- trust

    @abstractmethod
    def mark_untrusted(self, sha256: str, reason: str) -> None:
        """Remember that a blob came from elsewhere; a record that is there already stays, whatever it says (durable)."""

    @abstractmethod
    def mark_trusted(self, sha256: str, reason: str = "") -> None:
        """Record that a blob is trusted (durable, idempotent); the reason is kept if there was no record of the blob."""

    @abstractmethod
    def mark(self, sha256: str) -> Mark | None:
        """What is recorded of a blob, or None."""

    @abstractmethod
    def marks(self) -> dict[str, Mark]:
        """All records by the sha256 of their blobs. They outlive the blobs: one that is removed may come again."""

    def untrusted(self) -> dict[str, str]:
        """Blobs that came from elsewhere and are not trusted: sha256 to reason."""
        return {sha256: mark.reason for sha256, mark in self.marks().items() if not mark.trusted}

    # --- what came in bundles

    @abstractmethod
    def put_arrival(self, node: str, identifier: str, document: dict[str, Any]) -> None:
        """Remember something that came into a node in a bundle; what is remembered under this id is replaced (durable).

        The node need not exist yet. Identifiers are 64 hexadecimal digits.
        """

    @abstractmethod
    def arrivals(self, node: str) -> dict[str, dict[str, Any]]:
        """What is remembered of a node, by its ids, in their order."""

    # --- notes of a node: small documents beside its states, not part of them

    @abstractmethod
    def note(self, node: str, key: str) -> dict[str, Any] | None:
        """Return what is noted under a key (letters, digits, dots, dashes, underscores), or None."""

    @abstractmethod
    def note_keys(self, node: str, prefix: str) -> list[str]:
        """Keys of the notes of a node that begin with a prefix, sorted."""

    @abstractmethod
    def write_note(self, node: str, key: str, document: dict[str, Any] | None) -> None:
        """Note a document in place of what was noted before, or forget it (None); durable."""

    # --- jobs, campaigns, locks

    @abstractmethod
    def job_result(self, key: str) -> dict[str, Any] | None:
        """Return the result that is stored under a key, or None."""

    @abstractmethod
    def put_job_result(self, key: str, document: dict[str, Any]) -> dict[str, Any]:
        """Insert if absent (atomic); return the document that is stored now."""

    @abstractmethod
    def job_keys(self) -> Iterator[str]:
        """Keys of all stored job results."""

    @abstractmethod
    def drop_job_result(self, key: str) -> None:
        """Forget the result that is stored under a key, if there is one."""

    @abstractmethod
    def campaigns(self, node: str) -> list[dict[str, Any]]:
        """Campaign documents of a node, oldest first."""

    @abstractmethod
    def insert_campaign(self, document: dict[str, Any]) -> dict[str, Any]:
        """Insert a campaign if its id is new (atomic); return the document that is stored now."""

    @abstractmethod
    def update_campaign(self, identifier: str, changes: dict[str, Any]) -> bool:
        """Change fields of a campaign; False if there is none."""

    @abstractmethod
    def run_lock(self, node: str, branch: str) -> AbstractContextManager[None]:
        """Hold a branch for one run; raises NodeBusyError if another process holds it."""
