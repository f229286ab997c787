"""A node of hand-made states with two branches, for commands that are to start, or to be refused, at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hand_made_states import Node, config_for, label, pool

from coevo.configs.tree import GeneratorConfig
from coevo.makers.generators import SLOT, slots_of, unfitted

if TYPE_CHECKING:
    from coevo.node_store.store import NodeStore
    from coevo.node_store.views import StateView

NODE = "by-hand"


@dataclass
class TwoBranches:
    """Branches ``main`` and ``try`` that left a seed state with an entry and a label each."""

    store: NodeStore
    seed: StateView
    main: StateView
    other: StateView


def two_branches(
    store: NodeStore, name: str = NODE, mixture: dict[str, float] | None = None, *, fit: bool = False
) -> TwoBranches:
    """Make the node in the store of this process's settings; each generator of a mixture is unfitted."""
    config = config_for(name)
    if mixture is not None:
        config = config.model_copy(update={"generator": GeneratorConfig(fit=fit, mixture=mixture)})
    further = {slot: unfitted(config, family) for slot, family in slots_of(config).items() if slot != SLOT}
    node = Node(store, config, generators=further)
    seed, crystals = node.seed(), pool()
    heads = []
    for number, branch in enumerate(("main", "try")):
        row = label(crystals[number])
        heads.append(node.grow(seed, branch, [crystals[number]], {row["_id"]: (row, "train")}))
    return TwoBranches(store, seed, *heads)
