"""Print the plan of a campaign: of a node that exists, or of a configuration whose node would be made. Nothing is written."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from coevo.app.terminal import out, print_json, say
from coevo.errors import NodeNotFoundError

if TYPE_CHECKING:
    from coevo.configs.site_tree import Site
    from coevo.node_store.store import NodeStore


def print_plan(
    store: NodeStore,
    what: str,
    branch: str,
    iterations: int,
    format: str,  # noqa: A002
    site: Site | None = None,
) -> None:
    """Print a plan.

    Parameters
    ----------
    store : NodeStore
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
    from coevo.app.planning import plan, plan_json, plan_table, start_from_state, start_of_new
    from coevo.configs.loading import load_config, preset_names
    from coevo.flows.campaign import live_config
    from coevo.settings import read_settings

    node = what
    if what not in store.nodes():
        if what not in preset_names() and not what.endswith((".yaml", ".yml")):
            known = ", ".join(store.nodes()) or "none yet"
            raise NodeNotFoundError(
                f"no node {what!r} in this database (it has: {known}), and no preset or YAML file of this name"
            )
        loaded = load_config(what)
        node = loaded.config.node.name
    if node in store.nodes():
        head = store.state(f"{node}@{branch}")
        config, start = live_config(store, node, head, say, only_read=True), start_from_state(head)
    else:
        config, start = loaded.config, start_of_new(loaded)
    workers = read_settings().workers or config.resources.workers or len(os.sched_getaffinity(0))
    rows = plan(config, start, iterations, workers, site)
    if format == "json":
        print_json(plan_json(rows))
    else:
        out.print(plan_table(rows, measured=start.rates is not None))
