"""The branches of a node: where each is, and where it left the branch next to it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from coevo.analysis.audit.words import count_words
from coevo.errors import CorruptArtifactError
from coevo.node_store.recorded import readable
from coevo.node_store.seeds import seed_of_branch
from coevo.studies.states.graph import SHORT_ID, population

if TYPE_CHECKING:
    from collections.abc import Sequence

    from coevo.node_store.store import NodeStore
    from coevo.node_store.views import StateView


@dataclass(frozen=True)
class Neighbour:
    """The branch that a branch has most in common with.

    Attributes
    ----------
    branch : str
    left_at : str or None
        The state at which the branch left it; None if they have no state in common.
    iteration : int or None
        Of that state.
    ahead, behind : int
        States that only this branch has, and that only the neighbour has.
    """

    branch: str
    left_at: str | None
    iteration: int | None
    ahead: int
    behind: int

    def __str__(self) -> str:
        if self.left_at is None:
            return f"nothing in common with {self.branch}"
        counts = [f"{count} {where}" for count, where in ((self.ahead, "ahead"), (self.behind, "behind")) if count]
        return f"{self.branch} at {self.left_at[:SHORT_ID]} (it. {self.iteration}): {', '.join(counts) or 'same state'}"


@dataclass(frozen=True)
class Branch:
    """A branch with its head: ``entries`` and ``sun`` (None where the metrics do not count it) are numbers of the head.

    ``seed`` is what the branch goes on with (0: the node's own), ``looked_at`` how many S.U.N. entries stand by who looked at
    them; empty where nobody did, and of numbers that this coevo would not write.
    """

    name: str
    state: str
    iteration: int
    entries: int
    sun: int | None
    message: str
    neighbour: Neighbour | None
    seed: int = 0
    looked_at: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the branch as JSON."""
        return asdict(self)


def branch_rows(store: NodeStore, node: str) -> list[Branch]:
    """List the branches of a node that have a state, by name, ``main`` first.

    Raises
    ------
    NodeNotFoundError
        If there is no such node.
    """
    heads = {name: store.state(f"{node}@{name}") for name, state in store.node(node).branches.items() if state}
    histories = {name: {head.id, *(view.id for view in head.ancestors())} for name, head in heads.items()}
    names = sorted(heads, key=lambda name: (name != "main", name))
    rows = []
    for name in names:
        head, numbers = heads[name], population(heads[name])
        rows.append(
            Branch(
                name=name,
                state=head.id,
                iteration=head.iteration,
                entries=numbers["entries"],
                sun=numbers["sun"],
                message=head.document["message"],
                neighbour=_neighbour(name, head, names, histories),
                seed=seed_of_branch(store.backend, node, name, head),
                looked_at=_looked_at(head),
            )
        )
    return rows


def _looked_at(head: StateView) -> str:
    try:
        with readable(head):
            return count_words(head.document["metrics"])
    except CorruptArtifactError:
        return ""


def _neighbour(name: str, head: StateView, names: Sequence[str], histories: dict[str, set[str]]) -> Neighbour | None:
    others = [other for other in names if other != name]
    if not others:
        return None
    mine = histories[name]
    # of equally close branches the first one in the order of names, main before all
    other = min(
        others, key=lambda other: (not mine & histories[other], len(mine - histories[other]), len(histories[other] - mine))
    )
    theirs = histories[other]
    fork = next((view for view in (head, *head.first_parents()) if view.id in theirs), None)
    if fork is None:  # what they share came in by a merge
        fork = next((view for view in head.ancestors() if view.id in theirs), None)
    return Neighbour(
        branch=other,
        left_at=fork.id if fork else None,
        iteration=fork.iteration if fork else None,
        ahead=len(mine - theirs),
        behind=len(theirs - mine),
    )
