"""Whether meshes of k-points in different cells may come from one rule.

A rule asks for a spacing and rounds the numbers of each cell up, down or to the nearest, and rules that ask for points per atom
(pymatgen's ``automatic_density``) differ by the cube root of the volume per atom. So a mesh tells a range of spacings for each way
of rounding, and meshes are of one rule if for one of these ways all ranges meet; the same cell with two meshes is never of one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

WIDENED = 1.1
"""Factor; each bound of a range may be off by it, as for rules that ask for points per atom."""
STATED = 1e-4
"""Relative; spacings that are stated and nearer than this are one."""

Range = tuple[float, float]


@dataclass(frozen=True)
class KPoints:
    """What is known of the spacing of k-points (along reciprocal vectors with 2π, 1/Å).

    Attributes
    ----------
    ranges : dict
        Way of rounding (``up``, ``nearest``, ``down``) to the lowest and highest spacing that gives the meshes; none if nothing is
        known.
    meshes : dict
        Cell, by the lengths of its reciprocal vectors, to its mesh.
    """

    ranges: dict[str, Range] = field(default_factory=dict)
    meshes: dict[str, str] = field(default_factory=dict)

    @classmethod
    def stated(cls, spacing: float) -> KPoints:
        """A spacing that the input asks for."""
        found = spacing / (1.0 + STATED), spacing * (1.0 + STATED)
        return cls(dict.fromkeys(("up", "nearest", "down"), found))

    @classmethod
    def of_mesh(cls, mesh: Sequence[int], reciprocal_lengths: Sequence[float]) -> KPoints:
        """A mesh in a cell.

        Parameters
        ----------
        mesh : sequence of int, length 3
        reciprocal_lengths : sequence of float, length 3
            With 2π, 1/Å.
        """
        pairs = [(float(length), int(n)) for length, n in zip(reciprocal_lengths, mesh, strict=True)]
        above = {"up": 0.0, "nearest": 0.5, "down": 1.0}  # a mesh of n holds for length/spacing up to n + this
        ranges = {}
        for name, more in above.items():
            low = max(length / (n + more) for length, n in pairs)
            high = min((length / (n + more - 1.0) for length, n in pairs if n > 1), default=float("inf"))
            if low / WIDENED < high * WIDENED:
                ranges[name] = (low / WIDENED, high * WIDENED)
        if not ranges:  # a mesh by hand: anything between its directions
            low = min(length / (n + 1.0) for length, n in pairs)
            high = max(length / (n - 1.0) if n > 1 else float("inf") for length, n in pairs)
            ranges = dict.fromkeys(above, (low, high))
        cell = " ".join(f"{length:.3f}" for length, _ in pairs)
        return cls(ranges, {cell: "×".join(str(n) for _, n in pairs)})

    def contradiction(self, other: KPoints) -> str:
        """Say why both are not of one rule; empty if they may be."""
        for cell in sorted(self.meshes.keys() & other.meshes.keys()):
            if self.meshes[cell] != other.meshes[cell]:
                return f"the k-points of one cell are {self.meshes[cell]} in one and {other.meshes[cell]} in the other"
        if self.ranges and other.ranges and not _common(self.ranges, other.ranges):
            return f"the k-points are {self} apart in one and {other} in the other"
        return ""

    def joined(self, other: KPoints) -> KPoints:
        """What both say; where they contradict, this one stands."""
        ranges = _common(self.ranges, other.ranges) if self.ranges and other.ranges else self.ranges or other.ranges
        return KPoints(ranges or self.ranges, {**other.meshes, **self.meshes})

    def __str__(self) -> str:
        low = min((low for low, _ in self.ranges.values()), default=0.0)
        high = max((high for _, high in self.ranges.values()), default=float("inf"))
        if high == float("inf"):
            return f"more than {low:.2g}/Å"
        return f"{low:.3g}/Å" if high < low * 1.01 else f"{low:.2g} to {high:.2g}/Å"

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types; null for no upper bound."""
        ranges = {name: [low, None if high == float("inf") else high] for name, (low, high) in sorted(self.ranges.items())}
        return {"ranges": ranges, "meshes": dict(sorted(self.meshes.items()))}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> KPoints:
        """Inverse of :meth:`to_dict`."""
        ranges = {
            name: (float(low), float("inf") if high is None else float(high))
            for name, (low, high) in document.get("ranges", {}).items()
        }
        return cls(ranges, dict(document.get("meshes", {})))


def _common(one: Mapping[str, Range], other: Mapping[str, Range]) -> dict[str, Range]:
    """Ways of rounding whose ranges meet, with what they have in common."""
    found = {}
    for name in one.keys() & other.keys():
        low, high = max(one[name][0], other[name][0]), min(one[name][1], other[name][1])
        if low < high:
            found[name] = (low, high)
    return dict(sorted(found.items()))
