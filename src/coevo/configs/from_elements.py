"""A configuration for any chemical system, from its elements and a file of known structures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from coevo.configs.loading import LoadedConfig, config_from_dict, dump_config, load_config

if TYPE_CHECKING:
    from collections.abc import Sequence


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
