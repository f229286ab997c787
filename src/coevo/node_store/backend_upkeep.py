"""What the upkeep of a database (verification, garbage collection, migration) asks of a backend, besides what everybody asks.

It is apart from :class:`~coevo.node_store.backend.Backend`, because only upkeep looks at how things are stored.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from coevo.errors import ArtifactNotFoundError, CorruptArtifactError, StateNotFoundError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from coevo.node_store.backend import Backend, Kind
    from coevo.node_store.blobs.stored import Tally
    from coevo.node_store.views import StateView

DAMAGE: tuple[type[Exception], ...] = (
    ArtifactNotFoundError,
    CorruptArtifactError,
    StateNotFoundError,
    KeyError,
    TypeError,
    ValueError,
    AttributeError,
    AssertionError,
)
"""Errors of reading what is damaged, on any backend."""


@dataclass(frozen=True)
class Finding:
    """One thing that verification has to say.

    Attributes
    ----------
    severity : {"problem", "note"}
        A problem is damage: something is missing or is not what was written. A note is worth knowing.
    what : str
    where : str
        The node, state, file or row.
    todo : str
        What to do about it.
    """

    severity: Literal["problem", "note"]
    what: str
    where: str
    todo: str

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON dictionary."""
        return asdict(self)


class Upkeep(ABC):
    """How one database is stored; every method raises :class:`~coevo.errors.StorageError` when the storage fails."""

    shares_documents: bool
    """Whether documents are kept once for all states (on a server) rather than in the state that added them."""

    damage: tuple[type[Exception], ...]
    """Errors which say that what was read is missing or not what was written, rather than that nothing can be read at all."""

    @abstractmethod
    def reader(self) -> Backend:
        """Return the same database without anything that was read before, so that what is read is what is stored now."""

    # --- verification

    @abstractmethod
    def has_remains(self, node: str) -> bool:
        """Whether something of a node is stored, be it without the node's own document."""

    @abstractmethod
    def branches(self, node: str) -> tuple[dict[str, str], list[Finding]]:
        """Branches that can be read, and what is wrong with the others."""

    @abstractmethod
    def examine_node(self, node: str) -> Iterator[Finding]:
        """Look at what belongs to no state: leftovers of processes that died, files that nobody reads."""

    @abstractmethod
    def examine_state(self, view: StateView, *, quick: bool) -> Iterator[Finding]:
        """Look at how a state is stored, beyond its ids and hashes; ``quick`` reads no documents."""

    # --- garbage collection; times are seconds since the epoch

    @abstractmethod
    def stored_at(self, node: str, state: str) -> float:
        """When a state was last stored, or wanted by a commit."""

    @abstractmethod
    def state_size(self, node: str, state: str) -> int:
        """Bytes that removing a state frees, without its artifacts and shared documents."""

    @abstractmethod
    def remove_states(self, node: str, doomed: Callable[[], Sequence[str]], before: float) -> Iterator[int]:
        """Remove states and yield the bytes of each.

        Parameters
        ----------
        node : str
        doomed : callable
            Reads the database as it is now and returns what is to go, children before their parents.
        before : float
            A state that was stored or wanted since then stays, whatever ``doomed`` says.
        """

    @abstractmethod
    def shared_garbage(
        self, states: Collection[str], kept: Callable[[Kind], Collection[str]], before: float, *, delete: bool
    ) -> dict[str, Tally]:
        """Find rows that belong to none of the states of any node, older than ``before``; remove them if wanted."""

    @abstractmethod
    def leftovers(self, before: float, *, delete: bool) -> Tally:
        """Find temporary files of processes that died before then; remove them if wanted."""

    # --- migration

    @abstractmethod
    def write_schema_version(self, node: str, version: int) -> None:
        """Record, as one step, how the node is stored now."""
