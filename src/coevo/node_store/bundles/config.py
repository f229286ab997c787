"""The configuration in a bundle: checked like any file of a user, and given the name that the node gets here."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from coevo.configs.loading import dump_config, parse_config
from coevo.configs.yaml_tree import read_yaml
from coevo.errors import BundleError, ConfigError
from coevo.node_store.bundles.stranger_json import control_characters
from coevo.node_store.documents import NODE_NAME

if TYPE_CHECKING:
    from coevo.configs.tree import NodeConfig
    from coevo.node_store.bundles.format import BundleNode

MAX_TEXT = 1 << 18
"""Characters of YAML."""
MAX_MESSAGE = 8_000
"""Characters of what is wrong with it that a message repeats."""


def node_config(node: BundleNode, name: str, path: object, *, checked: bool) -> tuple[dict[str, Any], str]:
    """Return configuration and YAML text for a node.

    Parameters
    ----------
    node : BundleNode
    name : str
        What the node is to be called here.
    path : object
        The bundle, for messages.
    checked : bool
        Whether the text will be used, and so has to be a configuration of this version of coevo.

    Raises
    ------
    BundleError
        If the text is not a valid configuration, or of other elements.
    ConfigError
        If the name cannot be one of a node.
    """
    if not re.fullmatch(NODE_NAME, name):
        raise ConfigError(f"{name!r} cannot name a node: allowed are 1 to 64 of a-z 0-9 . - _, the first a letter or digit")
    if not checked:
        return node.config, node.config_text
    if len(node.config_text) > MAX_TEXT or control_characters(node.config_text):
        raise BundleError(f"{path} was not imported: the configuration of its node is too long, or holds control characters")
    try:
        config = parse_config(node.config_text, "its configuration")
    except ConfigError as err:
        raise BundleError(
            f"{path} was not imported: the configuration of its node is not valid for this version of coevo: {_cut(str(err))}; "
            "import it into a node that is there (--as NODE), or correct the node's configuration where it was exported"
        ) from None
    if sorted(config.node.elements) != sorted(node.elements):
        raise BundleError(f"{path} was not imported: its configuration names elements that are not those of its node")
    section = node.config.get("node")
    plain = {**node.config, "node": {**section, "name": name}} if isinstance(section, dict) else node.config
    return plain, _renamed(node.config_text, config, name)


def _cut(text: str) -> str:
    """Shorten what repeats a stranger's text."""
    return text if len(text) <= MAX_MESSAGE else f"{text[:MAX_MESSAGE]} …"


def _renamed(text: str, config: NodeConfig, name: str) -> str:
    """Change the node's name in a text and nothing else, or write the text anew where that cannot be done."""
    if config.node.name == name:
        return text
    wanted = config.model_copy(update={"node": config.node.model_copy(update={"name": name})})
    lines = text.splitlines(keepends=True)
    number = read_yaml(text).line(("node", "name")) - 1
    lines[number] = re.sub(rf"(\bname\s*:\s*)(['\"]?){re.escape(config.node.name)}\2", rf"\g<1>{name}", lines[number], count=1)
    changed = "".join(lines)
    try:
        if parse_config(changed, "the renamed configuration") == wanted:
            return changed
    except ConfigError:
        pass
    return dump_config(wanted, comments=True)
