"""What each key of the configuration means and allows, read from the tree itself.

Error messages and ``docs/configuration.md`` take their words from here, so that neither can disagree with the code.

Also here, which values name something of this machine, by the marks of the tree (:class:`coevo.configs.section.Local`).
"""

from __future__ import annotations

import types
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from coevo.configs.section import Local, OneOf
from coevo.configs.tree import NodeConfig
from coevo.configs.yaml_tree import Location, show

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pydantic.fields import FieldInfo


UNITS = ("eV/atom", "eV/Å³", "eV/Å", "1/Å", "Å³", "Å", "degrees", "nats", "Ry")
"""Units that a field's description ends with, longest match first."""

_KINDS: dict[Any, str] = {int: "an integer", float: "a number", bool: "true or false", str: "text", type(None): "null"}

_NAMED: dict[Any, str] = {str: "texts", float: "numbers", Any: "values"}
"""What a mapping of names has under them, where that is no section."""


@dataclass(frozen=True)
class KeyDescription:
    """One key of the configuration.

    Attributes
    ----------
    key : str
        Dotted, such as ``screening.fmax``.
    meaning : str
    default : str
        As YAML; ``required`` where there is none.
    allowed : str
        Type, range and unit.
    """

    key: str
    meaning: str
    default: str
    allowed: str


def section_at(location: Location, root: type[BaseModel] = NodeConfig) -> type[BaseModel] | None:
    """Return the model that reads the mapping at a location of the tree of ``root``, or None if there is none."""
    annotation: Any = root
    for part in location:
        if _is_section(annotation):
            annotation = annotation.model_fields[part].annotation if part in annotation.model_fields else None
        elif get_origin(annotation) is dict and isinstance(part, str):
            annotation = get_args(annotation)[1]  # sections under names that the user chooses
        else:
            return None
    return annotation if _is_section(annotation) else None


def keys_of(model: type[BaseModel]) -> list[str]:
    """Names of the keys that a file may hold in a section."""
    return [name for name in model.model_fields if name not in getattr(model, "not_in_files", ())]


def _is_section(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def field_at(location: Location, root: type[BaseModel] = NodeConfig) -> FieldInfo | None:
    """Return the field that a location belongs to (that of the list or mapping, for an item of one)."""
    names = tuple(part for part in location if isinstance(part, str))
    for end in (len(names) - 1, len(names) - 2):
        section = section_at(names[:end], root) if end >= 0 else None
        if section is not None:
            return section.model_fields.get(names[end])
    return None


def allowed_at(location: Location, root: type[BaseModel] = NodeConfig) -> str:
    """Say what may stand at a location: ``a number >= 0 and <= 5 eV/atom``."""
    section = section_at(location, root)
    if section is not None:
        return f"a mapping of {', '.join(keys_of(section))}"
    field = field_at(location, root)
    if field is None:
        return "nothing"
    if get_origin(field.annotation) is dict and section_at(location[:-1], root) is None:
        inner = get_args(field.annotation)[1]
        return "a value" if inner is Any else _kind(inner)
    if location and isinstance(location[-1], int):
        arguments = get_args(field.annotation)
        index = 0 if len(arguments) == 2 and arguments[1] is Ellipsis else min(location[-1], len(arguments) - 1)
        return _KINDS.get(arguments[index], "a value") + _unit(field)
    named = next((item for item in field.metadata if isinstance(item, OneOf)), None)
    if named is not None:
        return f"one of {', '.join(named.names)}"
    kind, null, _ = _kind(field.annotation).partition(" or null")
    return kind + _bounds(field) + _unit(field) + null


def describe_keys(root: type[BaseModel] = NodeConfig) -> Iterator[KeyDescription]:
    """Yield every key of a tree, in the order of the tree; ``NAME`` stands for names that the user chooses."""
    yield from _describe(root, (), root)


def _describe(model: type[BaseModel], location: tuple[str, ...], root: type[BaseModel]) -> Iterator[KeyDescription]:
    for name in keys_of(model):
        field = model.model_fields[name]
        here = (*location, name)
        named = section_at((*here, "NAME"), root) if get_origin(field.annotation) is dict else None
        inner = section_at(here, root) or named
        if inner is not None:
            yield from _describe(inner, (*here, "NAME") if named else here, root)
            continue
        yield KeyDescription(".".join(here), field.description or "", _default(here, root), allowed_at(here, root))


def _default(location: tuple[str, ...], root: type[BaseModel]) -> str:
    """Return the default at a location as the tree gives it (a section may override those of its parts)."""
    value: Any = None
    for depth in range(len(location)):
        if location[depth] == "NAME":
            value = None
            continue
        model = section_at(location[:depth], root)
        assert model is not None
        field = model.model_fields[location[depth]]
        value = (
            getattr(value, location[depth])
            if isinstance(value, BaseModel)
            else field.get_default(call_default_factory=True, validated_data={})
        )
    if value is PydanticUndefined:
        return "required"
    return show(list(value) if isinstance(value, tuple) else value)


def _kind(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return "one of " + ", ".join(show(value) for value in arguments) if len(arguments) > 1 else show(arguments[0])
    if origin in {Union, types.UnionType}:
        return " or ".join(_kind(part) for part in arguments)
    if origin is dict:
        return f"a mapping of names to {_NAMED.get(arguments[1], 'mappings')}"
    if origin is Annotated:
        return _kind(arguments[0])
    if origin is tuple:
        return "a list of texts" if arguments[-1] is Ellipsis else f"a list of {len(arguments)} numbers"
    return _KINDS.get(annotation, str(annotation))


def _bounds(field: FieldInfo) -> str:
    limits: dict[str, Any] = {}
    for item in _flat(field.metadata):
        for attribute in ("gt", "ge", "lt", "le", "min_length", "max_length", "pattern"):
            if getattr(item, attribute, None) is not None:
                limits[attribute] = getattr(item, attribute)
    signs = {
        "gt": "> {}",
        "ge": ">= {}",
        "lt": "< {}",
        "le": "<= {}",
        "min_length": "of at least {}",
        "max_length": "at most {}",
        "pattern": "matching {}",
    }
    bounds = [
        form.format(f"{limits[name]:g}" if isinstance(limits[name], float) else limits[name])
        for name, form in signs.items()
        if name in limits
    ]
    return " " + " and ".join(bounds) if bounds else ""


def _flat(metadata: list[Any]) -> Iterator[Any]:
    """Open the FieldInfo that an annotated alias such as ``Positive`` leaves inside a field's metadata."""
    for item in metadata:
        if hasattr(item, "metadata"):
            yield from _flat(item.metadata)
        else:
            yield item


def _unit(field: FieldInfo) -> str:
    description = field.description or ""
    unit = next((unit for unit in UNITS if description == unit or description.endswith(f" {unit}")), None)
    return f" {unit}" if unit else ""


def local_values(data: Mapping[str, Any], root: type[BaseModel] = NodeConfig) -> dict[str, Any]:
    """Find the values that name a path, a program or a package of the machine.

    Parameters
    ----------
    data : mapping
        A configuration as plain data; it need not be valid, and keys that the tree does not have are passed over.
    root : type of BaseModel

    Returns
    -------
    dict
        Dotted key to value, in the order of the data.
    """
    return dict(_found(data, (), root))


def what_it_does(key: str, root: type[BaseModel] = NodeConfig) -> str:
    """Say what the value of a marked key makes this machine do."""
    mark = _mark(tuple(key.split(".")), root)
    return mark.what if mark else ""


def _found(data: Mapping[str, Any], location: tuple[str, ...], root: type[BaseModel]) -> Iterator[tuple[str, Any]]:
    for key, value in data.items():
        here = (*location, key)
        if section_at(here, root) is not None:
            if isinstance(value, dict):
                yield from _found(value, here, root)
            continue
        mark = _mark(here, root)
        if mark is not None and value is not None and mark.when(value):
            yield ".".join(here), value


def _mark(location: tuple[str, ...], root: type[BaseModel]) -> Local | None:
    if section_at(location[:-1], root) is None:
        return None
    field = field_at(location, root)
    return next((item for item in field.metadata if isinstance(item, Local)), None) if field is not None else None
