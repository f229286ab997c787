"""Configurations from YAML files and presets: read, check, compare and write.

Everything wrong with a file is reported at once, one line per problem, as ``file:line: key: got …, allowed: …``.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import to_jsonable_python

from coevo.configs.describing import allowed_at, field_at, keys_of, section_at
from coevo.configs.tree import NodeConfig
from coevo.configs.yaml_tree import Location, YamlTree, dotted, read_yaml, show, write_value
from coevo.errors import ConfigError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

Tree = TypeVar("Tree", bound=BaseModel)
Prepare = Callable[[dict[str, Any]], tuple[dict[str, Any], list[tuple[Location, str]]]]
Hidden = Callable[[Location], bool]

MOST_PROBLEMS = 50
"""Problems of a file that are explained; a file with more is not the file that was meant, or a stranger's."""


@dataclass(frozen=True)
class LoadedConfig:
    """A configuration and where it came from.

    Attributes
    ----------
    config : NodeConfig
    text : str
        The YAML as written, comments included.
    source : str
        The file's path, or ``preset NAME``.
    base : Path or None
        Directory that relative paths in the configuration start from; None for a preset.
    """

    config: NodeConfig
    text: str
    source: str
    base: Path | None = None


def _nothing(location: Location) -> bool:  # noqa: ARG001
    """Hide nothing: every value may stand in a message."""
    return False


def preset_names() -> list[str]:
    """Names of the bundled node configurations."""
    folder = resources.files("coevo.configs") / "nodes"
    return sorted(item.name.removesuffix(".yaml") for item in folder.iterdir() if item.name.endswith(".yaml"))


def preset_text(name: str) -> str:
    """YAML text of a bundled node configuration.

    Raises
    ------
    ConfigError
        If there is no preset of this name.
    """
    if name not in preset_names():
        raise ConfigError(
            f"no preset {name!r}{_suggest(name, preset_names())}; allowed: {', '.join(preset_names())}, or a YAML file"
        )
    return (resources.files("coevo.configs") / "nodes" / f"{name}.yaml").read_text(encoding="utf-8")


def load_config(path_or_preset: str | Path) -> LoadedConfig:
    """Load a node configuration from a YAML file or a preset.

    Parameters
    ----------
    path_or_preset : str or Path
        A bundled name (:func:`preset_names`), or the path of a file. Text that ends in ``.yaml`` or ``.yml``
        or has a slash is a path.

    Raises
    ------
    ConfigError
        If the file cannot be read or is not valid; the message has one line per problem.
    """
    text, source, base = find_text(path_or_preset)
    return LoadedConfig(parse_config(text, source), text, source, base)


def find_text(path_or_preset: str | Path) -> tuple[str, str, Path | None]:
    """Return the text of a YAML file or a preset, what messages call it, and the directory that its paths start from.

    Raises
    ------
    ConfigError
        If it cannot be read.
    """
    if isinstance(path_or_preset, str):
        names_file = "/" in path_or_preset or path_or_preset.endswith((".yaml", ".yml"))
        if not names_file and (path_or_preset in preset_names() or not Path(path_or_preset).exists()):
            return preset_text(path_or_preset), f"preset {path_or_preset}", None
    path = Path(path_or_preset).expanduser()
    return read_text(path, hint=f"; presets are {', '.join(preset_names())}"), str(path), path.resolve().parent


def read_text(path: Path, *, hint: str = "") -> str:
    """Return the text of a YAML file.

    Parameters
    ----------
    path : Path
    hint : str
        What a message adds if there is no such file.

    Raises
    ------
    ConfigError
        If it cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as err:
        raise ConfigError(f"{path}: not a text file in UTF-8 (byte {err.start}); allowed: a YAML file") from None
    except OSError as err:
        missing = hint if isinstance(err, FileNotFoundError) else ""
        raise ConfigError(f"{path}: cannot be read: {err.strerror}{missing}") from None


def parse_config(text: str, source: str) -> NodeConfig:
    """Read and check the YAML text of a node configuration.

    Parameters
    ----------
    text : str
    source : str
        What error messages call the text, usually its path.

    Raises
    ------
    ConfigError
        With one line for each problem, in the order of the text.
    """
    return parse_tree(NodeConfig, text, source)


def parse_tree(root: type[Tree], text: str, source: str, *, prepare: Prepare | None = None, hidden: Hidden = _nothing) -> Tree:
    """Read and check a YAML text as the tree of ``root``.

    Parameters
    ----------
    root : type of BaseModel
    text : str
    source : str
        What error messages call the text, usually its path.
    prepare : callable, optional
        Changes the plain data before they are checked; returns them with problems of its own.
    hidden : callable, optional
        Whether the value at a location must not be repeated in a message.

    Raises
    ------
    ConfigError
        With one line for each problem, in the order of the text.
    """
    tree = _read_mapping(text, root)
    config = None
    if isinstance(tree.data, dict):
        data, problems = prepare(tree.data) if prepare else (tree.data, [])
        config, more = check_data(data, root, hidden)
        # what could not be prepared is told once
        known = {location for location, _ in problems}
        problems = [*problems, *(problem for problem in more if problem[0] not in known)]
        tree.problems.extend((tree.line(location), message) for location, message in problems)
    if tree.problems or config is None:
        raise _told(tree, source)
    return config


def parse_tree_data(text: str, source: str) -> YamlTree:
    """Read the YAML text of a node configuration without checking its keys and values.

    Raises
    ------
    ConfigError
        It is no YAML, or not a mapping.
    """
    tree = _read_mapping(text, NodeConfig)
    if tree.problems:
        raise _told(tree, source)
    return tree


def _read_mapping(text: str, root: type[BaseModel]) -> YamlTree:
    tree = read_yaml(text)
    if not tree.problems and not isinstance(tree.data, dict):
        got = "an empty file" if tree.data is None else show(tree.data)
        tree.problems.append((1, f"got {got}, allowed: {allowed_at((), root)}"))
    return tree


def _told(tree: YamlTree, source: str) -> ConfigError:
    """All problems of a text, in its order."""
    told = sorted(tree.problems, key=lambda problem: problem[0])[:MOST_PROBLEMS]
    lines = [f"{source}:{line}: {message}" for line, message in told]
    if len(tree.problems) >= MOST_PROBLEMS:
        lines.append(f"{source}: there may be more problems; these are the first {MOST_PROBLEMS}")
    return ConfigError("\n".join(lines))


def config_from_dict(data: dict[str, Any], source: str) -> NodeConfig:
    """Check a configuration given as plain data, such as one built by the command line.

    Raises
    ------
    ConfigError
        With one line for each problem: ``source: key: got …, allowed: …``.
    """
    config, problems = check_data(data, NodeConfig)
    if config is None:
        raise ConfigError("\n".join(f"{source}: {message}" for _, message in problems))
    return config


def dump_config(config: NodeConfig, *, comments: bool = False) -> str:
    """Write a configuration as YAML that :func:`parse_config` reads back to an equal one.

    Parameters
    ----------
    config : NodeConfig
    comments : bool
        Write the meaning and the allowed values of each key behind it.
    """
    data = config.model_dump(mode="json")
    return "\n".join(_dump_section(data, (), comments=comments)) + "\n"


def config_difference(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """List what differs between two configurations given as plain data: ``screening.fmax: 0.1 -> 0.05``.

    A key that one of them does not name has its default there, if it has one.
    """
    before, after = leaves(old), leaves(new)
    return [
        f"{key}: {_written(before, key)} -> {_written(after, key)}"
        for key in [*before, *(key for key in after if key not in before)]
        if key not in before or key not in after or before[key] != after[key]
    ]


ABSENT = "(absent)"
_NO_DEFAULT = object()


def _written(values: dict[str, Any], key: str) -> str:
    """Write the value of a key, or the default that it has without one."""
    if key in values:
        return show(values[key])
    place: Any = NodeConfig
    *sections, name = key.split(".")
    for depth, section in enumerate(sections):
        field = _model_of(place).model_fields.get(section)
        if field is None or not (isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)):
            return ABSENT  # unknown, or under a name that the user chose
        prefix = ".".join(sections[: depth + 1]) + "."
        is_named = any(other.startswith(prefix) for other in values)
        inner = _NO_DEFAULT if is_named else _default(place, section)
        place = field.annotation if inner is _NO_DEFAULT else inner
    default = _default(place, name)
    return ABSENT if default is _NO_DEFAULT or isinstance(default, BaseModel) else show(to_jsonable_python(default))


def _model_of(place: Any) -> type[BaseModel]:
    """Class of a section, or of the section that is as it is by default."""
    found: type[BaseModel] = place if isinstance(place, type) else type(place)
    return found


def _default(place: Any, name: str) -> Any:
    """Value of a field of a section that is as it is by default, or the default of the field of a class of sections."""
    model = _model_of(place)
    field = model.model_fields.get(name)
    if field is None:
        return _NO_DEFAULT
    if model is not place:
        return getattr(place, name)
    return _NO_DEFAULT if field.is_required() else field.get_default(call_default_factory=True)


def check_data(
    data: dict[str, Any], root: type[Tree], hidden: Hidden = _nothing
) -> tuple[Tree | None, list[tuple[Location, str]]]:
    """Validate plain data; return the configuration, or None and the problems with their places."""
    try:
        return root.model_validate(data), []
    except ValidationError as err:
        problems: list[tuple[Location, str]] = []
        for detail in err.errors(include_url=False)[:MOST_PROBLEMS]:
            location = tuple(detail["loc"])
            message = _explain(location, detail, root, hidden)
            if not location and detail["type"] == "value_error":  # a check across sections names its key in the message
                location = tuple(int(part) if part.isdigit() else part for part in re.findall(r"\w+", message.partition(":")[0]))
            if message not in (known for _, known in problems):
                problems.append((location, message))
        return None, problems


def _explain(location: Location, detail: ErrorDetails, root: type[BaseModel], hidden: Hidden) -> str:
    """Turn one pydantic error into what, got, allowed."""
    name, got, allowed = dotted(location), detail["input"], f"allowed: {allowed_at(location, root)}"
    if detail["type"] == "extra_forbidden":
        section = section_at(location[:-1], root)
        keys = keys_of(section) if section else []
        return f"{name}: unknown key{_suggest(str(location[-1])[:80], keys)}; allowed keys: {', '.join(keys)}"
    if detail["type"] == "missing":
        field = field_at(location, root)
        meaning = f" ({field.description})" if field and field.description else ""
        return f"{name}: missing{meaning}, {allowed}"
    if detail["type"] == "value_error":
        message = str(detail["ctx"]["error"])
        return f"{name}: {message}" if location else message
    if hidden(location) and got is not None:
        return f"{name}: got a value that is not shown, {allowed}"
    if isinstance(got, BaseModel | dict) and section_at(location, root) is None:
        return f"{name}: got a mapping, {allowed}"
    return f"{name}: got {show(got) if got is not None else 'nothing'}, {allowed}"


def _suggest(word: str, words: list[str]) -> str:
    """Name the nearest word, if one is near."""
    near = difflib.get_close_matches(word, words, n=1, cutoff=0.6)
    return f"; did you mean {near[0]}?" if near else ""


def leaves(data: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the values of nested mappings by their dotted keys."""
    found: dict[str, Any] = {}
    for key, value in data.items():
        if isinstance(value, dict) and value:
            found.update(leaves(value, f"{prefix}{key}."))
        else:
            found[f"{prefix}{key}"] = value
    return found


def _dump_section(data: dict[str, Any], location: tuple[str, ...], *, comments: bool) -> list[str]:
    indent = "  " * len(location)
    lines = []
    for key, value in data.items():
        here = (*location, key)
        if section_at(here) is not None:
            lines += [f"{indent}{key}:", *_dump_section(value, here, comments=comments)]
            continue
        line = f"{indent}{key}: {write_value(value)}"
        field = field_at(here)
        if comments and field is not None:
            meaning = f"{field.description}; " if field.description else ""
            line += f"  # {meaning}allowed: {allowed_at(here)}"
        lines.append(line)
    return lines
