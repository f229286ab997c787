"""Opening a node, and its branches and states."""

from __future__ import annotations

from typing import TYPE_CHECKING

from coevo.errors import StateNotFoundError
from coevo.node_store.names import MAIN, parse_reference
from coevo.node_store.store import NodeStore, open_store
from coevo.notebooks.states import State
from coevo.settings import EMBEDDED_PREFIX, read_settings

if TYPE_CHECKING:
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
        given["database"] = database if isinstance(database, str) else f"{EMBEDDED_PREFIX}{database.__fspath__()}"
    store = open_store(read_settings(**given))
    store.node(name)
    return Node(store, name)


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
