"""Initialise a node and run its campaigns in this process; a killed run goes on when it is started again."""

from __future__ import annotations

import warnings
from contextlib import nullcontext
from typing import TYPE_CHECKING

from coevo.errors import ConfigError, StorageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from jobflow import Flow, JobStore

    from coevo.campaigns.run_log import RunLog
    from coevo.configs.loading import LoadedConfig
    from coevo.flows.campaign import Say
    from coevo.node_store.store import NodeStore
    from coevo.node_store.views import StateView


def run_flow(flow: Flow, job_store: JobStore | None = None) -> None:
    """Run a Flow on this machine; the first error ends it, and what was finished stays stored under its key.

    Parameters
    ----------
    flow : Flow
    job_store : JobStore, optional
        Keeps the documents of jobflow too; they are held in memory by default, because results are found by their keys.

    Raises
    ------
    StorageError
        The ``job_store`` did not take a document.
    """
    from jobflow import JobStore
    from maggma.core import StoreError
    from maggma.stores import MemoryStore

    from coevo.campaigns.local_manager import run_side_by_side
    from coevo.flows.campaign import check_inputs

    with warnings.catch_warnings():
        # Third-party chatter (CIF rounding, spglib's deprecations) would drown what the user has to see.
        warnings.filterwarnings("ignore", module=r"(jobflow|maggma|pymatgen|spglib|chgnet|torch|ase|pyxtal)(\.|$)")
        check_inputs(flow)
        store = job_store or JobStore(MemoryStore())
        try:
            run_side_by_side(flow, store)
        except StoreError as error:
            raise StorageError(
                f"jobflow's JOB_STORE did not take the documents of {flow.name}: {error.args[-1]}; mend it, or run "
                "without --job-store"
            ) from error


def users_job_store(say: Say) -> JobStore:
    """Open the ``JOB_STORE`` of the user's jobflow settings.

    Parameters
    ----------
    say : callable
        Is told if it keeps nothing.

    Raises
    ------
    ConfigError
        It cannot be opened.
    """
    from jobflow import SETTINGS
    from maggma.stores import MemoryStore

    store = SETTINGS.JOB_STORE
    where = f"JOB_STORE of jobflow's settings ({SETTINGS.CONFIG_FILE})"
    try:
        store.connect()
        store.count()
    except Exception as error:  # of whichever database it is
        raise ConfigError(
            f"{where} cannot be opened: {type(error).__name__}: {str(error)[:300]}; mend it, or run without --job-store"
        ) from error
    if type(store.docs_store) is MemoryStore:
        say(f"note: {where} is in memory and keeps nothing; docs/python.md says how to name another")
    return store


def initialise(
    store: NodeStore, loaded: LoadedConfig, *, base: Path | None = None, say: Callable[[str], None] | None = None
) -> str | None:
    """Create a node and its first state: references evaluated by the published force field.

    Parameters
    ----------
    store : NodeStore
    loaded : LoadedConfig
        Configuration and its text.
    base : Path or None
        Directory that a relative file of references starts from.
    say : callable, optional
        Is told what of the references is left out.

    Returns
    -------
    str or None
        Id of the first state, or None when the node was there already with a state.

    Raises
    ------
    NodeExistsError
        The node exists with another configuration.
    ConfigError
        As :func:`coevo.flows.campaign.create_node`; or a force field, or a generator that is fitted, has no environment on this
        machine, or no checkout, and there is no node.
    """
    from coevo.flows.campaign import create_node, seed_flow
    from coevo.flows.seeding import check_environment, check_generator
    from coevo.makers.audit.auditor import check_auditor
    from coevo.makers.committee.members import check_members

    config = loaded.config
    check_members(config)
    check_auditor(config)
    if config.node.name not in store.nodes():
        check_environment(config)
        if config.generator.fit:
            check_generator(config)
    create_node(store, loaded, base=base, say=say)
    with store.run_lock(config.node.name):
        if store.head(config.node.name, "main") is not None:
            return None
        run_flow(seed_flow(loaded, base=base))
    return store.head(config.node.name, "main")


def run_campaign(
    store: NodeStore,
    node: str,
    *,
    branch: str,
    iterations: int,
    say: Say,
    on_state: Callable[[StateView], None],
    seed: int | None = None,
    log: RunLog | None = None,
    job_store: JobStore | None = None,
) -> str:
    """Run a campaign to its end and return how it ended: ``finished`` or ``mature``.

    Parameters
    ----------
    store : NodeStore
    node, branch : str
    iterations : int
        Transitions of a new campaign.
    say : callable
        Prints one line.
    on_state : callable
        Called with every new state.
    seed : int or None
        Seed of the branch from here on; as before by default.
    log : RunLog, optional
        Keeps what happens, from when the branch is held.
    job_store : JobStore, optional
        As :func:`run_flow` takes it.

    Raises
    ------
    NodeBusyError
        Another process runs or changes this branch.
    CampaignError
        The branch no longer descends from the state that the campaign started from, or its campaign uses another seed.
    CheckpointError
        A model of the branch head is missing, damaged or not trusted; no campaign was begun.
    LabellingError
        What the labels need is missing on this machine; no campaign was begun.
    ConfigError
        A model family has no environment here, a generator's a checkout that was not tested, or one that is added begins with
        what cannot be had; no campaign was begun.
    """
    from coevo.flows.campaign import decide, live_config, start_or_resume
    from coevo.flows.seeding import check_generator
    from coevo.makers.audit.auditor import check_auditor
    from coevo.makers.checkpoints import check_checkpoints
    from coevo.makers.committee.members import check_members, check_members_going_on
    from coevo.makers.generators import check_generators_going_on, generators_for
    from coevo.makers.labels.settings import check_labelling
    from coevo.node_store.seeds import check_seed, give_seed

    check_seed(seed)
    with store.run_lock(node, branch):
        head = store.state(f"{node}@{branch}")
        with log or nullcontext():
            say = log.telling(say) if log is not None else say
            # A configuration that is not valid, or whose labels or models cannot be had here, must not leave a campaign behind.
            check_checkpoints(store, head)
            config = live_config(store, node, head, lambda _: None)
            check_labelling(config)
            check_members(config)
            check_auditor(config)
            check_generators_going_on(store, head, config)
            check_members_going_on(store, head, config)
            check_generator(config)
            generators_for(config, head.document["checkpoints"])  # what one that is added begins with can be had here
            if seed is not None:
                give_seed(store.backend, branch, head, seed)
            campaign = start_or_resume(store, node, branch, iterations, say)
            reported = campaign.start
            while True:
                decision, head = decide(store, campaign, say)
                if head.id != reported:
                    if log is not None:
                        log.state(head)
                    on_state(head)
                    reported = head.id
                if decision.flow is None:
                    store.finish_campaign(campaign.id, decision.verdict)
                    return decision.verdict
                transition = f"transition {decision.done + 1} of {campaign.iterations}"
                say(f"{transition}: iteration {head.iteration + 1} from {head.id[:8]}")
                run_flow(decision.flow, job_store)
