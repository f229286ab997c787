"""Members of the second opinion: where a state keeps them, which a configuration wants, and what each was trained on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coevo.configs.uncertainty_section import OtherForceField
from coevo.errors import ConfigError
from coevo.families import COMMITTEE, descriptor_of
from coevo.makers.checkpoints import save_checkpoint
from coevo.node_store.known_fields import checkpoint_reference

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from coevo.analysis.signals.agreement import Training
    from coevo.configs.tree import ForceFieldConfig, LabellingConfig, NodeConfig
    from coevo.makers.outputs import Checkpoint
    from coevo.makers.step import Record

OWN = "force_field"
"""How the state's own force field is called among the voices."""


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


def members_for(config: NodeConfig, checkpoints: Mapping[str, Checkpoint]) -> dict[str, Checkpoint]:
    """Members that the next state starts with: those of a state, as far as the configuration wants them, and published ones.

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
    family = config.screening.force_field.family
    there = checkpoints_of_members(checkpoints)
    found = {
        name: there[name] for name in config.uncertainty.own_names(family) if name in there and there[name]["family"] == family
    }
    for other in config.uncertainty.others:
        kept = there.get(other.name)
        found[other.name] = kept if kept is not None and kept["family"] == other.family else published(other)
    return found


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
    sources: Collection[tuple[str, str]],
) -> Training:
    """What a model was trained on: as its family says, or the node's labels, once it was fitted on them.

    Labels of a teacher are what the teacher was trained on: who learns from it shares its errors.

    Parameters
    ----------
    checkpoint : dict or None
        None: a member that was never fitted.
    other : OtherForceField or None
        What a member of another family was published as.
    published_as : ForceFieldConfig
        What the node's own force field was published as.
    labelling : LabellingConfig
    sources : collection of (code, functional)
        Of the node's labels, as :func:`sources_of` gives them.
    """
    from coevo.analysis.signals.agreement import Training

    if other is not None:
        return training_of_published(other)
    if checkpoint is None or not checkpoint.get("parent"):
        return training_of_published(OtherForceField(published_as.family, published_as.weights))
    data: set[str] = set()
    words: set[str] = set()
    for code, functional in sources:
        if code == "teacher":
            teacher = labelling.teacher
            data.update(filter(None, (teacher.told.data or f"{teacher.family}/{teacher.weights}").split("+")))
            words.add(f"teacher {teacher.family}/{teacher.weights}")
        else:
            data.add(f"labels by {code}")
            words.add(f"{code} {functional}".strip())
    functionals = {functional for _, functional in sources}
    told = ", ".join(sorted(words)) or "none that are admitted"
    functional = next(iter(functionals)) if len(functionals) == 1 else ""
    return Training(checkpoint["family"], functional, "+".join(sorted(data)), f"the node's labels ({told})")


def sources_of(labels: Iterable[Record]) -> set[tuple[str, str]]:
    """Codes and functionals of admitted labels."""
    return {(str(x.get("code")), str(x.get("functional") or "")) for x in labels if x.get("status") == "admitted"}


def training_of_published(other: OtherForceField) -> Training:
    """What published weights were trained on, as their family says."""
    from coevo.analysis.signals.agreement import Training

    told = descriptor_of(other.family, "force_field").weights_named(other.weights)
    functional, data = (told.functional, told.data) if told else ("", "")
    return Training(other.family, functional, data, " of ".join(filter(None, (functional, data))) or "not known")


def kinds_of(config_families: Iterable[OtherForceField]) -> dict[str, OtherForceField]:
    """Published members by name."""
    return {other.name: other for other in config_families}


def wanted_names(config: NodeConfig) -> list[str]:
    """Names of all members that a configuration wants, fine-tuned ones first."""
    wanted: Any = config.uncertainty
    return [*wanted.own_names(config.screening.force_field.family), *(other.name for other in wanted.others)]
