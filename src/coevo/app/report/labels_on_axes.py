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


def place_labels(axes: Axes, labels: Sequence[tuple[Place, str]], points: Sequence[Place]) -> None:
    """Write labels beside their points.

    Parameters
    ----------
    axes : Axes
        With its final limits.
    labels : sequence of ((x, y), text)
        In the order in which they choose their places; one that finds no free place is left out.
    points : sequence of (x, y)
        All markers drawn; a label avoids covering them where it can.
    """
    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()
    scale = 72.0 / figure.dpi
    obstacles = [tuple(float(v) * scale for v in axes.transData.transform(point)) for point in points]
    taken: list[Box] = []
    for point, text in labels:
        centre = tuple(float(v) * scale for v in axes.transData.transform(point))
        best = min(
            ((_cost(_box(centre, choice, text), taken, obstacles), order, choice) for order, choice in enumerate(_CHOICES)),
            key=lambda found: found[:2],
        )
        if best[0] >= _OVERLAP:
            continue
        dx, dy, horizontal, vertical = best[2]
        taken.append(_box(centre, best[2], text))
        far = abs(dx) + abs(dy) > 12
        axes.annotate(
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


_OVERLAP = 1e6


def _box(centre: tuple[float, ...], choice: tuple[float, float, str, str], text: str) -> Box:
    dx, dy, horizontal, vertical = choice
    # subscripts are narrower than letters
    width = sum(0.42 if "₀" <= letter <= "₉" else 0.64 for letter in text) * _SIZE + 1.5
    height = 1.3 * _SIZE
    x = centre[0] + dx - {"left": 0.0, "center": width / 2, "right": width}[horizontal]
    y = centre[1] + dy - {"bottom": 0.0, "center": height / 2, "top": height}[vertical]
    return x, y, x + width, y + height


def _cost(box: Box, taken: Sequence[Box], obstacles: Sequence[tuple[float, ...]]) -> float:
    if any(box[0] < b[2] and b[0] < box[2] and box[1] < b[3] and b[1] < box[3] for b in taken):
        return _OVERLAP
    return sum(box[0] - 1 < x < box[2] + 1 and box[1] - 1 < y < box[3] + 1 for x, y in obstacles)
