"""The generators of a state: which slots they are kept in, which the next state goes on with, and what came of each.

A node with one generator has it in the slot ``generator``. One with a mixture has that of ``generator.family`` there, and each
other in ``generator/FAMILY``.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, TypedDict

from coevo.families import FURTHER_GENERATORS
from coevo.makers.checkpoints import check_checkpoint, save_checkpoint
from coevo.node_store.known_fields import checkpoint_reference

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from coevo.configs.tree import NodeConfig
    from coevo.makers.outputs import Checkpoint, Checkpoints, Counts, TrainedGenerator
    from coevo.makers.step import Record
    from coevo.node_store.store import NodeStore
    from coevo.node_store.views import StateView

SLOT = "generator"


class DrawnBy(TypedDict):
    """Who drew a shard of candidates."""

    family: str
    asked: int
    """Candidates that it was asked for."""


def slot_of(family: str) -> str:
    """Where a state keeps the checkpoint of a generator that draws beside that of ``generator.family``."""
    return f"{FURTHER_GENERATORS}{family}"


def is_generator(slot: str) -> bool:
    """Whether a slot of a state is that of a generator."""
    return slot == SLOT or slot.startswith(FURTHER_GENERATORS)


def slots_of(config: NodeConfig) -> dict[str, str]:
    """Slots of the generators that a configuration wants, each with its family; the slot ``generator`` first."""
    main, *others = config.generator.families
    return {SLOT: main, **{slot_of(family): family for family in others}}


def slot_in(checkpoints: Mapping[str, Checkpoint], family: str) -> str | None:
    """Return the slot of a state in which it has a generator of a family; None if it has none."""
    return next((slot for slot in (SLOT, slot_of(family)) if checkpoints.get(slot, {}).get("family") == family), None)


def generators_going_on(config: NodeConfig, checkpoints: Mapping[str, Checkpoint]) -> dict[str, str]:
    """Say which generators of a state the next one goes on with.

    Parameters
    ----------
    config : NodeConfig
        Of the next state.
    checkpoints : mapping
        Of the state, by slot.

    Returns
    -------
    dict
        Slot in the next state to slot in this one. Of a node with one generator, whatever is in the slot ``generator``.
    """
    if not config.generator.mixture:
        return {SLOT: SLOT} if SLOT in checkpoints else {}
    found = {slot: slot_in(checkpoints, family) for slot, family in slots_of(config).items()}
    return {slot: kept for slot, kept in found.items() if kept is not None}


def generators_for(config: NodeConfig, *checkpoints: Mapping[str, Checkpoint]) -> Checkpoints:
    """Generators that the next state starts with, by slot: those of a state that go on, and unfitted ones.

    Parameters
    ----------
    config : NodeConfig
        Of the next state.
    *checkpoints : mapping
        Of the state that is continued, and of others from which comes what it does not have; none for a new node.

    Raises
    ------
    ConfigError, ModelError
        What a family begins with cannot be had here.
    """
    found: Checkpoints = {}
    for kept in checkpoints:
        for slot, other in generators_going_on(config, kept).items():
            found.setdefault(slot, checkpoint_reference(kept[other]))
    return {slot: found[slot] if slot in found else unfitted(config, family) for slot, family in slots_of(config).items()}


def unfitted(config: NodeConfig, family: str) -> Checkpoint:
    """Write a generator that has learned nothing as an artifact and return its checkpoint."""
    from coevo.makers.step import current_store
    from coevo.models.registry import generator_from

    generator = generator_from(family, settings=config.generator.of_family(family))
    return save_checkpoint(current_store(), generator, parent=None, training_set=None)


def further(checkpoints: Mapping[str, Checkpoint]) -> Checkpoints:
    """Of checkpoints by slot those of the generators beside that of ``generator.family``, by family."""
    return {
        slot.removeprefix(FURTHER_GENERATORS): checkpoint
        for slot, checkpoint in checkpoints.items()
        if slot.startswith(FURTHER_GENERATORS)
    }


def check_generators_going_on(store: NodeStore, view: StateView, config: NodeConfig, other: StateView | None = None) -> None:
    """Make sure that the generators of a state that go on can be loaded, before anything is computed or written.

    That in its slot ``generator`` is among both models of a state (:func:`coevo.makers.checkpoints.check_checkpoints`).

    Parameters
    ----------
    store : NodeStore
    view : StateView
    config : NodeConfig
        Of the next state.
    other : StateView, optional
        From which come generators of a mixture that the state does not have.

    Raises
    ------
    CheckpointError, CorruptArtifactError
        As :func:`coevo.makers.checkpoints.check_checkpoints`.
    """
    own = generators_going_on(config, view.document["checkpoints"])
    for slot in sorted(set(own.values()) - {SLOT}):
        check_checkpoint(store, view, slot)
    if other is None:
        return
    for slot, kept in generators_going_on(config, other.document["checkpoints"]).items():
        if slot not in own:
            check_checkpoint(store, other, kept)


# --- what came of each


def families_by_checkpoint(checkpoints: Iterable[Mapping[str, Checkpoint]]) -> dict[str, str]:
    """Say of which family the generators of states are, and those that they were fitted from, by sha256.

    What a merge records of its parents' slots (``parents``) says nothing: a slot may have had another family there. They are
    states of their own.
    """
    found: list[tuple[str, str]] = []
    fitted_from: list[tuple[str, str]] = []
    for state in checkpoints:
        for slot, checkpoint in state.items():
            if is_generator(slot):
                found.append((checkpoint["sha256"], checkpoint["family"]))
                if parent := checkpoint.get("parent"):
                    fitted_from.append((parent, checkpoint["family"]))
    return dict([*fitted_from, *found])  # what a state says of its own goes before


def entries_of_generators(
    families: Iterable[str], documents: Iterable[Record], origins: Mapping[str, Any], by_checkpoint: Mapping[str, str]
) -> dict[str, Counts]:
    """Count the entries of a state that each family drew, by the checkpoint that their origin names.

    Parameters
    ----------
    families : iterable of str
    documents : iterable of dict
        Evaluations of the state; duplicates, references and entries that came with a state of another node (``iteration_added``
        is 0) are passed over.
    origins : mapping of str to dict
        By id of the entry, as structure documents have them.
    by_checkpoint : mapping of str to str
        Family by sha256 (:func:`families_by_checkpoint`). Entries of a checkpoint that is not in it are in no count.

    Returns
    -------
    dict
        Family to ``entries``, ``stable`` and ``sun``: by this state's verdicts.
    """
    counts: dict[str, Counter[str]] = {family: Counter(entries=0, stable=0, sun=0) for family in families}
    for document in documents:
        if document["kind"] != "entry" or document["duplicate_of"] is not None or document.get("iteration_added") == 0:
            continue  # what a node began with, it did not draw, whatever the origin says
        origin = origins.get(document["structure_id"])
        family = by_checkpoint.get(str(origin.get("generator"))) if isinstance(origin, dict) else None
        if family in counts:
            counts[family].update(entries=1, stable=int(document["is_stable"]), sun=int(document["is_sun"]))
    return {family: dict(count) for family, count in counts.items()}


def generator_metrics(
    documents: Iterable[Record],
    generators: Mapping[str, TrainedGenerator],
    parents: Iterable[StateView],
    admitted: Iterable[Record],
) -> dict[str, Any]:
    """Say of each generator of a mixture what became of its fit, and which entries of the new state it drew.

    Parameters
    ----------
    documents : iterable of dict
        Evaluations of the new state.
    generators : mapping
        What the steps before say of each, by family.
    parents : iterable of StateView
    admitted : iterable of dict
        Candidates that become entries, with their ``origin``.
    """
    views = list(parents)
    states = {state.id: state for view in views for state in (view, *view.ancestors())}
    origins = {row["id"]: row["origin"] for row in admitted} | _origins(views)
    of_states = (state.document["checkpoints"] for state in states.values())
    by_checkpoint = families_by_checkpoint([*of_states, {slot_of(name): each["checkpoint"] for name, each in generators.items()}])
    counts = entries_of_generators(generators, documents, origins, by_checkpoint)
    return {family: {"fitted": each["fitted"], "report": each["report"], **counts[family]} for family, each in generators.items()}


def _origins(views: Iterable[StateView]) -> dict[str, Any]:
    return {document["_id"]: document.get("origin") for view in views for document in view.structure_documents()}


def entries_again(view: StateView, families: Iterable[str]) -> dict[str, Counts]:
    """Count the entries of a state that each family drew, from what the state and those before it hold."""
    by_checkpoint = families_by_checkpoint(state.document["checkpoints"] for state in (view, *view.ancestors()))
    return entries_of_generators(families, view.evaluations("entry"), _origins([view]), by_checkpoint)
