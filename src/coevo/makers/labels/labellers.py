"""The labelling code of a node, handed what it needs of other rooms: a teacher gets its force field here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from coevo.configs.tree import LabellingConfig, NodeConfig
    from coevo.labelling.contract import Labeller


def labeller_for(labelling: LabellingConfig, *, elements: Sequence[str] = (), workers: int = 1) -> Labeller:
    """Return the labelling code that a configuration names.

    Parameters
    ----------
    labelling : LabellingConfig
    elements : sequence of str
        Elements of the node, for codes whose settings name a potential of each.
    workers : int

    Raises
    ------
    LabellingError
        If the code cannot be had; executables and potentials are looked for when its settings are asked for.
    """
    from coevo.labelling.contract import Workplace
    from coevo.labelling.registry import labeller_at
    from coevo.settings import read_settings

    return labeller_at(Workplace(labelling, tuple(elements), read_settings(), workers, _force_field))


def _force_field(family: str, weights: str) -> Any:
    from coevo.models.registry import force_field_from
    from coevo.settings import read_settings

    return force_field_from(family, weights=weights, device=read_settings().device)


def check_labelling(config: NodeConfig) -> None:
    """Look for what the labels of a node need on this machine, hours before the first of them is made.

    Raises
    ------
    LabellingError
        The executable, a potential or a package is missing or is not what the configuration names.
    """
    if config.selection.structures:
        labeller_for(config.labelling, elements=config.node.elements).settings()
