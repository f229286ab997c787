"""Diagrams of the hull: a Gibbs triangle, a binary diagram, or energy against volume for one element."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Any

from coevo.report.figures.hull_points import COLUMNS, HullPoints, state_hull
from coevo.report.figures.labels_on_axes import place_labels
from coevo.report.figures.plots import BLACK, GREY, DataTable, Plot, formula_text, padded

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import PathCollection

    from coevo.report.figures.plots import Part
    from coevo.report.gathering import ReportData


HEIGHT = 3**0.5 / 2
"""Of a triangle with sides of length 1."""
_MOST_DRAWN = 4000
"""Markers, from which on they are drawn as pixels in the SVG."""


def hull_plot(data: ReportData) -> Plot:
    """Return the diagram that suits the number of elements."""
    points = state_hull(data)
    count = len(points.elements)
    faces = [points.face(three) for three in combinations(points.elements, 3)] if count == 4 else []
    drawn = {face.elements: face.shown() for face in faces} or {points.elements: points.shown()}
    tables = {
        "hull" if not faces else f"hull-{'-'.join(face.elements)}": DataTable(
            (*COLUMNS, *(f"{symbol} (atomic fraction)" for symbol in face.elements)),
            face.table(data.reference_names, drawn[face.elements]),
        )
        for face in faces or [points]
    }
    stable = ", ".join(points.rows[row]["formula"] for row in points.corners)
    kinds = {1: "Energy against volume", 2: "Binary diagram", 3: "Gibbs triangle", 4: "Gibbs triangles of the four faces"}
    return Plot(
        name="hull",
        title="Convex hull",
        caption=_caption(count),
        alt=f"{kinds.get(count, 'No diagram')} of {'-'.join(points.elements)}: {len(points.rows)} phases. On the hull: {stable}.",
        tables=tables,
        draw=lambda figure: _draw(figure, points, faces, data),
        missing=f"a diagram shows at most 4 elements, this node has {count}; the table of stable phases follows"
        if count > 4
        else "",
        size={1: (90, 66), 2: (90, 72), 3: (130, 104), 4: (180, 170)}.get(count, (90, 30)),
    )


def _caption(count: int) -> str:
    kinds = (
        "Squares: references; circles: entries; black edge: on the hull. The colour is the energy above hull by this state's "
        "force field. "
    )
    if count == 1:
        return kinds + "One element: energy above the lowest phase against volume."
    lowest = "Of each composition the lowest reference and the lowest entry are drawn. "
    if count == 2:
        return kinds + "Line: the hull. Phases far above it are in the CSV only."
    if count == 3:
        return kinds + lowest + "Lines: tie-lines between stable phases."
    return (
        kinds + lowest + "Lines: tie-lines. Each triangle is one ternary face; phases of all four elements are in the table only."
    )


def _draw(figure: Part, points: HullPoints, faces: list[HullPoints], data: ReportData) -> None:
    limit = max(data.view.document["config"]["curation"]["max_e_hull"], 0.01)
    if faces:
        grid = figure.subplots(2, 2).ravel()
        for axes, face in zip(grid, faces, strict=True):
            marks = _triangle(axes, face, limit, size=12, most_labels=10)
        figure.colorbar(marks, ax=grid.tolist(), shrink=0.5, label="energy above hull (eV/atom)", extend="max")
        return
    axes = figure.subplots()
    if len(points.elements) == 3:
        marks = _triangle(axes, points, limit, size=20, most_labels=24)
        figure.colorbar(marks, ax=axes, shrink=0.6, pad=0.02, label="energy above hull (eV/atom)", extend="max", location="right")
    elif len(points.elements) == 2:
        _binary(axes, points, limit)
    else:
        _unary(axes, points, data)


def _scatter(
    axes: Axes, points: HullPoints, shown: list[int], places: list[tuple[float, float]], limit: float, size: float
) -> PathCollection:
    """Draw references as squares and entries as circles; return the last, for the colour bar."""
    from matplotlib.colors import Normalize

    corners = set(points.vertices)
    norm = Normalize(0.0, limit)
    marks = axes.scatter([], [], c=[], cmap="viridis", norm=norm)
    for on_hull, kind, marker in (
        (False, "entry", "o"),
        (False, "reference", "s"),
        (True, "entry", "o"),
        (True, "reference", "s"),
    ):
        some = [
            (place, i)
            for place, i in zip(places, shown, strict=True)
            if (points.rows[i]["kind"], i in corners) == (kind, on_hull)
        ]
        if some:
            marks = axes.scatter(
                [place[0] for place, _ in some],
                [place[1] for place, _ in some],
                c=[points.rows[i]["energy_above_hull"] for _, i in some],
                cmap="viridis",
                norm=norm,
                marker=marker,
                s=1.8 * size if on_hull else size,
                edgecolors=BLACK if on_hull else "white",
                linewidths=0.9 if on_hull else 0.3,
                zorder=5 if on_hull else 3,
                rasterized=len(shown) > _MOST_DRAWN,
                # at the rim of a triangle markers stand over it; a diagram ends at its axes
                clip_on=len(points.elements) < 3,
            )
    return marks


def corner_place(share: Any) -> tuple[float, float]:
    """Place in a triangle whose corners are the first element (left), the second (top) and the third (right)."""
    return float(share[2] + 0.5 * share[1]), float(HEIGHT * share[1])


def _triangle(axes: Axes, points: HullPoints, limit: float, size: float, most_labels: int) -> PathCollection:
    axes.set_aspect("equal")
    axes.set_axis_off()
    axes.set_xlim(-0.12, 1.12)
    axes.set_ylim(-0.11, HEIGHT + 0.09)
    _triangle_grid(axes, points.elements)
    shown = points.shown()
    places = [corner_place(points.shares[i]) for i in shown]
    for a, b in points.tie_lines():
        axes.plot(
            *zip(corner_place(points.shares[a]), corner_place(points.shares[b]), strict=True),
            color="#444444",
            linewidth=0.6,
            zorder=2,
        )
    marks = _scatter(axes, points, shown, places, limit, size)
    named = [i for i in points.corners if points.shares[i].max() < 1.0][:most_labels]
    place_labels(axes, [(corner_place(points.shares[i]), formula_text(points.rows[i]["formula"])) for i in named], places)
    return marks


def _triangle_grid(axes: Axes, elements: tuple[str, ...]) -> None:
    corners = [(1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)]
    axes.plot(*zip(*(corner_place(c) for c in (*corners, corners[0])), strict=True), color=BLACK, linewidth=0.9, zorder=1)
    for tenth in (2, 4, 6, 8):
        t = tenth / 10
        for start, end in (((t, 1 - t, 0), (t, 0, 1 - t)), ((1 - t, t, 0), (0, t, 1 - t)), ((1 - t, 0, t), (0, 1 - t, t))):
            axes.plot(*zip(corner_place(start), corner_place(end), strict=True), color="#dcdcdc", linewidth=0.5, zorder=0)
        for share, column, shift in (
            ((t, 1 - t, 0), 0, (-0.03, 0.012)),
            ((0, t, 1 - t), 1, (0.03, 0.012)),
            ((1 - t, 0, t), 2, (0.0, -0.035)),
        ):
            x, y = corner_place(share)
            axes.text(x + shift[0], y + shift[1], f"{tenth * 10}", fontsize=5.5, color=GREY, ha="center", va="center")
            if tenth == 4:
                _edge_name(axes, column, elements[column])
    for symbol, (x, y), vertical in zip(
        elements, ((-0.03, -0.05), (0.5, HEIGHT + 0.045), (1.03, -0.05)), ("center", "center", "center"), strict=True
    ):
        axes.text(x, y, symbol, fontsize=9, fontweight="bold", ha="center", va=vertical)


def _edge_name(axes: Axes, column: int, symbol: str) -> None:
    place, turn = (((0.25 - 0.085, HEIGHT / 2 + 0.05), 60), ((0.75 + 0.085, HEIGHT / 2 + 0.05), -60), ((0.5, -0.08), 0))[column]
    axes.text(*place, f"{symbol} (% of atoms)", fontsize=6, color=GREY, ha="center", va="center", rotation=turn)


def _binary(axes: Axes, points: HullPoints, limit: float) -> None:
    shown = points.shown()
    places = [(float(points.shares[i, 1]), points.rows[i]["formation_energy_per_atom"]) for i in shown]
    corners = sorted((float(points.shares[i, 1]), points.rows[i]["formation_energy_per_atom"]) for i in points.vertices)
    axes.plot(*zip(*corners, strict=True), color=BLACK, linewidth=1.0, zorder=2)
    marks = _scatter(axes, points, shown, places, limit, 16)
    axes.set_xlim(-0.03, 1.03)
    axes.set_ylim(*padded(min(p[1] for p in places), min(max(p[1] for p in places), 3 * limit), 0.12))
    axes.set_xlabel(f"atomic fraction of {points.elements[1]} in {'-'.join(points.elements)}")
    axes.set_ylabel("formation energy (eV/atom)")
    named = [
        ((float(points.shares[i, 1]), points.rows[i]["formation_energy_per_atom"]), formula_text(points.rows[i]["formula"]))
        for i in points.corners
    ]
    place_labels(axes, named, places)
    axes.figure.colorbar(marks, ax=axes, label="energy above hull (eV/atom)", extend="max", shrink=0.8)


def _unary(axes: Axes, points: HullPoints, data: ReportData) -> None:
    for kind, marker, name in (("entry", "o", "entries"), ("reference", "s", "references")):
        some = [row for row in points.rows if row["kind"] == kind]
        axes.plot(
            [row["volume_per_atom"] for row in some],
            [row["energy_above_hull"] for row in some],
            marker,
            color=BLACK if kind == "reference" else "#0072B2",
            markerfacecolor="white" if kind == "reference" else "#0072B2",
            label=f"{name} ({len(some)})",
        )
    axes.axhline(data.stable_threshold, color=GREY, linestyle=":", linewidth=0.8)
    axes.set_xlabel("volume (Å³/atom)")
    axes.set_ylabel(f"energy above the lowest {points.elements[0]} (eV/atom)")
    axes.set_ylim(*padded(0.0, max(row["energy_above_hull"] for row in points.rows)))
    axes.legend()
