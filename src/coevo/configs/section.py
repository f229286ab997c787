"""What all sections of a configuration share.

Also here, what of a configuration names work: the keys of jobs and the ids of states, which keys added later must not change.

Keys that were there at first (``first_keys.json``) are always named, so that work of that time is found. A key that was added
later is named where it is not at its default: a node that does not use it keeps its ids, and its finished jobs their keys. So the
default of a later key is part of its meaning and never changes; who wants another default adds another key.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class Local:
    """Marks a key that can name something of the machine: a path, a program, an import path, a package that is installed.

    Such a value is the word of whoever wrote the file. One that came in a bundle is not acted on before the user has agreed to it
    (:mod:`coevo.configs.describing`). A new key of this kind only has to be marked: ``Annotated[str, Local("…")]``.

    Attributes
    ----------
    what : str
        What the value makes this machine do, for the user who is asked.
    when : callable
        Whether a value does; any but an empty one by default.
    """

    what: str
    when: Callable[[Any], bool] = bool


@dataclass(frozen=True)
class OneOf:
    """Names that a text may be, for tables and messages; a validator decides."""

    names: tuple[str, ...]


Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[float, Field(gt=0.0)]


class Section(BaseModel):
    """Base of every section: unknown keys, NaN, infinities and booleans for numbers are errors, values are frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, strict=False)

    not_in_files: ClassVar[frozenset[str]] = frozenset()
    """Fields that a file does not hold: they are another's to set, and stand in states only."""

    @field_validator("*", mode="before")
    @classmethod
    def _no_boolean_for_a_number(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse what Python counts as 0 or 1."""
        if isinstance(value, bool) and info.field_name in cls.model_fields:
            types = _types_in(cls.model_fields[info.field_name].annotation)
            if types & {int, float} and bool not in types:
                raise PydanticCustomError("boolean_for_number", "a boolean is no number")
        return value

    def not_in_use(self) -> frozenset[str]:
        """Sections within this one that its other values make meaningless, such as those of the codes that do not label."""
        return frozenset()

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON types with the class, as monty reads them back; without this FireWorks would store the text of ``str``."""
        return {"@module": type(self).__module__, "@class": type(self).__name__, **self.model_dump(mode="json")}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Inverse of :meth:`as_dict`."""
        return cls.model_validate({key: value for key, value in data.items() if not key.startswith("@")})


def _types_in(annotation: Any) -> set[Any]:
    """The types of a value: those of a union apart, without what restricts them; not those of the items of a collection."""
    if isinstance(annotation, type):
        return {annotation}
    return {kind for part in get_args(annotation) for kind in _types_in(part)}


@lru_cache(maxsize=1)
def first_keys() -> dict[str, dict[str, Any]]:
    """Sections that were there at first: class name to its keys with their defaults of that time, as JSON. Never edited."""
    return json.loads(files("coevo.configs").joinpath("first_keys.json").read_text(encoding="utf-8"))


def recorded(section: Section) -> dict[str, Any]:
    """Return a section as a state records it, in JSON types: without later keys that are at their default."""
    return _named(section, only_in_use=False)


def identifying(section: Section) -> dict[str, Any]:
    """Return a section as the key of a job holds it, in JSON types: as recorded, and nothing of codes and families not in use.

    A section that is not in use and was there at first stands in the key with the defaults of that time.
    """
    return _named(section, only_in_use=True)


def _named(section: Section, *, only_in_use: bool) -> dict[str, Any]:
    first = first_keys().get(type(section).__name__, {})
    unused = section.not_in_use() if only_in_use else frozenset()
    plain = section.model_dump(mode="json")
    found: dict[str, Any] = {}
    for name, field in type(section).model_fields.items():
        if name in unused:
            if name in first:
                found[name] = first[name]
            continue
        value = getattr(section, name)
        is_default = not field.is_required() and value == field.get_default(call_default_factory=True)
        if name in first or not is_default:
            found[name] = _named(value, only_in_use=only_in_use) if isinstance(value, Section) else plain[name]
    return found
