"""What an embedded generator has learned: the content of its checkpoint, and how a target energy weighs it.

Everything that depends on energy is kept as counts in bins of E_hull, not as one weight, so that the target given at sampling
time decides how sharply low-energy examples are preferred.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from coevo.configs.tree import GeneratorConfig  # noqa: TC001  (pydantic resolves it at run time)
from coevo.errors import CheckpointError

if TYPE_CHECKING:
    from pathlib import Path

ENERGY_EDGES = (0.005, 0.015, 0.03, 0.05, 0.08, 0.12, 0.2, 0.3)
"""Upper edges of the bins of E_hull, eV/atom; the last bin is open."""

ENERGY_CENTRES = (0.0, 0.01, 0.0225, 0.04, 0.065, 0.1, 0.16, 0.25, 0.5)
"""Energies that the bins stand for, eV/atom."""

TEMPERATURE = 0.03
"""Energy scale kT of the preference for low E_hull at a target of zero, eV/atom."""


class Record(BaseModel):
    """Base of the checkpoint's parts: unknown keys, NaN and infinities are errors, values are frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Composition(Record):
    """Examples of one reduced formula."""

    amounts: dict[str, int]
    bins: tuple[int, ...] = Field(description="examples per bin of E_hull")
    cells: dict[int, int] = Field(description="formula units in the primitive cell: examples")
    volume: float = Field(gt=0, description="mean volume per atom, Å³")


class Occupation(Record):
    """Wyckoff positions that low-energy examples occupy."""

    space_group: int = Field(ge=1, le=230)
    sites: dict[str, tuple[str, ...]] = Field(description="element: labels such as 4a, in the conventional cell")
    bins: tuple[int, ...]


class Unit(Record):
    """A finite bonded fragment of an example, placed as a rigid body.

    ``coordinates`` are Cartesian, Å, shape (n_atoms, 3), with the centroid at the origin.
    """

    formula: str
    species: tuple[str, ...]
    coordinates: tuple[tuple[float, float, float], ...]
    bins: tuple[int, ...]
    source: str = Field(description="id of the example that it was cut from")


class Parent(Record):
    """A stored example that candidates are varied from; lattice rows and coordinates are of its primitive cell."""

    id: str
    energy_above_hull: float
    space_group: int
    lattice: tuple[tuple[float, float, float], ...]
    species: tuple[str, ...]
    coordinates: tuple[tuple[float, float, float], ...] = Field(description="fractional")


class Knowledge(Record):
    """The whole checkpoint of an embedded generator."""

    kind: Literal["coevo-embedded-generator"] = "coevo-embedded-generator"
    version: Literal[1] = 1
    settings: GeneratorConfig
    examples: int = Field(default=0, ge=0, description="examples with weight in the last fit")
    compositions: dict[str, Composition] = Field(default_factory=dict)
    space_groups: dict[int, tuple[int, ...]] = Field(default_factory=dict, description="space group: examples per bin")
    occupations: tuple[Occupation, ...] = ()
    volumes: dict[str, float] = Field(default_factory=dict, description="volume of an atom of each element, Å³")
    volume_spread: float = Field(default=0.15, gt=0, description="standard deviation of log(volume / prediction)")
    distances: dict[str, float] = Field(default_factory=dict, description="'A-B': shortest distance seen in good examples, Å")
    units: tuple[Unit, ...] = ()
    parents: tuple[Parent, ...] = ()

    def to_bytes(self) -> bytes:
        """Canonical JSON: the same knowledge gives the same bytes."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"), allow_nan=False).encode() + b"\n"


def read_knowledge(path: Path) -> Knowledge:
    """Read a checkpoint.

    Raises
    ------
    CheckpointError
        If the file cannot be read, is cut short, or is not the checkpoint of an embedded generator.
    """
    try:
        data = json.loads(path.read_bytes())
    except OSError as err:
        raise CheckpointError(f"generator checkpoint {path}: cannot be read ({err.strerror or err}); check the path") from err
    except (json.JSONDecodeError, UnicodeDecodeError) as err:
        raise CheckpointError(f"generator checkpoint {path}: not complete JSON ({err}); fetch or write it again") from err
    kind = data.get("kind") if isinstance(data, dict) else None
    if kind != "coevo-embedded-generator":
        raise CheckpointError(
            f"generator checkpoint {path}: kind is {kind!r}, expected 'coevo-embedded-generator'; it belongs to another family"
        )
    try:
        return Knowledge.model_validate(data)
    except ValidationError as err:
        first = err.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise CheckpointError(
            f"generator checkpoint {path}: {where}: {first['msg']} ({err.error_count()} problems); "
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


def pair_key(a: str, b: str) -> str:
    """Key of an unordered pair of elements."""
    return f"{a}-{b}" if a <= b else f"{b}-{a}"
