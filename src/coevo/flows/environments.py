"""How the calibration of environments is wired into a flow, where maturity is judged by it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coevo.makers.calibrate_environments import CalibrateEnvironmentsMaker

if TYPE_CHECKING:
    from collections.abc import Sequence

    from coevo.configs.tree import NodeConfig


def calibrating(
    config: NodeConfig, prefix: str, force_field: Any, parents: Sequence[str], shards: Any = None
) -> tuple[dict[str, Any], list[Any]]:
    """Calibrate environments, or hand on the calibration of a parent.

    Parameters
    ----------
    config : NodeConfig
    prefix : str
        How names of jobs begin: ``NODE/ITERATION``.
    force_field : dict or reference
        Checkpoint by which references move, if they have to.
    parents : sequence of str
        Ids of the states before, the one that is continued first.
    shards : reference, optional
        To evaluated shards with the references; those of the first parent are taken without it.

    Returns
    -------
    given : dict
        What the measure job and the commit are given in addition: ``environments``, or nothing.
    jobs : list
    """
    if config.maturity.environment_signal != "coverage":
        return {}, []
    maker = CalibrateEnvironmentsMaker(f"{prefix}/calibrate-environments", config.resources.workers, node=config.node)
    job = maker.make(force_field, list(parents), shards)
    return {"environments": job.output}, [job]
