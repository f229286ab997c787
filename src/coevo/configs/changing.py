"""What of a live node's configuration cannot change, and the way out: a node that starts from a state of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coevo.configs.loading import config_difference, leaves
from coevo.configs.yaml_tree import read_yaml, show
from coevo.errors import CheckpointError, ConfigError
from coevo.families import descriptor_of, names_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from coevo.configs.tree import NodeConfig

FIXED = ("node.name", "node.elements", "node.references", "references.exclude", "node.energy_scale", "node.descriptor.")
"""Keys that cannot change once a node exists, or how they begin."""

FAMILY, WEIGHTS, SCALE, GENERATOR = (
    "screening.force_field.family",
    "screening.force_field.weights",
    "node.energy_scale",
    "generator.family",
)
OF_CHECKPOINTS = {
    FAMILY: "the checkpoint is of the first family and goes on as that",
    WEIGHTS: "the checkpoint began with the first weights and goes on from there",
    GENERATOR: "the checkpoint is of the first family and goes on as that",
}
"""Keys that say what a checkpoint began with."""

BY_A_STATE = (FAMILY, WEIGHTS, SCALE, GENERATOR, "node.descriptor.")
"""Those of a node that starts from a state of another one can have other values."""

OTHER_WAYS = {
    "node.elements": "coevo extend starts a node of more elements",
    "node.references": "coevo add --as references adds known structures",
    GENERATOR: "generator.mixture lets another family draw, too, or instead (a weight of 0 for the first)",
}

Changes = dict[str, tuple[Any, Any]]
"""Dotted key to the value before and after."""


def check_change(old: NodeConfig, new: NodeConfig, ref: str | None = None) -> list[str]:
    """Check that a live node may go from one configuration to another, and list the differences.

    Parameters
    ----------
    old, new : NodeConfig
    ref : str, optional
        The state that the node goes on from, for the message.

    Raises
    ------
    ConfigError
        If name, elements, references (or which of them are withheld), energy scale, descriptor, the family of a model or the
        weights that the force field began with change.
    """
    before, after = old.model_dump(mode="json"), new.model_dump(mode="json")
    one, other = leaves(before), leaves(after)
    keys = dict.fromkeys([*one, *other])
    refused = {key: (one.get(key), other.get(key)) for key in keys if _is_refused(key) and one.get(key) != other.get(key)}
    if refused:
        raise _refusal(old, refused, ref)
    return config_difference(before, after)


def check_force_field(old: NodeConfig, text: str, ref: str | None = None) -> None:
    """Refuse another force field in a text that is no valid configuration, because the scale or the weights do not follow it.

    Raises
    ------
    ConfigError
        As :func:`check_change`; not for anything else that is wrong with the text.
    """
    data = read_yaml(text).data
    found = leaves(data) if isinstance(data, dict) else {}
    known = leaves(old.model_dump(mode="json"))
    refused = {
        key: (known[key], found[key])
        for key in (FAMILY, WEIGHTS, SCALE)
        if isinstance(found.get(key), str) and found[key] != known[key]
    }
    if refused:
        raise _refusal(old, refused, ref)


def way_out(ref: str, old: NodeConfig, values: Mapping[str, Any]) -> str:
    """Return the command that starts a node from a state with these values in place of those of its configuration."""
    wanted = dict(values)
    if SCALE in wanted and not {FAMILY, WEIGHTS} & set(wanted):
        wanted = {**_force_field_on(old, wanted[SCALE]), **wanted}
    wanted.pop(SCALE, None)  # follows from the weights
    if FAMILY in wanted and wanted.get(WEIGHTS) == _default_weights(wanted[FAMILY]):
        wanted.pop(WEIGHTS, None)
    return f"coevo init NEW --from-state {ref} " + " ".join(f"--set {key}={show(value)}" for key, value in wanted.items())


def _default_weights(family: Any) -> str | None:
    try:
        return descriptor_of(str(family), "force_field").default_weights
    except CheckpointError:
        return None


def _force_field_on(old: NodeConfig, scale: Any) -> dict[str, str]:
    """Weights on an energy scale: of the node's family where it has some, or of another one that is known here."""
    own = old.screening.force_field.family
    for family in (own, *names_of("force_field")):
        try:
            descriptor = descriptor_of(family, "force_field")
        except CheckpointError:
            continue
        if found := descriptor.weights_on(str(scale)):
            weights = descriptor.default_weights if descriptor.default_weights in found else found[0]
            return {WEIGHTS: weights} if family == own else {FAMILY: family, WEIGHTS: weights}
    return {FAMILY: "FAMILY"}


def _is_refused(key: str) -> bool:
    return key in OF_CHECKPOINTS or _is_among(key, FIXED)


def _is_among(key: str, names: tuple[str, ...]) -> bool:
    return any(key == name or (name.endswith(".") and key.startswith(name)) for name in names)


def _refusal(old: NodeConfig, refused: Changes, ref: str | None) -> ConfigError:
    """One error for everything that is refused, with the way out."""

    def line(key: str) -> str:
        before, after = refused[key]
        return f"{key}: {show(before)} -> {show(after)}"

    models = [f"{line(key)}: {OF_CHECKPOINTS[key]}" for key in refused if key in OF_CHECKPOINTS]
    fixed = [line(key) for key in refused if key not in OF_CHECKPOINTS]
    told = []
    if models:
        told.append("; ".join(models))
    if fixed:
        told.append(
            f"{'; '.join(fixed)}: a node's name, elements, references (and references.exclude), energy_scale and descriptor "
            "cannot change, because hulls, energies and entropies of its states would no longer compare"
        )
    ways = ["put the old value back", *(OTHER_WAYS[key] for key in refused if key in OTHER_WAYS)]
    if all(_is_among(key, BY_A_STATE) for key in refused):
        values = {key: after for key, (_, after) in refused.items()}
        ways.append(
            "or make a new node with `coevo init` that takes structures, references and labels along, everything evaluated anew: "
            + way_out(ref or old.node.name, old, values)
        )
    else:
        ways.append("or make a new node with `coevo init`")
    return ConfigError(f"node {old.node.name}: {'; '.join(told)}; {', '.join(ways)}")
