"""What is served: nodes of one database, and states by the names that addresses have.

A server reads the database from several threads, one at a time; what is costly to read of a state is kept while the state is
among the last ones looked at. States never change, so nothing that is kept becomes wrong; branches are read anew each time.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import replace
from threading import RLock
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from coevo.errors import CoevoError, NodeNotFoundError, QueryError, StateNotFoundError
from coevo.node_store.names import MAIN, parse_reference
from coevo.report.gathering import ReportData, outline, with_references
from coevo.studies.states.entry_description import Surroundings, surroundings_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from coevo.node_store.store import NodeStore
    from coevo.node_store.views import StateView

_T = TypeVar("_T")
PORTION = 5000
"""Entries that are read before others may read."""
_PAUSE = 0.001
"""Seconds; who waits for a lock is not first when it becomes free, so that whoever gave it back has to wait a moment."""
SHORTEST_ID = 8
"""Digits of an entry's id that an address may have at least."""


def node_and_name(ref: str) -> tuple[str, str]:
    """Return a reference of the command line as addresses have it: ``li-p-s~2`` is node ``li-p-s`` and state ``main~2``.

    Raises
    ------
    StateNotFoundError
        If it is no reference.
    """
    found = parse_reference(ref)
    return found.node, found.name + (f"~{found.back}" if found.back else "")


class Recent(Generic[_T]):
    """The last few values made for keys."""

    def __init__(self, most: int):
        self._most = most
        self._values: OrderedDict[Any, _T] = OrderedDict()

    def get(self, key: Any, make: Callable[[], _T]) -> _T:
        """Return the value of a key, made if it is not among the last ones."""
        if key not in self._values:
            self._values[key] = make()
            while len(self._values) > self._most:
                self._values.popitem(last=False)
        self._values.move_to_end(key)
        return self._values[key]


class Served:
    """Nodes of a database that may be looked at.

    Attributes
    ----------
    lock : RLock
        Held while the database is read.

    Parameters
    ----------
    store : NodeStore
    refs : sequence of str
        States that the first page names; their nodes are served with all their states. Without any, all nodes of the database.

    Raises
    ------
    NodeNotFoundError, StateNotFoundError
        If there is none of that name.
    """

    def __init__(self, store: NodeStore, refs: Sequence[str] = ()):
        self.store = store
        self.lock = RLock()
        self._counting = RLock()
        self.refs = tuple(refs)
        self._nodes = {parse_reference(ref).node for ref in refs}
        self._views: Recent[StateView] = Recent(32)
        self._outlines: Recent[ReportData] = Recent(8)
        self._populations: Recent[ReportData] = Recent(1)
        self._names: Recent[dict[str, str]] = Recent(8)
        self._surroundings: Recent[Surroundings] = Recent(2)
        for ref in refs:
            store.state(ref)

    def nodes(self) -> list[str]:
        """Names of the nodes that are served, sorted."""
        with self.lock:
            return [name for name in self.store.nodes() if not self._nodes or name in self._nodes]

    def branches(self, node: str) -> dict[str, str]:
        """Branches of a node that have a state, with it.

        Raises
        ------
        NodeNotFoundError
            If there is no such node, or it is not served.
        """
        if self._nodes and node not in self._nodes:
            raise NodeNotFoundError(f"node {node!r} is not served here; served are: {', '.join(sorted(self._nodes))}")
        with self.lock:
            return {name: state for name, state in self.store.node(node).branches.items() if state}

    def state(self, node: str, name: str = MAIN) -> StateView:
        """Open a state by node and ``branch``, ``branch~n`` or the beginning of an id, as an address has them.

        Raises
        ------
        NodeNotFoundError, StateNotFoundError
            If there is none; the message is short where its own would tell of nodes that are not served.
        """
        with self.lock:
            branches = self.branches(node)
            ref = f"{node}@{name}"
            if parse_reference(ref).node != node:  # an address cannot name a node twice
                raise StateNotFoundError(f"{ref!r} is no reference to a state")
            # what a name means follows from it and from where the branches are
            return self._views.get((ref, tuple(sorted(branches.items()))), lambda: self.store.state(ref))

    def newest(self) -> StateView | None:
        """Return the state that was made last among the heads of the branches that are served; None if there is none."""
        heads = []
        for node in self.nodes():
            try:
                heads += [self.state(node, state) for state in set(self.branches(node).values())]
            except CoevoError:  # a node of another version, which its page says
                continue
        return max(heads, key=lambda view: (view.document["created"], view.id), default=None)

    def outline(self, view: StateView) -> ReportData:
        """What there is to say of a state without reading its entries."""
        with self.lock:
            key = (view.node, view.id, tuple(sorted(self.branches(view.node).items())))
            found = self._outlines.get(key, lambda: outline(self.store, view, f"{view.node}@{view.id[:16]}"))
            return replace(found, studies=view.studies())  # which come and go beside a state

    def population(self, view: StateView) -> ReportData:
        """As :meth:`outline`, with all evaluations; of the last state only.

        The database is lent to others between portions: of 100,000 entries this takes seconds.
        """
        with self._counting:
            return self._populations.get((view.node, view.id), lambda: self._read_population(view))

    def _read_population(self, view: StateView) -> ReportData:
        with self.lock:
            found = with_references(self.outline(view))
        entries: list[dict[str, Any]] = []
        while True:
            after = {"structure_id": {"$gt": entries[-1]["structure_id"]}} if entries else {}
            with self.lock:
                portion = list(view.entries(after, {"relaxed": 0}, [("structure_id", 1)], PORTION))
            entries += portion
            if len(portion) < PORTION:
                break
            time.sleep(_PAUSE)
        with self.lock:
            return replace(found, entries=list(view.with_studied(entries)))

    def reference_names(self, view: StateView) -> dict[str, str]:
        """Common names of the references of a state."""
        with self.lock:
            return self._names.get((view.node, view.id), lambda: {row["_id"]: row.get("name") or "" for row in view.references()})

    def surroundings(self, view: StateView) -> Surroundings:
        """What the description of entries of a state needs of the others."""
        with self.lock:
            return self._surroundings.get((view.node, view.id), lambda: surroundings_of(view))

    def evaluation(self, view: StateView, identifier: str) -> dict[str, Any]:
        """Return the evaluation of an entry or reference by its id, or the beginning of an entry's.

        Raises
        ------
        QueryError
            If there is none, or there are several.
        """
        if not SHORTEST_ID <= len(identifier) <= 64 or set(identifier) - set("0123456789abcdef"):
            raise QueryError(f"an id of an entry has {SHORTEST_ID} to 64 digits of 0-9 and a-f")
        with self.lock:
            if len(identifier) == 64:
                return next(view.with_studied([view.evaluation(identifier)]))
            query = {"structure_id": {"$gte": identifier, "$lt": identifier + "g"}}
            found = [row["structure_id"] for row in view.entries(query, projection=["structure_id"], limit=2)]
            if not found:
                raise QueryError(f"no entry of state {view.id[:12]} has an id that begins with {identifier}")
            if len(found) > 1:
                raise QueryError(f"{identifier} begins several ids of state {view.id[:12]}; give more digits")
            return next(view.with_studied([view.evaluation(found[0])]))
