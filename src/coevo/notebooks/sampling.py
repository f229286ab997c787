"""Drawing structures from the generator of a state, outside the loop."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from coevo.models.contracts import Conditions, Generator, Progress, Sample
    from coevo.node_store.store import NodeStore
    from coevo.node_store.views import StateView


@dataclass(frozen=True)
class StateGenerator:
    """The crystal generator of a state, with the conditions under which the state's configuration asks for candidates.

    Attributes
    ----------
    model : Generator
        For what is not offered here: ``fit``, ``save``.
    conditions : Conditions
    """

    model: Generator
    conditions: Conditions

    @property
    def family(self) -> str:
        """Name of the model family."""
        return self.model.family

    def sample(
        self, n: int, conditions: Conditions | None = None, seed: int = 0, *, progress: Progress | None = None, **changes: Any
    ) -> Sample:
        """Draw ``n`` candidates; the same arguments give the same candidates. Nothing is stored.

        Parameters
        ----------
        n : int
        conditions : Conditions, optional
            Those of the state's configuration by default.
        seed : int
        progress : callable, optional
            Called with the number of structures finished since the last call.
        **changes
            Fields of the conditions to set otherwise, such as ``max_atoms=12`` or ``compositions=("Li3PS4",)``.

        Returns
        -------
        Sample
            ``candidates``, each with ``structure`` and ``origin``, and ``rejected``: the draws that are no candidates, by reason.
        """
        asked = replace(conditions or self.conditions, **changes)
        return self.model.sample(n, asked, seed, progress=progress)


def load_state_generator(store: NodeStore, view: StateView) -> StateGenerator:
    """Load the generator of a state; see :meth:`coevo.notebooks.states.State.generator`."""
    from coevo.configs.loading import config_from_dict
    from coevo.makers.checkpoints import load_generator
    from coevo.makers.generate import conditions_of
    from coevo.node_store.known_fields import checkpoint_reference
    from coevo.node_store.trust.arrivals import refuse_unagreed

    config = config_from_dict(view.document["config"], source=f"configuration of {view.node}@{view.id[:12]}")
    refuse_unagreed(store, view.node, config.model_dump(mode="json"))
    checkpoint = checkpoint_reference(view.document["checkpoints"]["generator"])
    return StateGenerator(load_generator(store, checkpoint, config.generator), conditions_of(config.node, config.generator))
