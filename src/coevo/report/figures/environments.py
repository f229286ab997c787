"""Panel (d): entropy of local environments, with and without the neighbours' species, and how many environments are new."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coevo.report.figures.plots import GREY, STYLES, DataTable, Plot, say_missing, series, whole_numbers
from coevo.studies.states.environment_coverage import coverage_course

if TYPE_CHECKING:
    from coevo.report.figures.plots import Part
    from coevo.report.gathering import ReportData


ENTROPY_COLUMNS = ("iteration", "descriptor", "centre atoms", "entropy (nats)", "standard error (nats)", "N", "ln N (nats)")
NEW_COLUMNS = ("iteration", "centre atoms", "new environments (fraction)", "standard error (fraction)", "environments looked at")
FAR_COLUMNS = (
    "iteration",
    "centre atoms",
    "far from all older ones (fraction)",
    "Wilson 95 %, from (fraction)",
    "to (fraction)",
    "environments looked at",
)
KINDS = {"entropy": "neighbours' species not seen", "entropy_multicomponent": "neighbours' species seen"}
ALL = "all"


def environment_plot(data: ReportData) -> Plot:
    """Return entropies and new environments per state."""
    entropies = [row for kind in KINDS for row in entropy_rows(data, kind)]
    new, far = new_rows(data), far_rows(data)
    missing = "" if entropies or new else _why(data)
    last = [row for row in entropies if row[2] == ALL and row[1] == KINDS["entropy"]]
    spoken = (
        f"Entropy of all environments at iteration {last[-1][0]}: {last[-1][3]:.3f} nats of ln N = {last[-1][6]:.3f}."
        if last
        else ""
    )
    return Plot(
        name="environments",
        title="Local environments",
        caption=(
            "Entropy of the descriptors of local environments (QUESTS) over the entries, per centre species and in all, at a "
            "fixed number N of environments; bars are standard errors over subsamples. H cannot exceed ln N (grey). Left: the "
            "descriptor does not see which species the neighbours are; right: it does. Below: share of the environments of the "
            "newest entries that are like none of the older entries and references."
            + (" Beside it: share further than δ90 from all older ones, with Wilson's 95 % interval." if far else "")
        ),
        alt=missing or f"Line charts of entropy and of the fraction of new environments by iteration. {spoken}",
        tables={
            "environments": DataTable(ENTROPY_COLUMNS, entropies),
            "new-environments": DataTable(NEW_COLUMNS, new),
            **({"far-environments": DataTable(FAR_COLUMNS, far)} if far else {}),
        },
        draw=lambda figure: _draw(figure, data, entropies, new, far),
        missing=missing,
    )


def _why(data: ReportData) -> str:
    wanted = data.view.document["config"]["maturity"]["environments"]
    return f"fewer than {wanted} environments (maturity.environments) in every state so far"


def _why_none(data: ReportData, kind: str) -> str:
    """Why no state has an entropy of this descriptor."""
    if any(kind in view.document["metrics"] for view in data.line):
        return f"{_why(data)} ({KINDS[kind]})"
    return f"these states do not keep it ({KINDS[kind]})"


def entropy_rows(data: ReportData, kind: str) -> list[tuple[Any, ...]]:
    """Entropies of one descriptor over the states of the line; columns as in :data:`ENTROPY_COLUMNS`."""
    rows = []
    for view in data.line:
        found = view.document["metrics"].get(kind)
        if not found:
            continue
        parts = {ALL: found, **found.get("per_species", {})}
        rows += [
            (view.iteration, KINDS[kind], centre, part["mean"], part["standard_error"], part["n"], part["ln_n"])
            for centre, part in parts.items()
            if part
        ]
    return rows


def new_rows(data: ReportData) -> list[tuple[Any, ...]]:
    """Fractions of new environments over the states of the line; columns as in :data:`NEW_COLUMNS`."""
    rows = []
    for view in data.line:
        found = view.document["metrics"].get("new_environments")
        if not found:
            continue
        parts = {ALL: found, **found.get("per_species", {})}
        rows += [
            (view.iteration, centre, part["fraction"], part["standard_error"], part["n"])
            for centre, part in parts.items()
            if part and part.get("fraction") is not None
        ]
    return rows


def far_rows(data: ReportData) -> list[tuple[Any, ...]]:
    """Fractions of atoms far from all older ones, of the iterations that the states record; columns as in :data:`FAR_COLUMNS`."""
    return [
        (number, symbol, share["fraction"], share["low"], share["high"], share["n"])
        for number, shares in coverage_course([view.document["metrics"] for view in data.line]).items()
        for symbol, share in shares.items()
        if share.get("fraction") is not None
    ]


def _draw(
    figure: Part,
    data: ReportData,
    entropies: list[tuple[Any, ...]],
    new: list[tuple[Any, ...]],
    far: list[tuple[Any, ...]],
) -> None:
    centres = (ALL, *data.elements)
    styles = {centre: STYLES[index % len(STYLES)] for index, centre in enumerate(centres)}
    parts: Any = figure.subfigures(2, 1, height_ratios=(1.7, 1) if new or far else (3.2, 1))
    above, below = parts
    if far:
        below, beside = below.subfigures(1, 2)
        _far_axes(beside, far, styles)
    columns: Any = above.subfigures(1, 2)
    spread = [row[3] for row in entropies] + [row[6] for row in entropies]
    handles: dict[str, Any] = {}
    for part, kind in zip(columns, KINDS, strict=True):
        rows = [row for row in entropies if row[1] == KINDS[kind]]
        if rows:
            handles.update(_entropy_axes(part, rows, styles, spread))
        else:
            say_missing(part, _why_none(data, kind))
    above.legend(list(handles.values()), list(handles), loc="outside lower center", ncols=8, columnspacing=1.0, handlelength=2.0)
    if not new:
        say_missing(below, "no state here says which of its environments are new")
        return
    axes = below.subplots()
    for centre in centres:
        rows = [row for row in new if row[1] == centre]
        series(axes, [r[0] for r in rows], [100 * r[2] for r in rows], [100 * (r[3] or 0) for r in rows], **styles[centre])
    axes.set_ylim(0, None)
    axes.set_ylabel("new (%)")
    axes.set_xlabel("iteration")
    whole_numbers(axes)


def _far_axes(figure: Part, rows: list[tuple[Any, ...]], styles: dict[str, Any]) -> None:
    axes = figure.subplots()
    for centre, style in styles.items():
        own = [row for row in rows if row[1] == centre]
        if own:
            axes.vlines(
                [r[0] for r in own], [100 * r[3] for r in own], [100 * r[4] for r in own], color=style["color"], linewidth=0.8
            )
            series(axes, [r[0] for r in own], [100 * r[2] for r in own], **style)
    axes.set_ylim(0, None)
    axes.set_ylabel("far (%)")
    axes.set_xlabel("iteration")
    whole_numbers(axes)


def _entropy_axes(figure: Part, rows: list[tuple[Any, ...]], styles: dict[str, Any], spread: list[float]) -> dict[str, Any]:
    axes = figure.subplots()
    for centre, style in styles.items():
        own = [row for row in rows if row[2] == centre]
        if own:
            series(axes, [r[0] for r in own], [r[3] for r in own], [r[4] for r in own], label=centre, **style)
    ceiling = [(row[0], row[6]) for row in rows if row[2] == ALL] or [(row[0], row[6]) for row in rows]
    levels = {level for _, level in ceiling}
    if len(levels) == 1:
        axes.axhline(levels.pop(), color=GREY, linewidth=1.0)
    else:
        axes.plot(*zip(*sorted(ceiling), strict=True), color=GREY, linewidth=1.0)
    axes.annotate("ln N", (1.0, ceiling[-1][1]), xycoords=("axes fraction", "data"), fontsize=6, va="bottom", ha="right")
    low, high = min(spread), max(spread)
    axes.set_ylim(low - 0.08 * (high - low or 1), high + 0.16 * (high - low or 1))
    axes.set_title(rows[0][1], fontsize=6.8)
    axes.set_ylabel("H (nats)")
    axes.set_xlabel("iteration")
    whole_numbers(axes)
    handles, names = axes.get_legend_handles_labels()
    return dict(zip(names, handles, strict=True))
