"""Seeds: every random number of a campaign derives from the node, the branch, the iteration, the step and the shard.

The seed of a branch is what makes another continuation of a state other work. A state says with which one it was made
(``config.node.branch_seed``, left out where it is 0), and whoever continues it goes on with that: a resumed run, a cluster, a
branch that was moved to it, another database that imported it. A seed that is given to a branch is noted at its head until the
next state of the branch records it.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from coevo.errors import CampaignError, ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from coevo.configs.tree import NodeSection
    from coevo.node_store.backend import Backend
    from coevo.node_store.views import StateView


NODES_OWN = 0
"""The seed of a branch that has none of its own: what it does is what any other such branch does from the same state."""
SEEDS = 2**32
"""A seed is below this."""


def seed_for(node: NodeSection, iteration: int, step: str, shard: int = 0) -> int:
    """Derive the seed of one job.

    Parameters
    ----------
    node : NodeSection
        Its name, its seed and the seed of the branch count.
    iteration : int
    step : str
        Name of the step.
    shard : int

    Returns
    -------
    int
        In [0, 2**32), which every random-number generator of the stack accepts.
    """
    text = f"{node.seed}/{node.name}/{iteration}/{step}/{shard}"
    if node.branch_seed:
        text += f"/branch {node.branch_seed}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")


def seed_of_name(branch: str) -> int:
    """Derive the seed of a new branch from its name: six digits, which a table has room for, and never the node's own."""
    return int.from_bytes(hashlib.sha256(f"branch {branch}".encode()).digest()[:8], "big") % 999_999 + 1


def check_seed(seed: int | None) -> None:
    """Refuse what is no seed.

    Raises
    ------
    ConfigError
    """
    if seed is not None and not 0 <= seed < SEEDS:
        raise ConfigError(f"--seed: got {seed}, allowed: 0 (the node's own) to {SEEDS - 1}")


def recorded_seed(view: StateView) -> int:
    """Return the seed with which a state was made.

    Raises
    ------
    ConfigError
        If the configuration of the state says something that is no seed.
    """
    try:
        return seed_in(view.document["config"])
    except ValueError as err:
        raise ConfigError(f"configuration of {view.node}@{view.id[:12]}: {err}") from None


def seed_in(config: Mapping[str, Any]) -> int:
    """Return the seed of a state's configuration.

    Raises
    ------
    ValueError
        If it is none.
    """
    section = config.get("node", {})
    seed = section.get("branch_seed", NODES_OWN) if isinstance(section, dict) else NODES_OWN
    if type(seed) is not int or not 0 <= seed < SEEDS:
        raise ValueError(f"node.branch_seed: got {str(seed)[:40]!r}, allowed: an integer from 0 to {SEEDS - 1}")
    return seed


def noted_seed(backend: Backend, node: str, branch: str, head: str) -> int | None:
    """Return the seed that was given to a branch at its head, or None: it goes on with that of its state."""
    found = backend.note(node, _key(branch))
    return int(found["seed"]) if found and found["state"] == head else None


def note_seed(backend: Backend, node: str, branch: str, head: str, seed: int) -> None:
    """Note the seed with which a branch goes on from a state."""
    backend.write_note(node, _key(branch), {"state": head, "seed": seed})


def forget_seed(backend: Backend, node: str, branch: str) -> None:
    """Forget the seed that was given to a branch."""
    backend.write_note(node, _key(branch), None)


def seed_of_branch(backend: Backend, node: str, branch: str, head: StateView) -> int:
    """Return the seed with which a branch goes on from its head."""
    noted = noted_seed(backend, node, branch, head.id)
    return recorded_seed(head) if noted is None else noted


def give_seed(backend: Backend, branch: str, head: StateView, seed: int) -> None:
    """Let a branch go on from its head with another seed.

    Raises
    ------
    CampaignError
        If a campaign of the branch is not finished: half of its work would be done with either seed.
    """
    if seed == seed_of_branch(backend, head.node, branch, head):
        return
    unfinished = [
        campaign for campaign in backend.campaigns(head.node) if campaign["branch"] == branch and campaign["status"] == "running"
    ]
    if unfinished:
        raise CampaignError(
            f"campaign {unfinished[0]['id']} of {head.node}@{branch} is not finished and goes on with the seed "
            f"{seed_of_branch(backend, head.node, branch, head)}, not {seed}; finish it first (coevo run {head.node} --branch "
            f"{branch}), or give another branch the seed: coevo branch {head.node}@{head.id[:12]} NAME --seed {seed}"
        )
    note_seed(backend, head.node, branch, head.id, seed)


def _key(branch: str) -> str:
    return f"seed-{branch}"
