"""Add labels to the head of a branch, outside a full iteration.

Also here, a command that adds one state is noted from its beginning to its end: repeated after a kill, it adds no second one.

Labels that are asked for again are further labels, so what was done cannot be told from the head of the branch alone. The note
says which command began at which head; it is gone when the command has said what it did.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coevo.campaigns.merging import checkpoints_of
from coevo.campaigns.running import run_flow
from coevo.errors import StateNotFoundError
from coevo.flows.campaign import live_config
from coevo.flows.labelling import LabelFlowMaker
from coevo.labelling.registry import configured
from coevo.makers.checkpoints import check_checkpoints
from coevo.makers.committee.members import check_members_going_on
from coevo.makers.generators import check_generators_going_on
from coevo.node_store.canonical import digest

if TYPE_CHECKING:
    from collections.abc import Callable

    from coevo.node_store.store import NodeStore
    from coevo.node_store.views import StateView


def begin(store: NodeStore, branch: str, head: StateView, command: dict[str, Any]) -> None:
    """Note a command before its work; the run lock of the branch is held.

    Parameters
    ----------
    store : NodeStore
    branch : str
    head : StateView
        Where the work begins.
    command : dict
        Everything that it depends on, ``message`` of the state that it makes included.
    """
    store.backend.write_note(head.node, _key(branch), {"command": digest(command), "start": head.id})


def is_done(store: NodeStore, branch: str, head: StateView, command: dict[str, Any]) -> bool:
    """Whether the head is the state that the same command made before it was interrupted."""
    note = store.backend.note(head.node, _key(branch))
    if not note or note["command"] != digest(command):
        return False
    return head.parents == (note["start"],) and head.document["message"] == command["message"]


def end(store: NodeStore, node: str, branch: str) -> None:
    """Forget a command that has come to its end."""
    store.backend.write_note(node, _key(branch), None)


def _key(branch: str) -> str:
    return f"begun-{branch}"


def label_head(
    store: NodeStore,
    node: str,
    branch: str,
    *,
    limit: int,
    labeller: str | None,
    competing: bool,
    say: Callable[[str], None],
    report: Callable[[StateView, int], None] = lambda _view, _added: None,
) -> tuple[StateView, int]:
    """Label the most stable entries of a branch head, and the phases that they compete with.

    Parameters
    ----------
    store : NodeStore
    node, branch : str
    limit : int
        Entries, at most.
    labeller : str or None
        What the command line calls a code (:func:`coevo.labelling.registry.options`); the configuration's code by default.
    competing : bool
    say : callable
        Prints one line.
    report : callable
        Called with what is returned; until then the command counts as not finished, and repeating it makes no second state.

    Returns
    -------
    view : StateView
        The new head.
    added : int
        Labels that it has and its parent has not.

    Raises
    ------
    StateNotFoundError
        If the branch has no state.
    LabellingError
        If the labelling code cannot run here.
    CheckpointError
        If a model of the head is missing, damaged or not trusted; nothing was computed.
    """
    with store.run_lock(node, branch):
        head_id = store.head(node, branch)
        if head_id is None:
            raise StateNotFoundError(
                f"node {node} has no branch {branch!r} with a state; labels are added to the head of a branch"
            )
        head = store.state(f"{node}@{head_id}")
        check_checkpoints(store, head)
        config = live_config(store, node, head, say, branch)
        judged_by = config.labelling
        check_generators_going_on(store, head, config)
        check_members_going_on(store, head, config)
        if labeller:
            config = config.model_copy(update={"labelling": configured(config.labelling, labeller)})
        message = f"labels of up to {limit} entries by {config.labelling.code}"
        command = {"message": message, "limit": limit, "competing": competing, "config": config.identity()}
        if is_done(store, branch, head, command):
            say(f"the interrupted command had made its state already, {head.id[:12]}; no second one is made")
        else:
            begin(store, branch, head, command)
            flow = LabelFlowMaker(config=config, branch=branch, judged_by=judged_by).make(
                head.id, head.iteration + 1, checkpoints_of(head, config), limit=limit, competing=competing, message=message
            )
            run_flow(flow)
        view = store.state(f"{node}@{branch}")
        added = view.document["counts"]["labels_added"]
        report(view, added)
        end(store, node, branch)
    return view, added
