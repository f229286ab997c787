"""The next transition of a state as a jobflow Flow, for whoever runs jobs by other means than ``coevo run``."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from coevo.errors import ConfigError, StateNotFoundError
from coevo.processes import hold_numerics

if TYPE_CHECKING:
    from jobflow import Flow

    from coevo.notebooks.states import State

_log = logging.getLogger("coevo")


def transition_flow(state: State, *, branch: str | None = None, here: bool = True) -> Flow:
    """Wire the transition that makes the next state of a branch; its last job commits it, and its output is ``{"state": id}``.

    Run it by ``jobflow.run_locally``, or turn it into a workflow by ``jobflow.managers.fireworks.flow_to_workflow``. The state
    that it ends in is that of ``coevo run``, and jobs that ``coevo run`` has finished are not done again. Jobs open the database
    that ``COEVO_DATABASE`` names in *their* process. No campaign is recorded, and no other run is kept out meanwhile: should the
    branch move before the commit, the work is kept as a branch of its own.

    Parameters
    ----------
    state : State
        The head of a branch.
    branch : str, optional
        The branch that is moved to the new state; the one by which the state was opened, or the only one that is there.
    here : bool
        The jobs will run on this machine: it is made sure that they open the state's database, and that the models and what
        the labels need are here. False for jobs that run elsewhere, whose workers may have what is lacking here.

    Raises
    ------
    ConfigError
        The node's configuration is not valid, or holds what nobody has agreed to; or the state is of another database than
        the one that jobs would open.
    StateNotFoundError
        The state is not the head of the branch.
    CheckpointError, LabellingError
        A model or what the labels need is missing here.
    CorruptArtifactError
        A document of the state holds what jobflow would build objects from.
    """
    from coevo.flows.campaign import check_inputs, live_config, next_transition
    from coevo.flows.seeding import check_generator
    from coevo.makers.audit.auditor import check_auditor
    from coevo.makers.checkpoints import check_checkpoints
    from coevo.makers.committee.members import check_members, check_members_going_on
    from coevo.makers.generators import check_generators_going_on
    from coevo.makers.labels.settings import check_labelling

    if here:
        _check_database(state)
    name = _branch_of(state, branch)
    config = live_config(state.store, state.node, state.view, _log.info, name)
    if here:
        check_checkpoints(state.store, state.view)
        check_labelling(config)
        check_generator(config)
        check_members(config)
        check_auditor(config)
        check_generators_going_on(state.store, state.view, config)
        check_members_going_on(state.store, state.view, config)
    hold_numerics()  # as the command line does
    document = {**state.view.document, "_id": state.id}
    decision = next_transition(config, document, branch=name, start_iteration=state.iteration, iterations=1)
    assert decision.flow is not None
    check_inputs(decision.flow)
    return decision.flow


def _check_database(state: State) -> None:
    """Make sure that jobs of this process, which know its settings alone, open the database of the state."""
    from coevo.node_store.current import current_store

    here, jobs = state.store, current_store()
    if (here.place, here.artifacts.uri) != (jobs.place, jobs.artifacts.uri):
        raise ConfigError(
            f"the state is of the database {here.place} with artifacts in {here.artifacts.uri}, but jobs of this process would "
            f"run on {jobs.place} with artifacts in {jobs.artifacts.uri}: set COEVO_DATABASE (and COEVO_ARTIFACTS) to those of "
            'the state before, for instance os.environ["COEVO_DATABASE"] = "file:…"'
        )


def _branch_of(state: State, asked: str | None) -> str:
    """Return the branch whose head the state is."""
    branches = state.store.node(state.node).branches
    at = [name for name, head in branches.items() if head == state.id]
    if asked is not None or state.branch in at:
        name = asked if asked is not None else str(state.branch)
        if name not in at:
            where = f"is at {branches[name]}" if branches.get(name) else "is not there"
            raise StateNotFoundError(
                f"branch {name} of {state.node} {where}, and not at the state {state.id[:12]}; branches at it: "
                f"{', '.join(at) or 'none'}; make one: coevo branch {state.node}@{state.id[:12]} NAME"
            )
        return name
    if len(at) != 1:
        what = f"the head of several branches ({', '.join(at)}): say which, branch=…" if at else "not the head of a branch"
        todo = "" if at else f"; make one: coevo branch {state.node}@{state.id[:12]} NAME"
        raise StateNotFoundError(f"state {state.id[:12]} of {state.node} is {what}{todo}")
    return at[0]
