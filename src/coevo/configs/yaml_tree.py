"""YAML files as plain data with the line of every key, read by the scalar rules of YAML 1.2.

PyYAML follows YAML 1.1, in which ``No`` is a boolean, ``1e-3`` text, ``010`` eight and ``12:30`` a number. Chemistry has an
element No and physics writes 1e-3, so scalars are resolved here by the core schema of YAML 1.2 instead: booleans are ``true`` and
``false``, integers decimal, floats may have an exponent without a dot; everything else is text. Anchors, aliases and tags are
refused: a configuration says each thing once, in full.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, field
from typing import Any

import yaml

Location = tuple[str | int, ...]
"""The keys and list positions that lead to a value, from the top of the file."""

MAX_DEPTH = 20

_TAG = "tag:yaml.org,2002:"
_SCALARS: tuple[tuple[str, str, str], ...] = (
    ("null", r"^(?:~|null|Null|NULL|)$", "~nN\0"),
    ("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", "tTfF"),
    ("int", r"^[-+]?[0-9][0-9_]*$", "-+0123456789"),
    (
        "float",
        r"^(?:[-+]?(?:[0-9][0-9_]*\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$",
        "-+0123456789.",
    ),
)


class _Tree(yaml.SafeLoader):
    """SafeLoader with the scalars of YAML 1.2, without anchors and of bounded depth."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012  (PyYAML's own class attribute)
    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()
        if getattr(event, "anchor", None) is not None:
            raise yaml.composer.ComposerError(
                None, None, "anchors and aliases (& and *) are not allowed; write the value out", event.start_mark
            )
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise yaml.composer.ComposerError(None, None, f"more than {MAX_DEPTH} levels of nesting", event.start_mark)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


class _Writer(yaml.SafeDumper):
    """SafeDumper that quotes text which this reader or a YAML 1.1 reader would take for something else."""

    yaml_implicit_resolvers = {key: list(value) for key, value in yaml.SafeDumper.yaml_implicit_resolvers.items()}  # noqa: RUF012

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True

    def represent_text(self, text: str) -> yaml.ScalarNode:
        """Escape what would not be read back from a line of plain text."""
        return self.represent_scalar(_TAG + "str", text, style=None if text.isprintable() else '"')


_Writer.add_representer(str, _Writer.represent_text)
for _name, _pattern, _first in _SCALARS:
    for _class in (_Tree, _Writer):
        _letters = [letter if letter != "\0" else "" for letter in _first]
        _class.add_implicit_resolver(_TAG + _name, re.compile(_pattern), _letters)


@dataclass
class YamlTree:
    """What a YAML file holds.

    Attributes
    ----------
    data : object
        Dictionaries with text keys, lists, text, numbers, booleans and None.
    lines : dict of Location to int
        Line (from 1) of each key and list item; ``()`` is the top.
    problems : list of (int, str)
        Line and message of everything that is not valid in itself, such as a key given twice.
    """

    data: Any = None
    lines: dict[Location, int] = field(default_factory=dict)
    problems: list[tuple[int, str]] = field(default_factory=list)

    def line(self, location: Location) -> int:
        """Line of a location, or of the nearest one above it that the file has."""
        while location and location not in self.lines:
            location = location[:-1]
        return self.lines.get(location, 1)


def read_yaml(text: str) -> YamlTree:
    """Read one YAML document.

    Parameters
    ----------
    text : str
        The file's text.

    Returns
    -------
    YamlTree
        With ``problems`` where the text is no valid YAML; then ``data`` is None or what could be read.
    """
    tree = YamlTree()
    try:
        loader = _Tree(text)
        try:
            node = loader.get_single_node()
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as err:
        mark = err.problem_mark or err.context_mark
        line = mark.line + 1 if mark else 1
        tree.problems.append((line, _explain(err, text.splitlines()[line - 1] if line <= len(text.splitlines()) else "")))
        return tree
    except yaml.reader.ReaderError as err:
        tree.problems.append(
            (text.count("\n", 0, err.position) + 1, f"not YAML: character U+{int(err.character):04X} is not allowed")
        )
        return tree
    tree.lines[()] = 1
    if node is not None:
        tree.data = _construct(node, (), tree)
    return tree


def write_value(value: Any) -> str:
    """Write a scalar, list or mapping on one line, such that :func:`read_yaml` reads it back unchanged."""
    text = yaml.dump(
        value,
        Dumper=_Writer,
        default_flow_style=True,
        allow_unicode=True,
        width=sys.maxsize,
        sort_keys=False,
    )
    return text.removesuffix("\n").removesuffix("\n...")


def set_value(text: str, location: tuple[str, ...], value: Any) -> str | None:
    """Give a key another value in a YAML text, and leave everything else as it stands, comments included.

    Parameters
    ----------
    text : str
        Valid YAML, a mapping.
    location : tuple of str
        A key that is not there yet is written as the first one of its section; a section that is not, at the end.
    value : object
        Plain data.

    Returns
    -------
    str or None
        None if the value that is there cannot be replaced on its line: a list or mapping of several lines.
    """
    loader = _Tree(text)
    try:
        node: Any = loader.get_single_node()
    finally:
        loader.dispose()
    for depth, key in enumerate(location):
        found = [item for name, item in node.value if name.value == key]
        rest = location[depth + 1 :]
        if not found:
            line = write_value({key: _nested(rest, value)})[1:-1]
            start, indent = node.start_mark.index, " " * node.start_mark.column
            if node.flow_style:
                return f"{text[: start + 1]}{line}{', ' if node.value else ''}{text[start + 1 :]}"
            if depth == 0:
                return f"{text.rstrip()}\n{line}\n"
            return f"{text[:start]}{line}\n{indent}{text[start:]}"
        node = found[0]
        if not rest or not isinstance(node, yaml.MappingNode):
            start, end = node.start_mark.index, node.end_mark.index
            if not isinstance(node, yaml.ScalarNode) and not node.flow_style:
                return None
            blank = " " if start == end else ""  # a key without a value
            return f"{text[:start]}{blank}{write_value(_nested(rest, value))}{text[end:]}"
    return None


def _nested(keys: tuple[str, ...], value: Any) -> Any:
    return {keys[0]: _nested(keys[1:], value)} if keys else value


def show(value: Any) -> str:
    """Write a value for a message; long ones are cut."""
    text = write_value(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _explain(err: yaml.MarkedYAMLError, line: str) -> str:
    """Say what a YAML error means in words of the user's file."""
    if "\t" in line[: len(line) - len(line.lstrip())] or "'\\t'" in str(err.problem):
        return "not YAML: a tab; indent with spaces"
    if isinstance(err, yaml.composer.ComposerError) and "single document" in str(err.context):
        return "not one YAML document: a second one starts after ---; allowed: one"
    what = ", ".join(str(part) for part in (err.context, err.problem) if part)
    return f"not YAML: {what}"


def _construct(node: yaml.Node, location: Location, tree: YamlTree) -> Any:
    line = node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode) and node.tag == _TAG + "map":
        return _construct_mapping(node, location, tree)
    if isinstance(node, yaml.SequenceNode) and node.tag == _TAG + "seq":
        items = []
        for index, item in enumerate(node.value):
            tree.lines[(*location, index)] = item.start_mark.line + 1
            items.append(_construct(item, (*location, index), tree))
        return items
    if isinstance(node, yaml.ScalarNode):
        return _construct_scalar(node, line, tree)
    tree.problems.append((line, f"{dotted(location)}: tag {node.tag!r} is not allowed; write plain values"))
    return None


def _construct_mapping(node: yaml.MappingNode, location: Location, tree: YamlTree) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        if not isinstance(key_node, yaml.ScalarNode):
            tree.problems.append((line, f"{dotted(location)}: a list or mapping stands where a key is expected"))
            continue
        key = key_node.value
        here = (*location, key)
        if key in result:
            tree.problems.append((line, f"{dotted(here)}: given twice, first on line {tree.lines[here]}; keep one"))
            continue
        tree.lines[here] = line
        result[key] = _construct(value_node, here, tree)
    return result


def _construct_scalar(node: yaml.ScalarNode, line: int, tree: YamlTree) -> Any:
    kind = node.tag.removeprefix(_TAG)
    text = node.value
    if kind == "str":
        return text
    if kind == "null":
        return None
    if kind == "bool" and text.lower() in {"true", "false"}:
        return text.lower() == "true"
    try:
        if kind == "int":
            return int(text)
        if kind == "float":
            return float(re.sub(r"\.(?=[a-zA-Z])", "", text))  # YAML writes .inf and .nan
    except ValueError as err:
        tree.problems.append((line, f"{text[:40]!r} is not a number: {err}"))
        return None
    tree.problems.append((line, f"tag {node.tag!r} is not allowed; write plain values"))
    return None


def dotted(location: Location) -> str:
    """Write a location as ``node.elements[2]``; the top is ``the file``."""
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text or "the file"
