"""Opening a node, and its branches and states."""

from __future__ import annotations

import re
from os import fspath
from typing import TYPE_CHECKING

from coevo.errors import ConfigError, StateNotFoundError
from coevo.node_store.names import MAIN, parse_reference
from coevo.node_store.store import NodeStore, open_store
from coevo.notebooks.reopening import address_of, open_again
from coevo.notebooks.states import State
from coevo.settings import EMBEDDED_PREFIX, MONGODB_PREFIXES, read_settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from os import PathLike


def open_node(name: str, database: str | PathLike[str] | None = None, *, artifacts: str | None = None) -> Node:
    """Open a node of a database for reading; this is ``coevo.open``.

    Parameters
    ----------
    name : str
    database : str or path, optional
        ``file:DIRECTORY`` or ``mongodb://…``, or a path to the directory; ``COEVO_DATABASE`` by default, as on the command line.
    artifacts : str, optional
        URI of the artifact store of a MongoDB database; ``COEVO_ARTIFACTS`` by default.

    Raises
    ------
    NodeNotFoundError
        If the database has none of this name.
    ConfigError
        If the database is none, or the node was written by a newer coevo, or by an older one and has to be migrated.
    StorageError
        If the server does not answer.
    """
    given = {} if artifacts is None else {"artifacts": artifacts}
    if database is not None:
        given["database"] = _uri_of(database)
    store = open_store(read_settings(**given))
    store.node(name)
    return Node(store, name)


def _uri_of(database: str | PathLike[str]) -> str:
    """Return the URI of a database: of a path to its directory, if it is none already."""
    named = fspath(database)
    if not named:
        raise ConfigError(
            "coevo.open: database: got '', allowed: file:DIRECTORY, a path to the directory, or mongodb://HOST/DATABASE"
        )
    if not isinstance(database, str):
        return EMBEDDED_PREFIX + named
    scheme = re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", named)
    if scheme is None:
        return EMBEDDED_PREFIX + named
    if not named.startswith((EMBEDDED_PREFIX, *MONGODB_PREFIXES)):
        raise ConfigError(
            f"coevo.open: database: got an address that begins with {scheme[0]!r}, allowed: file:DIRECTORY, a path to the "
            "directory, or mongodb://HOST/DATABASE"
        )
    return named


def _of_address(place: str, artifacts: str, name: str) -> Node:
    """Open a node that was pickled."""
    return Node(open_again(place, artifacts), name)


class Node:
    """A node of a database; from :func:`open_node`.

    Attributes
    ----------
    name : str
    store : NodeStore
        For what this class does not offer.
    """

    def __init__(self, store: NodeStore, name: str):
        self.store = store
        self.name = name

    def __reduce__(self) -> tuple[Callable[..., Node], tuple[str, str, str]]:
        return _of_address, (*address_of(self.store), self.name)

    def __repr__(self) -> str:
        return f"<coevo node {self.name} of {'-'.join(self.elements)} in {self.store.place}>"

    @property
    def elements(self) -> tuple[str, ...]:
        """The chemical system."""
        return self.store.node(self.name).elements

    @property
    def branches(self) -> dict[str, str]:
        """Branch to the id of the state that it is at."""
        return {name: state for name, state in self.store.node(self.name).branches.items() if state is not None}

    def state(self, ref: str = MAIN) -> State:
        """Open a state.

        Parameters
        ----------
        ref : str
            As behind the ``@`` on the command line: ``main``, ``main~1`` (one state back), ``try``, or the beginning of an id;
            ``NODE@…`` with the name of this node is taken too.

        Raises
        ------
        StateNotFoundError
            If no state answers to it; the message says what there is.
        """
        if "@" in ref and parse_reference(ref).node != self.name:
            raise StateNotFoundError(f"{ref!r} is a state of another node than {self.name}; open that one: coevo.open(…)")
        where = parse_reference(ref if "@" in ref else f"{self.name}@{ref}")
        return State(self.store, self.store.state(where.text), branch=where.name if where.name in self.branches else None)

    def history(self, ref: str = MAIN) -> list[State]:
        """Return a state and all that it descends from, newest first."""
        state = self.state(ref)
        return [state, *(State(self.store, view) for view in state.view.ancestors())]
