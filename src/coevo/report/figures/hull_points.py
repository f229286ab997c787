"""The convex hull of a state as points, tie-lines and facets, from its stored evaluations."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

from coevo.analysis.composition import fractions
from coevo.analysis.hull.hull import Hull

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from coevo.report.gathering import ReportData

    FloatArray = np.ndarray[Any, np.dtype[np.float64]]

COLUMNS = (
    "id",
    "kind",
    "formula",
    "name",
    "formation energy (eV/atom)",
    "energy above hull (eV/atom)",
    "volume (angstrom^3/atom)",
    "on the hull",
)


@dataclass(frozen=True)
class HullPoints:
    """Phases of some elements, and the hull that they make.

    Attributes
    ----------
    elements : tuple of str, length k
    rows : list of dict
        Evaluations, n of them: references first.
    shares : ndarray, shape (n, k)
        Atomic fractions.
    hull : Hull
        Of all rows; its vertices are indices of rows.
    """

    elements: tuple[str, ...]
    rows: list[dict[str, Any]]
    shares: FloatArray
    hull: Hull

    @property
    def corners(self) -> list[int]:
        """Rows on the hull: the stable phases, from the first element to the last."""
        return sorted(self.hull.vertices.tolist(), key=lambda row: tuple(-self.shares[row]))

    def tie_lines(self) -> list[tuple[int, int]]:
        """Pairs of rows that are joined by an edge of the hull, each once."""
        pairs = {
            tuple(sorted((int(self.hull.vertices[a]), int(self.hull.vertices[b]))))
            for facet in self.hull.simplices.tolist()
            for a, b in combinations(facet, 2)
        }
        return sorted(pairs)  # type: ignore[arg-type]

    def facets(self) -> list[list[int]]:
        """Rows of the stable phases of each facet."""
        return [[int(self.hull.vertices[corner]) for corner in facet] for facet in self.hull.simplices.tolist()]

    def shown(self) -> list[int]:
        """Rows to draw, highest E_hull first.

        With one or two elements all; with more the lowest of each kind and composition, for the others lie behind it.
        """
        if len(self.elements) < 3:
            return sorted(range(len(self.rows)), key=lambda index: _order(self.rows[index]), reverse=True)
        lowest: dict[tuple[str, str], int] = {}
        for index, row in enumerate(self.rows):
            key = (row["kind"], row["formula"])
            if key not in lowest or _order(row) < _order(self.rows[lowest[key]]):
                lowest[key] = index
        return sorted(lowest.values(), key=lambda index: _order(self.rows[index]), reverse=True)

    def table(self, names: dict[str, str], shown: Sequence[int]) -> list[tuple[Any, ...]]:
        """Rows of a CSV: atomic fractions after the columns :data:`COLUMNS`."""
        corners = set(self.hull.vertices.tolist())
        return [
            (
                self.rows[i]["structure_id"],
                self.rows[i]["kind"],
                self.rows[i]["formula"],
                names.get(self.rows[i]["structure_id"], ""),
                self.rows[i]["formation_energy_per_atom"],
                self.rows[i]["energy_above_hull"],
                self.rows[i].get("volume_per_atom"),
                i in corners,
                *(float(share) for share in self.shares[i]),
            )
            for i in shown
        ]

    def face(self, elements: Sequence[str]) -> HullPoints:
        """Phases of some of the elements only; the hull of these is a face of the whole one."""
        wanted = set(elements)
        return hull_points(elements, [row for row in self.rows if set(row["elements"]) <= wanted])


def _order(row: dict[str, Any]) -> tuple[float, str]:
    return row["energy_above_hull"], row["structure_id"]


def hull_points(elements: Sequence[str], rows: Sequence[dict[str, Any]]) -> HullPoints:
    """Make the hull of evaluations.

    Raises
    ------
    AnalysisError
        If an element has no phase of its own, or a formula has other elements.
    """
    names = tuple(elements)
    ordered = sorted(rows, key=lambda row: (row["kind"] != "reference", row["structure_id"]))
    shares = fractions([row["formula"] for row in ordered], names)
    return HullPoints(names, ordered, shares, Hull.from_points(names, shares, [row["energy_per_atom"] for row in ordered]))


def state_hull(data: ReportData) -> HullPoints:
    """Return the hull of all references and entries of the state."""
    return hull_points(data.elements, [*data.references, *data.entries])
