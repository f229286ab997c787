"""Seeds: every random number of a campaign derives from the node, the branch, the iteration, the step and the shard."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from coevo.configs.tree import NodeSection


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
