"""A campaign: a number of transitions of one branch, each a workflow of its own, decided from the branch head alone.

The decision is idempotent: whoever asks, and however often, gets the same next workflow for the same head, and a campaign that
was killed goes on where its branch stands.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from coevo.flows.transition import CoevolutionMaker

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jobflow import Flow

    from coevo.configs.tree import NodeConfig

Verdict = Literal["continue", "finished", "mature"]


@dataclass(frozen=True)
class Decision:
    """What a campaign does next.

    Attributes
    ----------
    verdict : {"continue", "finished", "mature"}
    done : int
        Transitions made since the campaign's start.
    flow : Flow or None
        The next transition.
    """

    verdict: Verdict
    done: int
    flow: Flow | None = None


def next_transition(
    config: NodeConfig, head: Mapping[str, Any], *, branch: str, start_iteration: int, iterations: int
) -> Decision:
    """Decide on the next transition.

    Parameters
    ----------
    config : NodeConfig
        The node's configuration as it stands now.
    head : mapping
        Document of the state at the branch head (``_id``, ``iteration``, ``checkpoints``, ``metrics``).
    branch : str
    start_iteration : int
        Iteration of the state that the campaign started from.
    iterations : int
        Transitions that the campaign is to make.
    """
    done = head["iteration"] - start_iteration
    if done >= iterations:
        return Decision("finished", done)
    if done and head["metrics"]["maturity"]["mature"]:
        return Decision("mature", done)
    checkpoints = head["checkpoints"]
    flow = CoevolutionMaker(config=config, branch=branch).make(
        head["_id"], head["iteration"] + 1, bare(checkpoints["force_field"]), bare(checkpoints["generator"])
    )
    return Decision("continue", done, flow)


def bare(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """Drop the URI: where a checkpoint lies must not change a job's key."""
    return {key: value for key, value in checkpoint.items() if key != "uri"}
