"""Print the plan of a campaign: of a node that exists, or of a configuration whose node would be made. Nothing is written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from coevo.app.terminal import out, print_json, say
from coevo.errors import NodeNotFoundError, StorageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from coevo.configs.site_loading import LoadedSite
    from coevo.configs.site_tree import Site
    from coevo.node_store.store import NodeStore

_PATIENCE = 3.0
"""Seconds that a site's server may take to answer: a plan can do without it."""


def print_plan(
    store: NodeStore | None,
    what: str,
    branch: str,
    iterations: int,
    format: str,  # noqa: A002
    site: Site | None = None,
) -> None:
    """Print a plan.

    Parameters
    ----------
    store : NodeStore or None
        Where nodes are looked up; None if no database can be asked.
    what : str
        A node; or a preset or YAML file of a new one.
    branch : str
    iterations : int
    format : {"table", "json"}
    site : Site, optional
        Where it would run; this machine, if None.

    Raises
    ------
    NodeNotFoundError
        There is neither a node nor a configuration of this name.
    """
    from coevo.app.tables.plans import plan_table
    from coevo.campaigns.planning import plan, plan_json, start_from_state, start_of_new
    from coevo.configs.loading import load_config
    from coevo.flows.campaign import live_config
    from coevo.makers.step import StepMaker

    nodes = [] if store is None else store.nodes()
    node = what
    if what not in nodes:
        if not is_configuration(what):
            known = ", ".join(nodes) or "none yet"
            place = "a database that can be asked" if store is None else f"the database {store.place}"
            raise NodeNotFoundError(f"no node {what!r} in {place} (it has: {known}), and no preset or YAML file of this name")
        loaded = load_config(what)
        node = loaded.config.node.name
    if store is not None and node in nodes:
        head = store.state(f"{node}@{branch}")
        config = live_config(store, node, head, say, only_read=True)
        start = start_from_state(head, config)
    else:
        config, start = loaded.config, start_of_new(loaded)
    workers = StepMaker(workers=config.resources.workers).usable_workers()
    rows = plan(config, start, iterations, workers, site)
    if format == "json":
        print_json(plan_json(rows))
    else:
        out.print(plan_table(rows, measured=start.rates is not None, width=out.width))


def print_site_plan(
    loaded: LoadedSite,
    what: str,
    branch: str,
    iterations: int,
    format: str,  # noqa: A002
    lacking: Sequence[str] = (),
) -> None:
    """Print a plan for a site, whose server need not answer: a configuration says enough, and a node may be in this database.

    Parameters
    ----------
    loaded : LoadedSite
    what, branch, iterations, format
        As of :func:`print_plan`.
    lacking : sequence of str
        Environment variables without which the server cannot be asked.

    Raises
    ------
    NodeNotFoundError
        There is neither a node nor a configuration of this name.
    StorageError
        The server does not answer, and the node is not in this process's database either.
    """
    from coevo.node_store.mongodb.connection import MongoConnection, ask_server
    from coevo.node_store.store import open_store
    from coevo.settings import Settings, read_settings

    server = loaded.site.database_server
    try:
        if lacking:
            raise StorageError(f"cannot be asked without {' and '.join(lacking)} in the environment")
        ask_server(server.uri, server.name, _PATIENCE)
    except StorageError as err:
        why = str(err) if lacking else "does not answer"
        own = read_settings()
        here = open_store(own) if own.is_embedded and own.directory.is_dir() else None
        if here is not None and what in here.nodes():
            say(f"note: the site's database {why}; node {what} is planned as it is in {own.database}")
        elif is_configuration(what):
            say(f"note: the site's database {why}; planned as a new node, with default rates")
            here = None
        else:
            raise StorageError(
                f"submit --plan: the site's database at {MongoConnection(server.uri).place} {why}, and there is no "
                f"node {what!r} in {own.database}; start the server, or give a preset or a YAML file, which needs none"
            ) from None
        print_plan(here, what, branch, iterations, format, loaded.site)
        return
    store = open_store(Settings(database=loaded.site.database, artifacts=loaded.site.artifacts))
    print_plan(store, what, branch, iterations, format, loaded.site)


def is_configuration(what: str) -> bool:
    """Whether a configuration is meant and not a node: a preset, or a YAML file."""
    from coevo.configs.loading import preset_names

    return what in preset_names() or what.endswith((".yaml", ".yml"))
