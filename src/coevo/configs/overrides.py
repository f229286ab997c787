"""Values of a configuration given on the command line, ``section.key=VALUE``: checked and stored as if they stood in the file.

A value is YAML, read by the rules of the files. What names another force field changes what follows from it: the weights are the
default ones of another family, and the energy scale is that of the weights, unless these are given, too.

Also here, ``--elements``: a configuration for any chemical system, from its elements and a file of known structures.
"""

from __future__ import annotations

import re
from copy import deepcopy
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from coevo.configs.loading import (
    LoadedConfig,
    check_data,
    config_from_dict,
    dump_config,
    find_text,
    load_config,
    parse_config,
    parse_tree_data,
)
from coevo.configs.references import bundled_sets, resolved_references
from coevo.configs.tree import NodeConfig, NodeSection
from coevo.configs.yaml_tree import dotted, read_yaml, set_value, show
from coevo.errors import CheckpointError, ConfigError
from coevo.families import DEFAULT_FORCE_FIELD, descriptor_of, is_known

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from coevo.configs.yaml_tree import Location
    from coevo.families import Family


OPTION = "--set"
_KEY = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")
_FORCE_FIELD = ("screening", "force_field")
_OTHERS = (("labelling", "teacher"), ("audit", "force_field"))
_SCALE = ("node", "energy_scale")
_REFERENCES = ("node", "references")


class Override(NamedTuple):
    """A value for a key.

    Attributes
    ----------
    location : tuple of str
        The sections and the key.
    value : object
        Plain data.
    option : str
        By which it was given, for messages.
    """

    location: tuple[str, ...]
    value: Any
    option: str = OPTION

    def __str__(self) -> str:
        return f"{dotted(self.location)}: {show(self.value)}"


def read_overrides(texts: Sequence[str]) -> list[Override]:
    """Read ``section.key=VALUE``; of a key that is given twice the last value counts.

    Files among ``node.references`` become absolute: on a command line they start from the working directory.

    Raises
    ------
    ConfigError
        With one line for each text that is none.
    """
    found: dict[tuple[str, ...], Override] = {}
    problems = []
    for text in texts:
        key, equals, value_text = text.partition("=")
        key = key.strip()
        if not equals or not _KEY.fullmatch(key):
            problems.append(
                f"{OPTION}: got {show(text)}, allowed: section.key=VALUE, for instance screening.fmax=0.05 (the keys are in "
                "docs/configuration.md)"
            )
            continue
        tree = read_yaml(value_text)
        if tree.problems:
            problems.append(f"{OPTION} {key}: {tree.problems[0][1]}")
            continue
        location, value = tuple(key.split(".")), tree.data
        if location == _REFERENCES and isinstance(value, str) and value.strip() and value not in bundled_sets():
            value = resolved_references(value)
        found.pop(location, None)
        found[location] = Override(location, value)
    if problems:
        raise ConfigError("\n".join(problems))
    return list(found.values())


def load_with(
    path_or_preset: str | Path, overrides: Sequence[Override], say: Callable[[str], None] | None = None
) -> LoadedConfig:
    """Load a YAML file or a preset with values of the command line in place of its own.

    Parameters
    ----------
    path_or_preset : str or Path
        As for :func:`coevo.configs.loading.load_config`.
    overrides : sequence of Override
    say : callable, optional
        Is told what follows from them.

    Returns
    -------
    LoadedConfig
        Its text is that of the file with the values changed.

    Raises
    ------
    ConfigError
        With one line for each problem: those of the file with its line, those of the values with the option.
    """
    text, source, base = find_text(path_or_preset)
    if not overrides:
        return LoadedConfig(parse_config(text, source), text, source, base)
    tree = parse_tree_data(text, source)
    config, changes = with_overrides(
        tree.data, overrides, lambda location, message: f"{source}:{tree.line(location)}: {message}", say
    )
    return LoadedConfig(config, _edited(text, changes, config), f"{source} with {OPTION}", base)


def with_overrides(
    data: dict[str, Any],
    overrides: Sequence[Override],
    told: Callable[[Location, str], str],
    say: Callable[[str], None] | None = None,
) -> tuple[NodeConfig, list[Override]]:
    """Check plain data of a configuration with values in place of its own.

    Parameters
    ----------
    data : dict
    overrides : sequence of Override
    told : callable
        Writes a problem that the data have without the values: from its place and what it is.
    say : callable, optional
        Is told what follows from the values.

    Returns
    -------
    config : NodeConfig
    changes : list of Override
        The values, and what follows from them.

    Raises
    ------
    ConfigError
        With one line for each problem.
    """
    changed = _applied(data, overrides)
    following = _following(data, changed, overrides)
    changed = _applied(changed, following)
    config, problems = check_data(changed, NodeConfig)
    if config is None:
        before = {message for location, message in check_data(data, NodeConfig)[1] if not _option_of(location, overrides)}
        raise ConfigError(
            "\n".join(
                told(place, what) if what in before else f"{_option_of(place, overrides) or OPTION}: {what}"
                for place, what in problems
            )
        )
    for override in following if say else ():
        say(f"configuration: {override}, which follows from the force field that is given")  # type: ignore[misc]
    return config, [*overrides, *following]


def with_values(loaded: LoadedConfig, overrides: Sequence[Override], say: Callable[[str], None] | None = None) -> LoadedConfig:
    """Return a configuration that no file holds, such as one made from elements, with values in place of its own."""
    if not overrides:
        return loaded
    config, _ = with_overrides(
        loaded.config.model_dump(mode="json"), overrides, lambda _, message: f"{loaded.source}: {message}", say
    )
    return replace(loaded, config=config, text=dump_config(config, comments=True))


def _option_of(location: Location, overrides: Sequence[Override]) -> str:
    """The option by which a value is given at a place, within it or around it; empty if none is."""
    near = (each for each in overrides if location[: len(each.location)] == each.location[: len(location)])
    return next((override.option for override in near), "")


def _applied(data: dict[str, Any], overrides: Sequence[Override]) -> dict[str, Any]:
    changed = deepcopy(data)
    for location, value, _ in overrides:
        section = changed
        for key in location[:-1]:
            if not isinstance(section.get(key), dict):
                section[key] = {}
            section = section[key]
        section[location[-1]] = deepcopy(value)
    return changed


def _at(data: Any, location: tuple[str, ...]) -> Any:
    for key in location:
        data = data.get(key) if isinstance(data, dict) else None
    return data


def _following(before: dict[str, Any], after: dict[str, Any], overrides: Sequence[Override]) -> list[Override]:
    """Default weights of a family that is given without any, and the energy scale of weights that are given without one."""

    def is_given(location: tuple[str, ...]) -> bool:
        return any(
            location[: len(override.location)] == override.location and _at(override.value, location[len(override.location) :])
            for override in overrides
        )

    following = []
    for place in (_FORCE_FIELD, *_OTHERS):
        chosen = _descriptor(_at(after, (*place, "family")))
        if chosen is None or chosen is _descriptor(_at(before, (*place, "family"))):
            continue
        if _at(after, (*place, "weights")) and not is_given((*place, "weights")):
            following.append(Override((*place, "weights"), chosen.default_weights))
    after = _applied(after, following)
    descriptor, old = (_descriptor(_at(data, (*_FORCE_FIELD, "family"))) for data in (after, before))
    if descriptor is None:
        return following
    weights = _at(after, (*_FORCE_FIELD, "weights")) or descriptor.default_weights
    old_weights = _at(before, (*_FORCE_FIELD, "weights")) or (old.default_weights if old else None)
    if (descriptor, weights) == (old, old_weights) or not isinstance(weights, str) or weights not in descriptor.weights:
        return following
    scale = descriptor.weights[weights].energy_scale
    default = NodeSection.model_fields["energy_scale"].default
    if not is_given(_SCALE) and scale != (_at(before, _SCALE) or default):
        following.append(Override(_SCALE, scale))
    return following


def _descriptor(family: Any) -> Family | None:
    """Descriptor of a force field by its name, the default one by none; None if nothing here has it."""
    name = DEFAULT_FORCE_FIELD.name if family is None else family
    if not isinstance(name, str) or not is_known(name, "force_field"):
        return None
    try:
        return descriptor_of(name, "force_field")
    except CheckpointError:
        return None


def _edited(text: str, changes: Sequence[Override], config: NodeConfig) -> str:
    """Change the values in a text and nothing else, or write the text anew where that cannot be done."""
    edited: str | None = text
    for location, value, _ in changes:
        edited = None if edited is None else set_value(edited, location, value)
    try:
        if edited is not None and parse_config(edited, "the changed text") == config:
            return edited
    except ConfigError:
        pass
    return dump_config(config, comments=True)


def config_for_elements(elements: Sequence[str], references: str, *, name: str | None = None, like: str) -> LoadedConfig:
    """Make a configuration for a chemical system.

    Parameters
    ----------
    elements : sequence of str
        Symbols.
    references : str
        File of known structures, every element among them.
    name : str or None
        Name of the node; by default the elements, such as ``na-cl``.
    like : str
        Preset or file whose sections other than ``node`` and ``references`` are taken (sizes, thresholds), and its energy scale.

    Raises
    ------
    ConfigError
        An element or the name is not valid, or there is no such preset.
    """
    source = "--elements"
    name = name or "-".join(element.lower() for element in elements)
    model = load_config(like).config
    template = model.model_dump(mode="json", exclude={"node", "references"})
    # that of the force field, which is taken too
    node = {"name": name, "elements": list(elements), "references": references, "energy_scale": model.node.energy_scale}
    config = config_from_dict({"node": node, **template}, source)
    return LoadedConfig(config, dump_config(config, comments=True), source)
