"""Campaigns on a site: what the commands ``submit``, ``launch``, ``jobs``, ``rerun`` and ``cancel`` do."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from coevo.errors import CampaignError, NodeNotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from fireworks.core.launchpad import LaunchPad

    from coevo.configs.loading import LoadedConfig
    from coevo.configs.site_loading import LoadedSite
    from coevo.configs.step_classes import ClassName
    from coevo.flows.campaign import Say
    from coevo.node_store.documents import CampaignDocument
    from coevo.node_store.store import NodeStore
    from coevo.slurm.job_table import JobRow
    from coevo.slurm.launching import Round
    from coevo.slurm.submission import Manager, Submission, WorkflowQueue


@dataclass(frozen=True)
class OpenSite:
    """A site with its launchpad and its node store.

    Attributes
    ----------
    loaded : LoadedSite
    launchpad : LaunchPad
    store : NodeStore
    """

    loaded: LoadedSite
    launchpad: LaunchPad
    store: NodeStore


@contextmanager
def opened_site(given: str | None) -> Iterator[OpenSite]:
    """Open a site; a server that does not answer is one clear error without credentials.

    Parameters
    ----------
    given : str or None
        File of the site; COEVO_SITE or ``./site.yaml`` if None.

    Raises
    ------
    ConfigError
        If the file is missing or not valid.
    StorageError
        If the database or the launchpad does not answer.
    """
    from coevo.slurm.queue_scripts import launchpad

    with opened_store(given) as (loaded, store):
        yield OpenSite(loaded, launchpad(loaded), store)


@contextmanager
def opened_store(given: str | None) -> Iterator[tuple[LoadedSite, NodeStore]]:
    """Open a site without a launchpad; takes and raises what :func:`opened_site` does."""
    from coevo.configs.site_loading import load_site
    from coevo.node_store.current import current_store
    from coevo.node_store.mongodb.connection import MongoConnection

    loaded = load_site(given)
    # what this process writes must be where the workers look
    os.environ["COEVO_DATABASE"], os.environ["COEVO_ARTIFACTS"] = loaded.site.database, loaded.site.artifacts
    with MongoConnection(loaded.site.launchpad_server.uri).errors("asking the launchpad"):
        yield loaded, current_store()


@contextmanager
def opened_queue(given: str | None, manager: Manager) -> Iterator[tuple[NodeStore, WorkflowQueue]]:
    """Open a site for submitting to one of the managers, whose files for the workers are written.

    Parameters
    ----------
    given : str or None
        File of the site; COEVO_SITE or ``./site.yaml`` if None.
    manager : {"fireworks", "jobflow-remote"}

    Raises
    ------
    CampaignError
        If the manager is not installed.
    """
    if manager == "fireworks":
        from coevo.slurm.submission import FireworksQueue, prepare_launchpad
        from coevo.slurm.worker_files import write_worker_files

        with opened_site(given) as site:
            write_worker_files(site.loaded)
            prepare_launchpad(site.launchpad)
            yield site.store, FireworksQueue(site.launchpad)
        return
    from coevo.slurm.jobflow_remote.project import write_project
    from coevo.slurm.jobflow_remote.submission import open_queue

    with opened_store(given) as (loaded, store):
        queue = open_queue(write_project(loaded))
        try:
            queue.prepare()
            yield store, queue
        finally:
            queue.close()


def submit(
    store: NodeStore, queue: WorkflowQueue, what: str, branch: str, iterations: int, say: Say, *, seed: int | None = None
) -> tuple[CampaignDocument, Submission]:
    """Add the next workflow of a node's campaign; start the campaign, and create the node, where there is none.

    Parameters
    ----------
    store : NodeStore
    queue : WorkflowQueue
        Of the manager that is to run the jobs.
    what : str
        A node; or a preset or YAML file, whose node is created if it is new.
    branch : str
    iterations : int
        Transitions of a new campaign; an unfinished one is finished first.
    say : callable
    seed : int or None
        Seed of the branch from here on; as before by default.

    Raises
    ------
    NodeNotFoundError
        There is neither a node nor a configuration of this name.
    NodeBusyError
        A process runs or changes this branch.
    CheckpointError
        A model of the branch head is missing or not trusted; no campaign was begun.
    ConfigError
        What a generator that is added begins with cannot be had here; no campaign was begun.
    """
    from coevo.flows.campaign import live_config, start_or_resume
    from coevo.makers.checkpoints import check_checkpoints
    from coevo.makers.committee.members import check_members_going_on
    from coevo.makers.generators import check_generators_going_on, generators_for
    from coevo.node_store.seeds import check_seed, give_seed
    from coevo.slurm.continuation import advance, submit_seed

    check_seed(seed)

    if what not in store.nodes():
        loaded = _configuration(what, store)
        node = loaded.config.node.name
        if node not in store.nodes() or store.head(node, "main") is None:
            if branch != "main":
                raise CampaignError(f"node {node} is new and has only the branch main; got --branch {branch}")
            if seed:
                raise CampaignError(f"node {node} is new: its seed is node.seed of the configuration; got --seed {seed}")
            return submit_seed(store, queue, loaded, iterations, base=loaded.base)
        what = node
    if store.head(what, branch) is None and branch == "main":
        raise CampaignError(f"node {what} has no state yet; submit its configuration: coevo submit FILE (or finish `coevo init`)")
    # while a process here makes a state of this branch, jobs that start from the state before it would be in vain
    with store.run_lock(what, branch):
        # a configuration that is not valid, or a model that cannot be loaded, must not leave a campaign behind
        head = store.state(f"{what}@{branch}")
        check_checkpoints(store, head)
        config = live_config(store, what, head, lambda _: None)
        check_generators_going_on(store, head, config)
        check_members_going_on(store, head, config)
        generators_for(config, head.document["checkpoints"])  # what one that is added begins with can be had here
        if seed is not None:
            give_seed(store.backend, branch, head, seed)
        campaign = start_or_resume(store, what, branch, iterations, say)
        return campaign, advance(store, queue, campaign, say)


def _configuration(what: str, store: NodeStore) -> LoadedConfig:
    from coevo.configs.loading import load_config, preset_names

    if what in preset_names() or what.endswith((".yaml", ".yml")):
        return load_config(what)
    known = ", ".join(store.nodes()) or "none yet"
    raise NodeNotFoundError(
        f"no node {what!r} in the site's database (it has: {known}); a node of an embedded database comes there by "
        "`coevo export` and `coevo import`, and `coevo submit FILE` or a preset creates a new one"
    )


def rows_of(site: OpenSite, node: str, *, campaign: str | None = None) -> list[JobRow]:
    """Return the jobs of a node; see :func:`coevo.slurm.job_table.job_rows`.

    Raises
    ------
    NodeNotFoundError
        If there is no such node.
    """
    from coevo.slurm.job_table import job_rows
    from coevo.slurm.queue_state import active_jobs

    if node not in site.store.nodes():
        raise NodeNotFoundError(f"no node {node!r} in the site's database; it has: {', '.join(site.store.nodes()) or 'none yet'}")
    active = active_jobs if site.loaded.site.queue == "slurm" else None
    return job_rows(site.launchpad, node, campaign=campaign, active=active)


def shown_rows(site: OpenSite, node: str, branch: str) -> list[JobRow]:
    """Return the jobs of the latest campaign of a branch and of unfinished studies; all of the node if there is no campaign."""
    from coevo.slurm.study_submission import STUDY

    rows, latest = rows_of(site, node), latest_campaign(site, node, branch)
    if latest is None:
        return rows
    ended = {"completed", "cancelled"}
    studies = {row.campaign for row in rows if row.campaign.startswith(STUDY) and row.state not in ended}
    return [row for row in rows if row.campaign == latest or row.campaign in studies]


def cancel_studies(site: OpenSite, node: str) -> tuple[list[str], int]:
    """Put out the jobs of all studies of a node that are not finished; return the names of these studies, and how many jobs.

    Raises
    ------
    NodeNotFoundError
        If there is no such node.
    """
    from coevo.slurm.rerunning import put_out
    from coevo.slurm.study_submission import STUDY

    rows = [row for row in rows_of(site, node) if row.campaign.startswith(STUDY) and row.state not in {"completed", "cancelled"}]
    return sorted({row.campaign for row in rows}), put_out(site.launchpad, rows, packed=packed_classes(site))


def latest_campaign(site: OpenSite, node: str, branch: str) -> str | None:
    """Return the id of the latest campaign of a branch, or None if there was none."""
    mine = [campaign.id for campaign in site.store.campaigns(node) if campaign.branch == branch]
    return mine[-1] if mine else None


def packed_classes(site: OpenSite) -> frozenset[str]:
    """Return the classes whose allocations take jobs of all nodes."""
    from coevo.configs.step_classes import CLASS_NAMES

    return frozenset(name for name in CLASS_NAMES if site.loaded.site.resources(name).mode == "packed")


def chosen(rows: Sequence[JobRow], *, fizzled: bool, lost: bool, step: str | None) -> list[JobRow]:
    """Return the fizzled and lost jobs (both if neither is asked for), of one step if one is named."""
    wanted = {name for name, asked in (("fizzled", fizzled), ("lost", lost)) if asked} or {"fizzled", "lost"}
    return [row for row in rows if row.state in wanted and step in (None, row.step)]


def class_names(given: Sequence[str] | None) -> tuple[ClassName, ...]:
    """Check names of classes; all of them if none is given.

    Raises
    ------
    CampaignError
        If there is no such class.
    """
    from coevo.configs.step_classes import CLASS_NAMES

    unknown = [name for name in given or () if name not in CLASS_NAMES]
    if unknown:
        raise CampaignError(f"--class {unknown[0]}: no such class; allowed: {', '.join(CLASS_NAMES)}")
    return tuple(name for name in CLASS_NAMES if not given or name in given)


def round_line(done: Round) -> str:
    """Say in one line what a round of launching did."""
    parts = []
    for name, identifiers in done.submitted.items():
        shown = ", ".join(identifiers[:5]) + (", …" if len(identifiers) > 5 else "")
        parts.append(f"{len(identifiers)} {name} ({shown})")
    waiting = sum(done.ready.values())
    left = f"; {waiting} ready jobs wait for room in the queue" if waiting and parts else ""
    return f"submitted {', '.join(parts)}{left}" if parts else ""
