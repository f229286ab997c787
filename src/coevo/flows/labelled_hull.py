"""What steps of a flow are told where labelled phases make the hull; nothing where all that the force field says makes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from coevo.configs.tree import LabellingConfig, NodeConfig


def selecting(config: NodeConfig, *, labels_itself: bool = True) -> dict[str, Any]:
    """Parameters of the select step; ``labels_itself``: the configuration says by which settings, and no step of the user's."""
    curation = config.curation.of_hull()
    if curation is None:
        return {}
    return {"curation": curation, **judging(config), **({"labelling": config.labelling} if labels_itself else {})}


def judging(config: NodeConfig, judged_by: LabellingConfig | None = None) -> dict[str, Any]:
    """Parameters of the curate and assess steps.

    Parameters
    ----------
    config : NodeConfig
    judged_by : LabellingConfig, optional
        The node's own section, where ``config`` has another code for once: who labels a few entries changes no hull.
    """
    from coevo.makers.labels.standing import only_first_principles

    labelled = config.curation.of_hull() is not None
    return {"first_principles": True} if labelled and only_first_principles(judged_by or config.labelling) else {}


def measuring(config: NodeConfig) -> dict[str, Any]:
    """Parameters of the measure step."""
    curation = config.curation.of_hull()
    return {} if curation is None else {"curation": curation}


def on_scale(config: NodeConfig, offsets: Any) -> dict[str, Any]:
    """Arguments of the assess step: the energy offsets of the new state."""
    return {} if config.curation.of_hull() is None else {"offsets": offsets}
