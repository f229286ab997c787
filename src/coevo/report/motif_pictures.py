"""Pictures of motifs: balls and sticks as SVG, drawn along the direction in which the atoms lie widest."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.sax.saxutils import escape, quoteattr

import numpy as np

from coevo.analysis.neighbour_lists import covalent_radii

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from coevo.analysis.motifs.motifs import Motif

    FloatArray = NDArray[np.float64]

COLOURS = {
    "P": "#E69F00",
    "S": "#F0E442",
    "O": "#D55E00",
    "N": "#0072B2",
    "H": "#FFFFFF",
    "C": "#999999",
    "Se": "#CC79A7",
    "F": "#56B4E9",
    "Cl": "#009E73",
}
"""Of the balls, from Okabe and Ito's colours, which do not need red and green to be told apart; letters name the elements."""

_OTHER = "#DDDDDD"
_BALL = 0.45
_MARGIN = 0.9
_STUB = 0.7
_LARGEST_SCALE = 34.0
_FAR = 0.55
_SAME_PLACE = 1e-3
_MANY = 60
_GOLDEN = (1.0 + 5.0**0.5) / 2.0


def motif_svg(motif: Motif, width: int = 180, height: int = 140) -> str:
    """Draw a motif.

    Atoms are balls with the letters of their elements, bonds are lines; what is further away is paler. A bond of a chain, layer
    or framework that leaves the example is a dashed stub. The same motif with the same example gives the same text.

    Parameters
    ----------
    motif : Motif
    width, height : int
        Pixels.

    Returns
    -------
    str
        An ``<svg>`` element without scripts or links.
    """
    positions = np.array(motif.positions, dtype=float)
    ends = [positions[i] + _STUB * np.array(vector) for i, j, vector in motif.bonds if _leaves(positions, i, j, vector)]
    ends += [positions[j] - _STUB * np.array(vector) for i, j, vector in motif.bonds if _leaves(positions, i, j, vector)]
    rotation = _view(positions, np.array([*positions, *ends]))
    seen = positions @ rotation.T
    scale, shift = _fit(np.array([*positions, *ends]) @ rotation.T, width, height)
    places = seen[:, :2] * scale * np.array([1.0, -1.0]) + shift
    depth = _depth(seen[:, 2])
    shapes: list[tuple[float, str]] = []
    for i, j, vector in motif.bonds:
        step = np.array(vector) @ rotation.T
        if not _leaves(positions, i, j, vector):
            shapes.append((float(min(seen[i, 2], seen[j, 2])) - 1e-6, _line(places[i], places[j], (depth[i] + depth[j]) / 2)))
            continue
        for atom, direction in ((i, step), (j, -step)):
            end = places[atom] + _STUB * direction[:2] * scale * np.array([1.0, -1.0])
            shapes.append((float(seen[atom, 2]) - 1e-6, _line(places[atom], end, depth[atom], dashed=True)))
    radii = _BALL * covalent_radii(motif.symbols) * scale
    for atom, symbol in enumerate(motif.symbols):
        shapes.append((float(seen[atom, 2]), _ball(places[atom], float(radii[atom]), symbol, depth[atom])))
    title = escape(f"{motif.name}{_charge_text(motif.charge)}")
    body = "".join(text for _, text in sorted(shapes, key=lambda shape: shape[0]))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" '
        f"aria-label={quoteattr(motif.name + _charge_text(motif.charge))}><title>{title}</title>{body}</svg>"
    )


def _charge_text(charge: int | None) -> str:
    if not charge:
        return ""
    size = "" if abs(charge) == 1 else str(abs(charge))
    return f" {size}{'-' if charge < 0 else '+'}"


def _leaves(positions: FloatArray, i: int, j: int, vector: tuple[float, float, float]) -> bool:
    """Whether a bond ends at an image of its second atom."""
    return bool(np.abs(positions[i] + np.array(vector) - positions[j]).max() > _SAME_PLACE)


def _view(atoms: FloatArray, points: FloatArray) -> FloatArray:
    """Rotation to the direction, of many, in which the nearest two atoms look furthest apart; the widest extent is horizontal."""
    if len(atoms) == 1 and len(points) == 1:
        return np.eye(3)
    best, best_score = np.eye(3), -1.0
    for direction in _directions(200 if len(atoms) <= _MANY else 20):
        basis = _basis(direction, points)
        flat = points @ basis[:2].T
        shown = atoms @ basis[:2].T
        gaps = np.linalg.norm(shown[:, None] - shown[None], axis=2) + 10.0 * np.eye(len(shown))
        # a clear view first, then a wide one
        score = float(np.minimum(gaps, 1.0).min(axis=1).sum() + 0.1 * np.prod(np.ptp(flat, axis=0) + 0.1) / len(shown))
        if score > best_score + 1e-9:
            best, best_score = basis, score
    return best


def _directions(count: int) -> FloatArray:
    """Points spread over half a sphere, shape (count, 3)."""
    number = np.arange(count)
    z = (number + 0.5) / count
    angle = 2.0 * np.pi * number / _GOLDEN
    ring = np.sqrt(1.0 - z**2)
    return np.stack([ring * np.cos(angle), ring * np.sin(angle), z], axis=1)


def _basis(direction: FloatArray, points: FloatArray) -> FloatArray:
    """Rows: right, up, towards the eye; right is the widest extent of the points seen along the direction."""
    helper = np.eye(3)[int(np.abs(direction).argmin())]
    right = np.cross(helper, direction)
    right /= np.linalg.norm(right)
    up = np.cross(direction, right)
    flat = (points - points.mean(axis=0)) @ np.stack([right, up]).T
    angle = 0.5 * np.arctan2(2.0 * float(flat[:, 0] @ flat[:, 1]), float(flat[:, 0] @ flat[:, 0] - flat[:, 1] @ flat[:, 1]))
    turned = np.cos(angle) * right + np.sin(angle) * up
    return np.stack([turned, np.cross(direction, turned), direction])


def _fit(points: FloatArray, width: int, height: int) -> tuple[float, FloatArray]:
    """Pixels per Å, and the shift that puts the points in the middle."""
    low, high = points[:, :2].min(axis=0), points[:, :2].max(axis=0)
    size = high - low + 2.0 * _MARGIN
    scale = min(_LARGEST_SCALE, width / float(size[0]), height / float(size[1]))
    middle = (low + high) / 2.0
    return scale, np.array([width / 2.0, height / 2.0]) - middle * scale * np.array([1.0, -1.0])


def _depth(heights: FloatArray) -> FloatArray:
    """Opacity, from :data:`_FAR` for what is furthest to 1 for what is nearest; flat motifs are not paled."""
    span = float(np.ptp(heights))
    if span < 0.5:
        return np.ones(len(heights))
    return np.asarray(_FAR + (1.0 - _FAR) * (heights - heights.min()) / span)


def _line(start: FloatArray, end: FloatArray, opacity: float, *, dashed: bool = False) -> str:
    shade = _greyed("#444444", float(opacity))
    dashes = ' stroke-dasharray="3 3"' if dashed else ""
    return (
        f'<line x1="{start[0]:.1f}" y1="{start[1]:.1f}" x2="{end[0]:.1f}" y2="{end[1]:.1f}" stroke="{shade}" '
        f'stroke-width="{2 if dashed else 3.5}"{dashes}/>'
    )


def _ball(place: FloatArray, radius: float, symbol: str, opacity: float) -> str:
    fill = _greyed(COLOURS.get(symbol, _OTHER), float(opacity))
    line = _greyed("#222222", float(opacity))
    size = max(6.0, min(13.0, 1.25 * radius)) if len(symbol) == 1 else max(5.0, min(11.0, radius))
    return (
        f'<circle cx="{place[0]:.1f}" cy="{place[1]:.1f}" r="{radius:.1f}" fill="{fill}" stroke="{line}"/>'
        f'<text x="{place[0]:.1f}" y="{place[1]:.1f}" dy="0.35em" text-anchor="middle" font-family="sans-serif" '
        f'font-size="{size:.1f}" fill="#000000">{escape(symbol)}</text>'
    )


def _greyed(colour: str, opacity: float) -> str:
    """A colour faded towards white; opaque, so that nothing shines through."""
    parts = [int(colour[start : start + 2], 16) for start in (1, 3, 5)]
    return "#" + "".join(f"{round(255 - (255 - part) * opacity):02X}" for part in parts)
