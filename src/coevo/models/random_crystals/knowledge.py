"""What an embedded generator has learned: the content of its checkpoint, and how a target energy weighs it.

Everything that depends on energy is kept as counts in bins of E_hull, not as one weight, so that the target given at sampling
time decides how sharply low-energy examples are preferred.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from coevo.configs.section import recorded
from coevo.configs.tree import ELEMENT_SYMBOLS, GeneratorConfig
from coevo.errors import CheckpointError
from coevo.models.checkpoint_json import parse_bounded

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

ENERGY_EDGES = (0.005, 0.015, 0.03, 0.05, 0.08, 0.12, 0.2, 0.3)
"""Upper edges of the bins of E_hull, eV/atom; the last bin is open."""

ENERGY_CENTRES = (0.0, 0.01, 0.0225, 0.04, 0.065, 0.1, 0.16, 0.25, 0.5)
"""Energies that the bins stand for, eV/atom."""

MAX_BYTES = 20_000_000
"""Bytes of a checkpoint; that of a node with thousands of entries has 2 MB."""

MAX_COMPOSITIONS = 20_000
MAX_UNIT_ATOMS = 64
MAX_PARENT_ATOMS = 512
MAX_DEPTH = 8
MIN_VOLUME = 0.1
"""What a checkpoint may hold at most, and the smallest cell, Å³; a fit stays far below."""

TEMPERATURE = 0.03
"""Energy scale kT of the preference for low E_hull at a target of zero, eV/atom."""


class Record(BaseModel):
    """Base of the checkpoint's parts: unknown keys, NaN and infinities are errors, values are frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


Count = Annotated[int, Field(ge=0, le=10**9)]
Amount = Annotated[int, Field(ge=1, le=10_000)]
Bins = Annotated[tuple[Count, ...], Field(min_length=len(ENERGY_CENTRES), max_length=len(ENERGY_CENTRES))]
Wyckoff = Annotated[str, Field(pattern=r"^[0-9]{1,4}[a-zA-Z]$")]
SpaceGroup = Annotated[int, Field(ge=1, le=230)]
Text = Annotated[str, Field(max_length=200)]
Length = Annotated[float, Field(ge=-1000.0, le=1000.0)]
Triple = tuple[Length, Length, Length]


def _element(symbol: str) -> str:
    if symbol not in ELEMENT_SYMBOLS:
        raise ValueError(f"{symbol[:20]!r} is not a chemical element")
    return symbol


def _check_places(species: tuple[str, ...], coordinates: tuple[Triple, ...]) -> None:
    if len(species) != len(coordinates):
        raise ValueError(f"{len(species)} atoms at {len(coordinates)} places")


Element = Annotated[str, AfterValidator(_element)]


class Composition(Record):
    """Examples of one reduced formula."""

    amounts: dict[Element, Amount] = Field(min_length=1)
    bins: Bins = Field(description="examples per bin of E_hull")
    cells: dict[Amount, Count] = Field(max_length=10_000, description="formula units in the primitive cell: examples")
    volume: float = Field(gt=0, le=10_000, description="mean volume per atom, Å³")


class Occupation(Record):
    """Wyckoff positions that low-energy examples occupy."""

    space_group: SpaceGroup
    sites: dict[Element, Annotated[tuple[Wyckoff, ...], Field(max_length=1000)]] = Field(
        description="element: labels such as 4a, in the conventional cell"
    )
    bins: Bins


class Unit(Record):
    """A finite bonded fragment of an example, placed as a rigid body.

    ``coordinates`` are Cartesian, Å, shape (n_atoms, 3), with the centroid at the origin.
    """

    formula: Text
    species: tuple[Element, ...] = Field(min_length=1, max_length=MAX_UNIT_ATOMS)
    coordinates: tuple[Triple, ...] = Field(max_length=MAX_UNIT_ATOMS)
    bins: Bins
    source: Text = Field(description="id of the example that it was cut from")

    @model_validator(mode="after")
    def _one_place_each(self) -> Self:
        _check_places(self.species, self.coordinates)
        return self


class Parent(Record):
    """A stored example that candidates are varied from; lattice rows and coordinates are of its primitive cell."""

    id: Text
    energy_above_hull: float = Field(ge=-1000.0, le=1000.0)
    space_group: SpaceGroup
    lattice: tuple[Triple, Triple, Triple]
    species: tuple[Element, ...] = Field(min_length=1, max_length=MAX_PARENT_ATOMS)
    coordinates: tuple[Triple, ...] = Field(max_length=MAX_PARENT_ATOMS, description="fractional")

    @model_validator(mode="after")
    def _crystal(self) -> Self:
        (a, b, c), (d, e, f), (g, h, i) = self.lattice
        if abs(a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)) < MIN_VOLUME:
            raise ValueError(f"its cell has less than {MIN_VOLUME} Å³")
        _check_places(self.species, self.coordinates)
        return self


class Tracked(Record):
    """What is known of one formula, for who decides which ones come into focus."""

    amounts: dict[Element, Amount] = Field(min_length=1)
    examples: Count = Field(default=0, description="of any E_hull, references not among them")
    lowest: float | None = Field(default=None, ge=-1000.0, le=1000.0, description="E_hull of the best example, eV/atom")
    best: Text = Field(default="", description="id of the best example")
    known: bool = Field(default=False, description="the best example is a reference")
    rounds: Count = Field(default=0, description="fits before which the formula was in focus")
    since: Count = Field(default=0, description="of these, those after the best example came")


class Knowledge(Record):
    """The whole checkpoint of an embedded generator."""

    kind: Literal["coevo-embedded-generator"] = "coevo-embedded-generator"
    version: Literal[1] = 1
    settings: GeneratorConfig
    examples: Count = Field(default=0, description="examples with weight in the last fit")
    compositions: dict[Text, Composition] = Field(default_factory=dict, max_length=MAX_COMPOSITIONS)
    space_groups: dict[SpaceGroup, Bins] = Field(default_factory=dict, description="space group: examples per bin")
    occupations: tuple[Occupation, ...] = Field(default=(), max_length=5000)
    volumes: dict[Element, Annotated[float, Field(gt=0, le=10_000)]] = Field(
        default_factory=dict, description="volume of an atom of each element, Å³"
    )
    volume_spread: float = Field(default=0.15, gt=0, le=10, description="standard deviation of log(volume / prediction)")
    distances: dict[Annotated[str, Field(max_length=5)], Annotated[float, Field(ge=0, le=1000)]] = Field(
        default_factory=dict, description="'A-B': shortest distance seen in good examples, Å"
    )
    units: tuple[Unit, ...] = Field(default=(), max_length=1000)
    parents: tuple[Parent, ...] = Field(default=(), max_length=5000)
    tracked: dict[Text, Tracked] = Field(
        default_factory=dict, max_length=MAX_COMPOSITIONS, description="reduced formula: what depth goes by; empty without it"
    )
    charges: dict[
        Annotated[str, Field(pattern=r"^([A-Z][a-z]?[1-9][0-9]{0,3}){1,8}$")], Annotated[int, Field(ge=-100, le=100)]
    ] = Field(default_factory=dict, max_length=1000, description="formula of a unit: its charge, e; empty without depth")
    focus: tuple[Text, ...] = Field(
        default=(), max_length=1000, description="reduced formulas that stay in focus within an iteration; empty: by their score"
    )

    @field_validator("tracked")
    @classmethod
    def _under_their_formulas(cls, value: dict[str, Tracked]) -> dict[str, Tracked]:
        for name, each in value.items():
            if name != formula_key(each.amounts):
                raise ValueError(f"amounts of {formula_key(each.amounts)} under another name")
        return value

    def to_bytes(self) -> bytes:
        """Canonical JSON: the same knowledge gives the same bytes, without later settings that are at their defaults."""
        data = self.model_dump(mode="json") | {"settings": recorded(self.settings)}
        for later in ("tracked", "charges", "focus"):
            if not data[later]:
                del data[later]  # a checkpoint without them is the one that it always was
        return json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False).encode() + b"\n"


def read_knowledge(path: Path) -> Knowledge:
    """Read a checkpoint.

    Raises
    ------
    CheckpointError
        If the file cannot be read, is cut short, or is not the checkpoint of an embedded generator.
    """
    try:
        with path.open("rb") as file:
            text = file.read(MAX_BYTES + 1)
        if len(text) > MAX_BYTES:
            raise CheckpointError(f"generator checkpoint {path}: more than {MAX_BYTES} bytes; it belongs to another family")
        data = parse_bounded(text, depth=MAX_DEPTH)
    except OSError as err:
        raise CheckpointError(f"generator checkpoint {path}: cannot be read ({err.strerror or err}); check the path") from err
    except ValueError as err:
        raise CheckpointError(f"generator checkpoint {path}: not complete JSON ({err}); fetch or write it again") from err
    kind = data.get("kind") if isinstance(data, dict) else None
    if kind != "coevo-embedded-generator":
        raise CheckpointError(
            f"generator checkpoint {path}: kind is {str(kind)[:40]!r}, expected 'coevo-embedded-generator'; "
            "it belongs to another family"
        )
    try:
        return Knowledge.model_validate(data)
    except ValidationError as err:
        first = err.errors(include_url=False, include_input=False)[0]
        where = ascii(".".join(map(str, first["loc"]))[:120])[1:-1]  # keys are a stranger's text
        raise CheckpointError(
            f"generator checkpoint {path}: {where}: {first['msg'][:300]} ({err.error_count()} problems); "
            "it was damaged or written by another version"
        ) from err


def energy_bin(energy_above_hull: float) -> int:
    """Index of the bin of an energy, eV/atom."""
    return next((i for i, edge in enumerate(ENERGY_EDGES) if energy_above_hull <= edge), len(ENERGY_EDGES))


def preference(energy_above_hull: float, target: float) -> float:
    """Weight of an example, exp(−E/kT), for a target energy above hull; a higher target flattens it. Energies in eV/atom."""
    return math.exp(-max(energy_above_hull, 0.0) / (TEMPERATURE + max(target, 0.0)))


def binned_preference(bins: tuple[int, ...], target: float) -> float:
    """Sum of the weights of binned examples."""
    return sum(count * preference(centre, target) for count, centre in zip(bins, ENERGY_CENTRES, strict=True))


def formula_key(amounts: Mapping[str, int]) -> str:
    """Key of a reduced formula in the tables."""
    return " ".join(f"{s}{n}" for s, n in sorted(amounts.items()))


def pair_key(a: str, b: str) -> str:
    """Key of an unordered pair of elements."""
    return f"{a}-{b}" if a <= b else f"{b}-{a}"
