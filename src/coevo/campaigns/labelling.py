"""Add labels to the head of a branch, outside a full iteration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from coevo.campaigns.begun_commands import begin, end, is_done
from coevo.campaigns.merging import checkpoints_of
from coevo.campaigns.running import run_flow
from coevo.errors import StateNotFoundError
from coevo.flows.campaign import live_config
from coevo.flows.labelling import LabelFlowMaker
from coevo.labelling.registry import configured
from coevo.makers.checkpoints import check_checkpoints

if TYPE_CHECKING:
    from collections.abc import Callable

    from coevo.node_store.store import NodeStore
    from coevo.node_store.views import StateView


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
        if labeller:
            config = config.model_copy(update={"labelling": configured(config.labelling, labeller)})
        message = f"labels of up to {limit} entries by {config.labelling.code}"
        command = {"message": message, "limit": limit, "competing": competing, "config": config.identity()}
        if is_done(store, branch, head, command):
            say(f"the interrupted command had made its state already, {head.id[:12]}; no second one is made")
        else:
            begin(store, branch, head, command)
            flow = LabelFlowMaker(config=config, branch=branch).make(
                head.id, head.iteration + 1, checkpoints_of(head), limit=limit, competing=competing, message=message
            )
            run_flow(flow)
        view = store.state(f"{node}@{branch}")
        added = view.document["counts"]["labels_added"]
        report(view, added)
        end(store, node, branch)
    return view, added
