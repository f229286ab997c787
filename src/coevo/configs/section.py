"""What all sections of a configuration share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class Local:
    """Marks a key that can name something of the machine: a path, a program, an import path, a package that is installed.

    Such a value is the word of whoever wrote the file. One that came in a bundle is not acted on before the user has agreed to it
    (:mod:`coevo.configs.local_values`). A new key of this kind only has to be marked: ``Annotated[str, Local("…")]``.

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
    """Base of every section: unknown keys, NaN and infinities are errors, values are frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, strict=False)

    not_in_files: ClassVar[frozenset[str]] = frozenset()
    """Fields that a file does not hold: they are another's to set, and stand in states only."""

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
