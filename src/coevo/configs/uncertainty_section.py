"""The ``uncertainty`` section: which models judge beside the node's own force field."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, field_validator

from coevo.configs.section import Local, Section
from coevo.errors import CheckpointError
from coevo.families import Weights, built_in, descriptor_of, is_known, names_of
from coevo.families.weights_files import is_file, weights_file

if TYPE_CHECKING:
    from collections.abc import Sequence

MOST_MEMBERS, MOST_FAMILIES = 16, 8


@dataclass(frozen=True)
class OtherForceField:
    """A published force field that judges beside the node's own.

    Attributes
    ----------
    family, weights : str
    """

    family: str
    weights: str

    @classmethod
    def of(cls, text: str) -> OtherForceField:
        """Read ``FAMILY/WEIGHTS``."""
        family, _, weights = text.partition("/")
        return cls(family, weights)

    def __str__(self) -> str:
        return f"{self.family}/{self.weights}"

    @property
    def told(self) -> Weights:
        """What is known of the weights."""
        found = descriptor_of(self.family, "force_field").weights_named(self.weights)
        assert found is not None
        return found

    @property
    def name(self) -> str:
        """How the member is called in states: letters, digits and ``_``, so that filters can name it."""
        file = weights_file(self.weights)
        if file is None:
            return member_name(f"{self.family}_{self.weights}")
        digest = hashlib.sha256(self.weights.encode()).hexdigest()[:6]
        return member_name(f"{self.family}_{PurePath(file.path).stem[:40]}_{digest}")


def member_name(text: str) -> str:
    """Make a name of a member: ``sevennet/7net-0`` is ``sevennet_7net_0``."""
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")


def _of_this_machine(families: Any) -> bool:
    """Whether a list names a family of another package, or a model file."""
    if not isinstance(families, list | tuple):
        return bool(families)
    known = built_in("force_field")
    for item in families:
        family, _, weights = item.partition("/") if isinstance(item, str) else ("", "", "")
        if family not in known or ":" in weights or (weights and is_file(weights)):
            return True
    return False


class UncertaintyConfig(Section):
    """A second opinion: models that judge the population beside the node's force field, and are part of each state."""

    members: int = Field(
        default=0,
        ge=0,
        le=MOST_MEMBERS,
        description="fine-tuned models of the node's own family beside its force field, each with a seed and splits of its own",
    )
    families: Annotated[
        tuple[str, ...],
        Local("code of an installed package is run, or a model file is read", _of_this_machine),
    ] = Field(
        default=(),
        max_length=MOST_FAMILIES,
        description="other force fields that judge too, as published: FAMILY or FAMILY/WEIGHTS",
    )

    @field_validator("families", mode="before")
    @classmethod
    def _texts(cls, value: Any) -> Any:
        """Take ``{family: sevennet, weights: 7net-0}`` for ``sevennet/7net-0``, and the default weights where none are given."""
        if isinstance(value, str):
            value = [value]
        return [_as_text(item) for item in value] if isinstance(value, list | tuple) else value

    @field_validator("families")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            _check(OtherForceField.of(text))
        names = [OtherForceField.of(text).name for text in value]
        if repeated := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"got {', '.join(value)}, two of which would be called {repeated[0]}; name each one once")
        return value

    @property
    def in_use(self) -> bool:
        """Whether there is a second opinion at all."""
        return bool(self.members or self.families)

    @property
    def others(self) -> tuple[OtherForceField, ...]:
        """The other force fields."""
        return tuple(OtherForceField.of(text) for text in self.families)

    def own_names(self, family: str) -> list[str]:
        """Names of the fine-tuned members of the node's own family: ``chgnet_1``, ``chgnet_2``, …."""
        return [member_name(f"{family}_{number}") for number in range(1, self.members + 1)]

    def check(self, family: str, weights: str, elements: Sequence[str], fraction: float) -> None:
        """Refuse what does not fit a node.

        Parameters
        ----------
        family, weights : str
            Of the node's own force field.
        elements : sequence of str
            Of the node.
        fraction : float
            ``selection.uncertainty_fraction``.

        Raises
        ------
        ValueError
        """
        if fraction and not self.in_use:
            raise ValueError(
                f"selection.uncertainty_fraction: got {fraction:g}, and no model judges beside the force field, allowed: 0; or "
                "say which do (uncertainty.members, uncertainty.families)"
            )
        if self.members and not descriptor_of(family, "force_field").can("fit"):
            raise ValueError(
                f"uncertainty.members: got {self.members}, and {family} cannot be fitted, allowed: 0; or name other force fields "
                "(uncertainty.families)"
            )
        for other in self.others:
            if (other.family, other.weights) == (family, weights):
                raise ValueError(f"uncertainty.families: got {other}, the node's own force field, allowed: other ones")
            known = descriptor_of(other.family, "force_field").elements
            if unknown := [symbol for symbol in elements if known is not None and symbol not in known]:
                raise ValueError(
                    f"uncertainty.families: got {other}, which does not know {', '.join(unknown)}, allowed: force fields that "
                    f"know the elements of the node, {', '.join(elements)}"
                )
            if other.name in self.own_names(family):
                raise ValueError(f"uncertainty.families: got {other}, which would be called {other.name}, as one of the members")


def _as_text(item: Any) -> Any:
    if isinstance(item, dict) and set(item) <= {"family", "weights"} and isinstance(item.get("family"), str):
        item = item["family"] + (f"/{item['weights']}" if item.get("weights") else "")
    if not isinstance(item, str) or "/" in item:
        return item
    try:
        return f"{item}/{descriptor_of(item, 'force_field').default_weights}" if is_known(item, "force_field") else item
    except CheckpointError as err:
        raise ValueError(str(err)) from None


def _check(other: OtherForceField) -> None:
    if not is_known(other.family, "force_field"):
        raise ValueError(
            f"got {str(other).removesuffix('/')!r}, allowed: FAMILY or FAMILY/WEIGHTS of {', '.join(names_of('force_field'))}, "
            "or of a family whose package is installed (docs/force-fields.md)"
        )
    try:
        family = descriptor_of(other.family, "force_field")
    except CheckpointError as err:
        raise ValueError(str(err)) from None
    if family.weights_named(other.weights) is None:
        raise ValueError(f"got {str(other)!r}, allowed weights of {other.family}: {family.weights_allowed()}")
