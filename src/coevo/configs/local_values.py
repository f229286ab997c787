"""Values of a configuration that name something of this machine, by the marks of the tree (``coevo.configs.section.Local``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coevo.configs.describing import field_at, section_at
from coevo.configs.section import Local
from coevo.configs.tree import NodeConfig

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pydantic import BaseModel


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
