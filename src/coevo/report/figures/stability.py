"""Figure of a study of stability: free energies of polymorphs over temperature with their errors, or phases near the hull."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coevo.errors import ConfigError, StorageError
from coevo.report.figures.plots import GREY, STYLES, formula_text, new_figure, paper_style, say_missing

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from matplotlib.axes import Axes

FORMATS = (".png", ".svg", ".pdf")
MEV = 1000.0
WIDTH, HEIGHT, MORE = 90.0, 66.0, 52.0
"""mm; of one panel, and of each further one."""
MOST_PANELS = 4
MOST_LINES = 7
LABEL = 8


def require_drawing(path: Path) -> None:
    """Make sure that a figure can be drawn into a file, before anything is computed.

    Raises
    ------
    ConfigError
        If matplotlib is not here, or the file is of another kind.
    """
    if path.suffix.lower() not in FORMATS:
        raise ConfigError(f"--plot: got {path.name!r:.80}, allowed: a file that ends in {', '.join(FORMATS)}")
    try:
        __import__("matplotlib")
    except ImportError:
        raise ConfigError("--plot: matplotlib cannot be imported; pip install 'coevo[report]'") from None


def draw_stability(document: Mapping[str, Any], path: Path) -> None:
    """Draw a study of stability into a file.

    Polymorphs of each formula are drawn as G above that of the first of them, which is lowest at rest, with bands of the error of
    the difference; at several pressures there is a diagram of the lowest one at each temperature and pressure as well. A study
    without polymorphs shows G above the hull.

    Parameters
    ----------
    document : mapping
        Of the study.
    path : Path
        PNG, SVG or PDF.

    Raises
    ------
    StorageError
        If the file cannot be written.
    """
    panels = _panels(document["results"])
    with paper_style():
        figure = new_figure((WIDTH, HEIGHT + MORE * max(0, len(panels) - 1)))
        if panels:
            axes = figure.subplots(len(panels), 1, squeeze=False)[:, 0]
            for panel, each in zip(panels, axes, strict=True):
                panel(each)
        else:
            say_missing(figure, "no phase has a free energy")
        try:
            figure.savefig(path, metadata={"Date": None} if path.suffix.lower() == ".svg" else None)
        except OSError as error:
            raise StorageError(f"{path} cannot be written: {error.strerror or error}") from error


def _panels(results: Mapping[str, Any]) -> list[Any]:
    rows = {row["id"]: row for row in results["phases"]}
    polymorphs = [
        lambda axes, each=each, line=line: _draw_polymorphs(axes, results, rows, each, line)
        for each in results["polymorphs"]
        for line in range(len(results["pressures"]))
        if any(value is not None for name in each["phases"] for value in rows[name]["gibbs"][line])
    ]
    diagrams = [
        lambda axes, each=each: _draw_diagram(axes, results, rows, each)
        for each in results["polymorphs"]
        if len(results["pressures"]) > 1 and any(any(line["lowest"]) for line in each["pressures"])
    ]
    if polymorphs or results["static"] is None:
        return [*diagrams, *polymorphs][:MOST_PANELS]
    return [
        lambda axes, pressure=pressure: _draw_hulls(axes, results, rows, pressure)
        for pressure in results["pressures"][:MOST_PANELS]
        if any(hull["above"] for hull in results["hulls"] if hull["pressure"] == pressure)
    ]


def _named(row: Mapping[str, Any]) -> str:
    return f"{formula_text(row['formula'])} {row['name'] or row['id'][:LABEL]}"


def _draw_polymorphs(axes: Axes, results: Any, rows: Any, each: Any, line: int) -> None:
    """G of each polymorph above the first, with the error of the difference."""
    temperatures = results["temperatures"]
    first, *others = sorted(each["phases"], key=lambda name: rows[name]["energy"] + rows[name]["shift"])
    axes.axhline(0.0, color=GREY, linewidth=0.8)
    for name, style in zip(others[:MOST_LINES], STYLES, strict=False):
        found = [
            (t, (g - base) * MEV, (e**2 + error**2) ** 0.5 * MEV)
            for t, g, e, base, error in zip(
                temperatures,
                rows[name]["gibbs"][line],
                rows[name]["errors"][line],
                rows[first]["gibbs"][line],
                rows[first]["errors"][line],
                strict=True,
            )
            if g is not None and base is not None
        ]
        x, y, e = zip(*found, strict=True) if found else ((), (), ())
        axes.plot(x, y, **style, linewidth=1.2, markersize=3, label=_named(rows[name]))
        low, high = [a - b for a, b in zip(y, e, strict=True)], [a + b for a, b in zip(y, e, strict=True)]
        axes.fill_between(x, low, high, color=style["color"], alpha=0.18, linewidth=0)
    axes.set_xlim(temperatures[0], temperatures[-1])
    axes.set_xlabel("T (K)")
    axes.set_ylabel("G above the first (meV/atom)")
    axes.set_title(f"0: {_named(rows[first])}, {results['pressures'][line]:g} GPa", loc="left")
    axes.legend()


def _draw_diagram(axes: Axes, results: Any, rows: Any, each: Any) -> None:
    """Which polymorph is lowest at each temperature and pressure; open where another one is as low within the error."""
    from coevo.studies.stability.words import within_error

    drawn: dict[str, list[tuple[float, float, bool]]] = {}
    for number, pressure in enumerate(results["pressures"]):
        for temperature, near in zip(results["temperatures"], within_error(results, each, number), strict=True):
            if near:
                drawn.setdefault(near[0], []).append((temperature, pressure, len(near) == 1))
    for name, style in zip(drawn, STYLES, strict=False):
        colour, marker = style["color"], style["marker"]
        for told_apart in (True, False):
            places = [(x, y) for x, y, alone in drawn[name] if alone is told_apart]
            if places:
                label = _named(rows[name]) + ("" if told_apart else ", within the error")
                face = colour if told_apart else "none"
                axes.scatter(*zip(*places, strict=True), marker=marker, s=14, edgecolors=colour, facecolors=face, label=label)
    axes.set_xlabel("T (K)")
    axes.set_ylabel("p (GPa)")
    axes.set_title(f"lowest {formula_text(each['formula'])}", loc="left")
    axes.legend()


def _draw_hulls(axes: Axes, results: Any, rows: Any, pressure: float) -> None:
    """G above the hull of the phases that come nearest to it without being on it everywhere."""
    hulls = [hull for hull in results["hulls"] if hull["pressure"] == pressure]
    values = {name: [hull["above"].get(name) for hull in hulls] for name in rows}
    moving = [name for name, line in values.items() if any(value is not None and value > 0.0 for value in line)]
    moving.sort(key=lambda name: min(value for value in values[name] if value is not None))
    for name, style in zip(moving[:MOST_LINES], STYLES, strict=False):
        found = [(hull["temperature"], value * MEV) for hull, value in zip(hulls, values[name], strict=True) if value is not None]
        x, y = zip(*found, strict=True)
        axes.plot(x, y, **style, linewidth=1.2, markersize=3, label=_named(rows[name]))
    axes.set_xlabel("T (K)")
    axes.set_ylabel("G above the hull (meV/atom)")
    axes.set_title(f"{pressure:g} GPa", loc="left")
    if moving:
        axes.legend()
