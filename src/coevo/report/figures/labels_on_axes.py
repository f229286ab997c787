"""Text beside points of a diagram, placed so that it covers neither other text nor many points."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    Place = tuple[float, float]
    Box = tuple[float, float, float, float]

_SIZE = 6.3
# Where a label may stand about its point, in points (1/72 inch), the best first: (dx, dy, horizontal, vertical alignment).
_CHOICES = tuple(
    (reach * dx, reach * dy, horizontal, vertical)
    for reach in (5.0, 10.0, 16.0, 24.0)
    for dx, dy, horizontal, vertical in (
        (1, 0, "left", "center"),
        (0.8, 0.8, "left", "bottom"),
        (-0.8, 0.8, "right", "bottom"),
        (0.8, -0.8, "left", "top"),
        (-0.8, -0.8, "right", "top"),
        (0, 1, "center", "bottom"),
        (0, -1, "center", "top"),
        (-1, 0, "right", "center"),
    )
)


def place_labels(
    axes: Axes, labels: Sequence[tuple[Place, str]], points: Sequence[Place], reach: float = 24.0, cover: int = 3
) -> None:
    """Write labels beside their points.

    Parameters
    ----------
    axes : Axes
        With its final limits.
    labels : sequence of ((x, y), text)
        In the order in which they choose their places; one that finds no free place is left out.
    points : sequence of (x, y)
        All markers drawn; a label avoids covering them where it can, and stays within the axes.
    reach : float
        How far a label may stand from its point, in points (1/72 inch).
    cover : int
        Markers that a label may hide.
    """
    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()
    scale = 72.0 / figure.dpi
    x, y, right, top = (float(v) * scale for v in axes.get_window_extent().extents)
    frame = (x - _SIZE, y, right + _SIZE, top + _SIZE)
    obstacles = [tuple(float(v) * scale for v in axes.transData.transform(point)) for point in points]
    centres = [tuple(float(v) * scale for v in axes.transData.transform(point)) for point, _ in labels]
    taken: list[Box] = []
    for (point, text), centre in zip(labels, centres, strict=True):
        others = [other for other in centres if other != centre]
        best = min(
            (
                (
                    _cost(_box(centre, choice, text), frame, taken, obstacles)
                    + _doubt(_box(centre, choice, text), centre, others),
                    order,
                    choice,
                )
                for order, choice in enumerate(_CHOICES)
                if max(abs(choice[0]), abs(choice[1])) <= reach
            ),
            key=lambda found: found[:2],
        )
        if best[0] > _PER_MARKER * cover + _NEARER * len(others):
            continue
        dx, dy, horizontal, vertical = best[2]
        taken.append(_box(centre, best[2], text))
        far = abs(dx) + abs(dy) > 12
        note = axes.annotate(
            text,
            point,
            xytext=(dx, dy),
            textcoords="offset points",
            fontsize=_SIZE,
            ha=horizontal,
            va=vertical,
            zorder=8,
            arrowprops={"arrowstyle": "-", "linewidth": 0.4, "color": "#777777", "shrinkA": 0, "shrinkB": 2} if far else None,
            bbox={"boxstyle": "square,pad=0.08", "facecolor": "white", "edgecolor": "none", "alpha": 0.75},
        )
        # A label moves no axes: its place was chosen for them as they are.
        note.set_in_layout(False)


_OVERLAP = 1e6
_PER_MARKER = 1000.0
_NEARER = 20.0


def _box(centre: tuple[float, ...], choice: tuple[float, float, str, str], text: str) -> Box:
    dx, dy, horizontal, vertical = choice
    # subscripts are narrower than letters
    width = sum(0.42 if "₀" <= letter <= "₉" else 0.64 for letter in text) * _SIZE + 1.5
    height = 1.3 * _SIZE
    x = centre[0] + dx - {"left": 0.0, "center": width / 2, "right": width}[horizontal]
    y = centre[1] + dy - {"bottom": 0.0, "center": height / 2, "top": height}[vertical]
    return x, y, x + width, y + height


def _cost(box: Box, frame: Box, taken: Sequence[Box], obstacles: Sequence[tuple[float, ...]]) -> float:
    if box[0] < frame[0] or box[1] < frame[1] or box[2] > frame[2] or box[3] > frame[3]:
        return _OVERLAP
    if any(box[0] < b[2] and b[0] < box[2] and box[1] < b[3] and b[1] < box[3] for b in taken):
        return _OVERLAP
    return _PER_MARKER * sum(box[0] - 1 < x < box[2] + 1 and box[1] - 1 < y < box[3] + 1 for x, y in obstacles)


def _doubt(box: Box, own: tuple[float, ...], others: Sequence[tuple[float, ...]]) -> float:
    """Cost of a label that seems to belong to another labelled point, which is nearer."""
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    away = (x - own[0]) ** 2 + (y - own[1]) ** 2
    return _NEARER * sum((x - other[0]) ** 2 + (y - other[1]) ** 2 <= away for other in others)
