"""The six panels in one figure, as in Fig. 1 of arXiv:2511.12420."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coevo.report.figures.plots import Plot

if TYPE_CHECKING:
    from collections.abc import Sequence

    from coevo.report.figures.plots import Part


LETTERS = "abcdef"


def composite_plot(panels: Sequence[Plot]) -> Plot:
    """Return the six panels in two columns."""
    names = ", ".join(f"({letter}) {plot.title.lower()}" for letter, plot in zip(LETTERS, panels, strict=True))
    return Plot(
        name="signals",
        title="The node in six panels",
        caption=f"{names[:1].upper() + names[1:]}; each is explained below, with its data.",
        alt=" ".join(f"({letter}) {plot.title}: {plot.alt}" for letter, plot in zip(LETTERS, panels, strict=True)),
        tables={},
        draw=lambda figure: _draw(figure, panels),
        size=(180.0, 218.0),
    )


def _draw(figure: Part, panels: Sequence[Plot]) -> None:
    parts: Any = figure.subfigures(3, 2, wspace=0.03, hspace=0.03)
    for letter, part, plot in zip(LETTERS, parts.ravel(), panels, strict=True):
        part.suptitle(f"({letter}) {plot.title}", x=0.02, ha="left", fontsize=8.5, fontweight="bold")
        plot.draw_into(part)
