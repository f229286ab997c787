"""The convex hull of a state as points, tie-lines and facets, from its stored evaluations."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from coevo.analysis.composition import fractions
from coevo.analysis.hull.hull import Hull
from coevo.makers.populations.hull_members import is_counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

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
        Of the rows that make it (:func:`coevo.makers.populations.hull_members.is_counted`); see :attr:`vertices`.
    counted : ndarray of int
        Those rows.
    """

    elements: tuple[str, ...]
    rows: list[dict[str, Any]]
    shares: FloatArray
    hull: Hull
    counted: NDArray[np.int64]

    @property
    def vertices(self) -> list[int]:
        """Rows on the hull, as the hull has them."""
        return self.counted[self.hull.vertices].tolist()

    @property
    def corners(self) -> list[int]:
        """Rows on the hull: the stable phases, from the first element to the last."""
        return sorted(self.vertices, key=lambda row: tuple(-self.shares[row]))

    def tie_lines(self) -> list[tuple[int, int]]:
        """Pairs of rows that are joined by an edge of the hull, each once."""
        vertices = self.vertices
        pairs = {
            tuple(sorted((vertices[a], vertices[b]))) for facet in self.hull.simplices.tolist() for a, b in combinations(facet, 2)
        }
        return sorted(pairs)  # type: ignore[arg-type]

    def facets(self) -> list[list[int]]:
        """Rows of the stable phases of each facet."""
        vertices = self.vertices
        return [[vertices[corner] for corner in facet] for facet in self.hull.simplices.tolist()]

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
        corners = set(self.vertices)
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
    counted = np.array([index for index, row in enumerate(ordered) if is_counted(row)], dtype=np.int64)
    hull = Hull.from_points(names, shares[counted], [ordered[index]["energy_per_atom"] for index in counted])
    return HullPoints(names, ordered, shares, hull, counted)


def state_hull(data: ReportData) -> HullPoints:
    """Return the references and entries of the state with its hull."""
    return hull_points(data.elements, [*data.references, *data.entries])
