"""Drawing structures from the generator of a state, outside the loop."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from operator import index
from typing import TYPE_CHECKING, Any

from coevo.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Iterable

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
            Fields of the conditions to set otherwise, such as ``max_atoms=12``, ``compositions="Li3PS4"`` or
            ``chemical_systems=("Li-P-S", "Li-S")``; systems with weights are a mapping.

        Returns
        -------
        Sample
            ``candidates``, each with ``structure`` and ``origin``, and ``rejected``: the draws that are no candidates, by reason.

        Raises
        ------
        ModelError
            If there is no such condition, or what is given is none.
        """
        asked = replace(conditions or self.conditions, **_as_conditions(changes))
        return self.model.sample(_whole(n, "n"), asked, _whole(seed, "seed"), progress=progress)


def _as_conditions(changes: dict[str, Any]) -> dict[str, Any]:
    """Bring what a person writes into the types of :class:`~coevo.models.contracts.Conditions`."""
    from coevo.models.contracts import Conditions

    allowed = [field.name for field in fields(Conditions)]
    unknown = sorted(changes.keys() - set(allowed))
    if unknown:
        raise ModelError(f"sample: got {', '.join(unknown)}, allowed: {', '.join(allowed)}")
    given = dict(changes)
    if "max_atoms" in given:
        given["max_atoms"] = _whole(given["max_atoms"], "max_atoms", least=1)
    if given.get("electron_excess_share") is not None:
        given["electron_excess_share"] = _share(given["electron_excess_share"], "electron_excess_share")
    for name in ("elements", "compositions"):
        if name in given:
            given[name] = tuple(_listed(given[name]))
    for formula in given.get("compositions", ()):
        _check_formula(formula)
    if "chemical_systems" in given:
        systems = given["chemical_systems"]
        weights = dict(systems) if isinstance(systems, Mapping) else dict.fromkeys(_listed(systems), 1.0)
        given["chemical_systems"] = {"-".join(sorted(name.split("-"))): float(weight) for name, weight in weights.items()}
    return given


def _listed(words: str | Iterable[str]) -> list[str]:
    return [words] if isinstance(words, str) else list(words)


def _check_formula(formula: str) -> None:
    from pymatgen.core import Composition

    try:
        atoms = Composition(formula).num_atoms
    except (ValueError, KeyError, TypeError):
        atoms = 0
    if not atoms:
        raise ModelError(f"sample: compositions: got {formula!r}, allowed: formulas such as 'Li3PS4'")


def _share(number: float, name: str) -> float:
    try:
        share = float(number)
    except (TypeError, ValueError):
        share = -1.0
    if not 0 <= share <= 1:
        raise ModelError(f"sample: {name}: got {number!r}, allowed: a number from 0 to 1, or None for no limit")
    return share


def _whole(number: int, name: str, least: int = 0) -> int:
    try:
        whole = index(number)
    except TypeError:
        whole = least - 1
    if whole < least:
        raise ModelError(f"sample: {name}: got {number!r}, allowed: an integer >= {least}")
    return whole


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
