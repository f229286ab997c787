"""What a figure of the report is, its style, and how it and its data become files that are the same each time.

Also here: the six panels in one figure, as in Fig. 1 of arXiv:2511.12420.
"""

from __future__ import annotations

import io
import re
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from coevo.output.plain_text import csv_text, plain_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

    Part = Figure | SubFigure

MILLIMETRE = 1 / 25.4
"""Inches; figures are sized for paper."""
SINGLE = (90.0, 66.0)
"""mm; one column of a journal."""
DOTS_PER_INCH = 200

# Okabe and Ito's colours, told apart with any colour vision; markers and line styles differ too, for print without colour.
BLACK, ORANGE, SKY, GREEN, BLUE, VERMILION, PURPLE = "#000000", "#E69F00", "#56B4E9", "#009E73", "#0072B2", "#D55E00", "#CC79A7"
GREY = "#8a8a8a"
STYLES: tuple[dict[str, Any], ...] = (
    {"color": BLACK, "marker": "o", "linestyle": "-"},
    {"color": BLUE, "marker": "s", "linestyle": "--"},
    {"color": VERMILION, "marker": "^", "linestyle": "-."},
    {"color": GREEN, "marker": "D", "linestyle": ":"},
    {"color": ORANGE, "marker": "v", "linestyle": (0, (5, 1))},
    {"color": PURPLE, "marker": "P", "linestyle": (0, (3, 1, 1, 1))},
    {"color": SKY, "marker": "X", "linestyle": (0, (1, 1))},
)
FULL = {"markersize": 4.0, "linewidth": 1.2}

_STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 7.5,
    "axes.titlesize": 8,
    "axes.labelsize": 7.5,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 6.5,
    "legend.frameon": False,
    "legend.handlelength": 2.4,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "lines.markersize": 4,
    "svg.fonttype": "path",
    "svg.hashsalt": "coevo",
    "savefig.dpi": DOTS_PER_INCH,
    # A dollar sign in a name that a stranger chose is a dollar sign.
    "text.parse_math": False,
}
_SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")


@dataclass(frozen=True)
class DataTable:
    """The data of a figure.

    Attributes
    ----------
    columns : tuple of str
        With the unit in parentheses.
    rows : list of tuple
        None where there is no value.
    """

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]

    def as_csv(self) -> str:
        """Comma-separated values with a header; numbers in full precision, an empty field for None."""
        return csv_text(self.columns, self.rows)


@dataclass(frozen=True)
class Plot:
    """One figure of the report.

    Attributes
    ----------
    name : str
        Stem of its files.
    title, caption, alt : str
        Heading, what is shown, and what somebody who cannot see it should know.
    tables : dict of str to DataTable
        Its data, by stem of the file.
    draw : callable
        Draws into a figure or a part of one.
    missing : str
        Why there is nothing to draw; empty if there is.
    size : tuple of float
        Width and height, mm.
    """

    name: str
    title: str
    caption: str
    alt: str
    tables: dict[str, DataTable]
    draw: Callable[[Part], None] = field(repr=False)
    missing: str = ""
    size: tuple[float, float] = SINGLE

    def draw_into(self, figure: Part) -> None:
        """Draw, or say what is missing."""
        if self.missing:
            say_missing(figure, self.missing)
        else:
            self.draw(figure)


@contextmanager
def paper_style() -> Iterator[None]:
    """Set the style of the figures for a while, whatever the user's own matplotlib settings are."""
    import matplotlib as mpl

    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_STYLE)  # type: ignore[arg-type]
        yield


def new_figure(size: tuple[float, float]) -> Figure:
    """Return an empty figure of a size in mm, outside pyplot's global list."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(size[0] * MILLIMETRE, size[1] * MILLIMETRE), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def say_missing(figure: Part, reason: str) -> None:
    """Write why a figure, or a part of one, is empty; there are no axes then."""
    import textwrap

    text = reason if reason.startswith("no signal") else f"no signal: {reason}"
    inches = figure.bbox.width / figure.dpi
    wrapped = "\n".join(textwrap.wrap(text, max(16, int(inches * 72 / (0.62 * 7.5)))))
    figure.text(0.5, 0.5, wrapped, ha="center", va="center", color="#444444", fontsize=7.5, linespacing=1.5)


def save(figure: Figure, folder: Path, name: str) -> None:
    """Write a figure as SVG and PNG without dates and versions: the same figure is the same bytes."""
    (folder / f"{name}.svg").write_text(svg_text(figure), encoding="utf-8")
    figure.savefig(folder / f"{name}.png", format="png", dpi=DOTS_PER_INCH, metadata={"Software": None})


def svg_text(figure: Figure) -> str:
    """Return a figure as SVG, as :func:`save` writes it."""
    _write_out_texts(figure)
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return _numbered_clips(plain_lines(buffer.getvalue()))


def _write_out_texts(figure: Figure) -> None:
    """Make the texts of a figure plain: an SVG repeats them in comments, where a control character breaks the file."""
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        text.set_text(plain_lines(text.get_text()))


def _numbered_clips(svg: str) -> str:
    """Name clipping paths by their order: matplotlib hashes their places, whose last digits are not always the same."""
    names = dict.fromkeys(re.findall(r'clip-path="url\(#(\w+)\)"', svg))
    numbers = {name: f"clip{number}" for number, name in enumerate(names)}
    return re.sub(r'(url\(#|<clipPath id=")(\w+)', lambda found: found[1] + numbers.get(found[2], found[2]), svg)


def write_plot(plot: Plot, folder: Path) -> None:
    """Write one figure by itself; ``folder`` has ``figures`` and ``data``."""
    with paper_style():
        figure = new_figure(plot.size)
        plot.draw_into(figure)
        save(figure, folder / "figures", plot.name)
    for name, table in plot.tables.items():
        (folder / "data" / f"{name}.csv").write_text(table.as_csv(), encoding="utf-8")


def whole_numbers(axes: Axes) -> None:
    """Put ticks of the x axis at whole numbers: iterations and frames are counted."""
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1, nbins=8))


def formula_text(formula: str) -> str:
    """Return a formula with subscripts; anything that is none stays as it is."""
    return formula.translate(_SUBSCRIPTS) if re.fullmatch(r"[A-Z(][A-Za-z0-9()]*", formula) else formula


def padded(low: float, high: float, share: float = 0.08) -> tuple[float, float]:
    """Limits of an axis that leave room around values; never of no width."""
    width = (high - low) or max(abs(high), 1.0) * 0.1
    return low - share * width, high + share * width


def series(
    axes: Axes, x: Sequence[float], y: Sequence[float | None], errors: Sequence[float | None] | None = None, **style: Any
) -> None:
    """Draw a line with markers and error bars through the values that are there."""
    there = [index for index, value in enumerate(y) if value is not None]
    if not there:
        return
    bars = None if errors is None else [errors[index] or 0.0 for index in there]
    axes.errorbar([x[i] for i in there], [y[i] for i in there], yerr=bars, capsize=2, **{**FULL, **style})  # type: ignore[arg-type]


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
