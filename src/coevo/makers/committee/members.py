"""Members of the second opinion: where a state keeps them, which a configuration wants, and what each was trained on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coevo.configs.uncertainty_section import OtherForceField
from coevo.errors import ConfigError
from coevo.families import COMMITTEE, descriptor_of
from coevo.labelling.imported.functionals import base_of
from coevo.makers.checkpoints import check_checkpoint, save_checkpoint
from coevo.node_store.known_fields import checkpoint_reference
from coevo.node_store.trust.loading import came_from_elsewhere

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from coevo.analysis.signals.agreement import Training
    from coevo.configs.tree import ForceFieldConfig, LabellingConfig, NodeConfig
    from coevo.makers.outputs import Checkpoint
    from coevo.makers.step import Record
    from coevo.node_store.store import NodeStore
    from coevo.node_store.views import StateView

OWN = "force_field"
"""How the state's own force field is called among the voices."""

COMPUTED = ("espresso", "vasp")
"""Codes whose labels are known to be first-principles results of the node's own frames. What somebody's file, Maker or code says
may come from a force field that was trained on anything."""


def slot_of(name: str) -> str:
    """Where a state keeps the checkpoint of a member."""
    return f"{COMMITTEE}{name}"


def checkpoints_of_members(checkpoints: Mapping[str, Checkpoint]) -> dict[str, Checkpoint]:
    """Checkpoints of the members of a state, by name, as jobs take them."""
    return {
        slot.removeprefix(COMMITTEE): checkpoint_reference(checkpoint)
        for slot, checkpoint in checkpoints.items()
        if slot.startswith(COMMITTEE)
    }


def check_members(config: NodeConfig) -> None:
    """Make sure that the other force fields that a configuration wants can be asked on this machine.

    Raises
    ------
    ConfigError
        One has an environment of its own, and there is none here.
    """
    from coevo.models.external.environment import environment_of

    for other in config.uncertainty.others:
        family = descriptor_of(other.family, "force_field")
        if family.environment is not None:
            try:
                environment_of(family.environment)
            except ConfigError as err:
                raise ConfigError(f"uncertainty.families: {other} cannot be asked here: {err}") from None


def members_going_on(
    config: NodeConfig, checkpoints: Mapping[str, Checkpoint], store: NodeStore | None = None
) -> dict[str, Checkpoint]:
    """Members of a state that the next one goes on with.

    One of another family judges as published: one that was fitted is none, and of one that a bundle brought nothing says that it
    is what its slot is called.

    Parameters
    ----------
    config : NodeConfig
    checkpoints : mapping
        Of the state.
    store : NodeStore, optional
        Which knows where blobs came from; that of this process.
    """
    from coevo.makers.step import current_store

    family = config.screening.force_field.family
    there = checkpoints_of_members(checkpoints)
    found = {
        name: there[name] for name in config.uncertainty.own_names(family) if name in there and there[name]["family"] == family
    }
    for other in config.uncertainty.others:
        kept = there.get(other.name)
        if kept is None or kept["family"] != other.family or kept.get("parent"):
            continue
        if not came_from_elsewhere(store or current_store(), kept["sha256"]):
            found[other.name] = kept
    return found


def check_members_going_on(
    store: NodeStore, view: StateView, config: NodeConfig, checkpoints: Mapping[str, Checkpoint] | None = None
) -> None:
    """Make sure that the members of a state that go on can be loaded, before anything is computed or written.

    Parameters
    ----------
    store : NodeStore
    view : StateView
    config : NodeConfig
        Of the next state.
    checkpoints : mapping, optional
        Those of the state that count; all of them.

    Raises
    ------
    CheckpointError, CorruptArtifactError
        As :func:`coevo.makers.checkpoints.check_checkpoints`.
    """
    for name in sorted(members_going_on(config, view.document["checkpoints"] if checkpoints is None else checkpoints, store)):
        check_checkpoint(store, view, slot_of(name))


def members_for(config: NodeConfig, checkpoints: Mapping[str, Checkpoint]) -> dict[str, Checkpoint]:
    """Members that the next state starts with: those of a state that go on (:func:`members_going_on`), and published ones.

    A fine-tuned member that the state does not have yet is not among them: it begins with a fit.

    Parameters
    ----------
    config : NodeConfig
    checkpoints : mapping
        Of the state that is continued; empty for a new node.

    Raises
    ------
    ConfigError, ModelError
        Published weights cannot be had here.
    """
    found = members_going_on(config, checkpoints)
    return found | {other.name: published(other) for other in config.uncertainty.others if other.name not in found}


def published(other: OtherForceField) -> Checkpoint:
    """Write published weights as an artifact and return their checkpoint."""
    from coevo.makers.step import current_store
    from coevo.models.registry import force_field_from

    force_field = force_field_from(other.family, weights=other.weights)
    return save_checkpoint(current_store(), force_field, parent=None, training_set=None)


def training_of(
    checkpoint: Checkpoint | None,
    other: OtherForceField | None,
    published_as: ForceFieldConfig,
    labelling: LabellingConfig,
    sources: Collection[tuple[str, str, str]],
    taught: Collection[Training] | None = None,
) -> Training:
    """What a model was trained on: as its family says, and the node's labels, once it was fitted on them.

    A fit on some frames does not undo what the published weights were trained on. Labels of a teacher are what the teacher was
    trained on: who learns from it shares its errors. If one part is not known, the data are not.

    Parameters
    ----------
    checkpoint : dict or None
        None: a member that was never fitted.
    other : OtherForceField or None
        What a member of another family was published as.
    published_as : ForceFieldConfig
        What the node's own force field was published as.
    labelling : LabellingConfig
    sources : collection of (code, functional, digest)
        Of the node's labels, as :func:`sources_of` gives them.
    taught : collection of Training, optional
        What each of the teachers of the labels was trained on, where that is known (:mod:`coevo.makers.committee.teachers`); that
        of the present teacher if all labels can be its.
    """
    from coevo.analysis.signals.agreement import Training

    if other is not None:
        return training_of_published(other)
    start = training_of_published(OtherForceField(published_as.family, published_as.weights))
    if checkpoint is None or not checkpoint.get("parent"):
        return start
    teacher = _teacher_of(labelling, sources)
    data, words = [start.data], set()
    for code, functional, _ in sources:
        if code == "teacher":
            data += [teacher.data if teacher else ""] if taught is None else [each.data for each in taught]
            words.add(f"teacher {labelling.teacher.family}/{labelling.teacher.weights}" if teacher else "teachers")
        else:
            data.append(f"labels by {code}" if code in COMPUTED else "")
            words.add(f"{code} {functional}".strip())
    functionals = {base_of(functional) for _, functional, _ in sources}
    told = ", ".join(sorted(words)) or "none that are admitted"
    if taught is None:
        taught = [teacher] if teacher else []
    return Training(
        checkpoint["family"],
        next(iter(functionals)) if len(functionals) == 1 else "",
        "+".join(sorted({name for each in data for name in each.split("+")})) if sources and all(data) else "",
        f"the node's labels ({told})",
        frozenset(taught),
    )


def _teacher_of(labelling: LabellingConfig, sources: Iterable[tuple[str, str, str]]) -> Training | None:
    """What the present teacher was trained on; None if some labels are of another one, by their settings or functional."""
    told = training_of_published(OtherForceField(labelling.teacher.family, labelling.teacher.weights))
    of_teachers = {(functional, digest) for code, functional, digest in sources if code == "teacher"}
    alone = len(of_teachers) == 1 and base_of(next(iter(of_teachers))[0]) == told.functional
    return told if alone else None


def sources_of(labels: Iterable[Record]) -> set[tuple[str, str, str]]:
    """Codes, functionals and digests of the settings of admitted labels."""
    keys = ("code", "functional", "settings_digest")
    found = (label for label in labels if label.get("status") == "admitted")
    return {(str(x.get(keys[0])), str(x.get(keys[1]) or ""), str(x.get(keys[2]) or "")) for x in found}


def training_of_published(other: OtherForceField) -> Training:
    """What published weights were trained on, as their family says."""
    from coevo.analysis.signals.agreement import Training

    told = descriptor_of(other.family, "force_field").weights_named(other.weights)
    functional, data = (told.functional, told.data) if told else ("", "")
    return Training(other.family, base_of(functional), data, " of ".join(filter(None, (functional, data))) or "not known")


def kinds_of(config_families: Iterable[OtherForceField]) -> dict[str, OtherForceField]:
    """Published members by name."""
    return {other.name: other for other in config_families}


def wanted_names(config: NodeConfig) -> list[str]:
    """Names of all members that a configuration wants, fine-tuned ones first."""
    wanted: Any = config.uncertainty
    return [*wanted.own_names(config.screening.force_field.family), *(other.name for other in wanted.others)]
