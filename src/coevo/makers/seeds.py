"""Seeds: every random number of a campaign derives from the node, the iteration, the step and the shard."""

from __future__ import annotations

import hashlib


def seed_for(node_seed: int, node: str, iteration: int, step: str, shard: int = 0) -> int:
    """Derive the seed of one job.

    Parameters
    ----------
    node_seed : int
        ``node.seed`` of the configuration.
    node, step : str
        Names of the node and of the step.
    iteration, shard : int

    Returns
    -------
    int
        In [0, 2**32), which every random-number generator of the stack accepts.
    """
    text = f"{node_seed}/{node}/{iteration}/{step}/{shard}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")
