"""Figures of a state as SVG, the report's, each drawn when it is asked for."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING

from coevo.errors import CoevoError, CorruptArtifactError, QueryError
from coevo.report.figures.crystal_systems import systems_plot
from coevo.report.figures.energy import energy_plot
from coevo.report.figures.environments import environment_plot
from coevo.report.figures.errors import error_plot
from coevo.report.figures.growth import growth_plot
from coevo.report.figures.held_out import held_out_plot
from coevo.report.figures.hull import hull_plot
from coevo.report.figures.loop import lineage_plot, loop_plot
from coevo.report.figures.plots import new_figure, paper_style, svg_text
from coevo.serve.served import Recent

if TYPE_CHECKING:
    from collections.abc import Callable

    from coevo.node_store.views import StateView
    from coevo.report.figures.plots import Plot
    from coevo.report.gathering import ReportData
    from coevo.serve.served import Served

FIGURES: dict[str, Callable[[ReportData], Plot]] = {
    "hull": hull_plot,
    "growth": growth_plot,
    "energy": energy_plot,
    "environments": environment_plot,
    "errors": error_plot,
    "held-out": held_out_plot,
    "crystal-systems": systems_plot,
    "loop": loop_plot,
    "lineage": lineage_plot,
}
_TITLES = {
    "hull": "Convex hull",
    "growth": "Growth",
    "energy": "Energy above hull",
    "environments": "Local environments",
    "errors": "Force-field errors",
    "held-out": "Errors on the held-out set",
    "crystal-systems": "Crystal systems",
    "loop": "The loop",
    "lineage": "Lineage",
}


def title_of(name: str) -> str:
    """Name of a figure for people."""
    return _TITLES[name]


class Figures:
    """The last figures that were drawn; matplotlib draws one at a time."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._drawn: Recent[bytes] = Recent(64)

    def svg(self, served: Served, view: StateView, name: str) -> bytes:
        """Return a figure of a state.

        Raises
        ------
        QueryError
            If there is none of this name.
        CorruptArtifactError
            If the state's numbers are not those that this coevo writes.
        """
        if name not in FIGURES:
            raise QueryError(f"there is no figure {name[:40]!r}; there are {', '.join(FIGURES)}")
        branches = tuple(sorted(served.branches(view.node).items())) if name == "lineage" else ()
        with self._lock:
            return self._drawn.get((view.node, view.id, name, branches), lambda: _drawn(served, view, name))


def _drawn(served: Served, view: StateView, name: str) -> bytes:
    data = served.outline(view) if name == "lineage" else served.population(view)
    try:
        with paper_style():
            plot = FIGURES[name](data)
            figure = new_figure(plot.size)
            plot.draw_into(figure)
            return svg_text(figure).encode()
    except (LookupError, ArithmeticError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, CoevoError):
            raise
        raise CorruptArtifactError(
            f"the numbers of {view.node}@{view.id[:12]} are not those that this coevo writes ({type(error).__name__}), so there "
            f"is no figure {name}"
        ) from error
