"""Crystal systems of references, entries and S.U.N. entries."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from coevo.analysis.space_groups import LAST_GROUP, SYSTEMS, crystal_system
from coevo.report.figures.plots import BLACK, SKY, VERMILION, DataTable, Plot

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from coevo.report.figures.plots import Part
    from coevo.report.gathering import ReportData

COLUMNS = ("crystal system", "references", "entries", "S.U.N. entries")
_NAMES = tuple(name for name, _ in SYSTEMS)
_UNKNOWN = "not found"
_STYLES = (
    {"color": BLACK, "hatch": ""},
    {"color": SKY, "hatch": "////"},
    {"color": VERMILION, "hatch": "...."},
)


def systems_plot(data: ReportData) -> Plot:
    """Return how many structures have each crystal system; entries without duplicates."""
    counts = [_counted(rows) for rows in (data.references, data.live_entries, data.sun_entries)]
    names = [*_NAMES, *([_UNKNOWN] if any(found[_UNKNOWN] for found in counts) else [])]
    rows = [(name, *(found[name] for found in counts)) for name in names]
    most = max(names, key=lambda name: counts[1][name]) if data.live_entries else ""
    missing = "" if data.live_entries else "the state has no entries yet"
    return Plot(
        name="crystal-systems",
        title="Crystal systems",
        caption=(
            "Shares of the references, of the entries without duplicates, and of the S.U.N. entries, by the space group that "
            "spglib finds at the state's geometry. Numbers above the bars: structures."
        ),
        alt=missing or f"Bar chart of crystal systems: most entries, {counts[1][most]} of {len(data.live_entries)}, are {most}.",
        tables={"crystal-systems": DataTable(COLUMNS, rows)},
        draw=lambda figure: _draw(figure, names, counts),
        missing=missing,
    )


def _counted(rows: Iterable[dict[str, Any]]) -> Counter[str]:
    groups = (row.get("space_group") for row in rows)
    return Counter(crystal_system(g) if isinstance(g, int) and 1 <= g <= LAST_GROUP else _UNKNOWN for g in groups)


def _draw(figure: Part, names: list[str], counts: list[Counter[str]]) -> None:
    axes = figure.subplots()
    width = 0.27
    for place, (found, what, style) in enumerate(zip(counts, COLUMNS[1:], _STYLES, strict=True)):
        total = sum(found.values())
        x = [number + (place - 1) * width for number in range(len(names))]
        shares = [found[name] / total if total else 0.0 for name in names]
        axes.bar(x, shares, width, label=f"{what} ({total})", edgecolor="white", linewidth=0.4, **style)  # type: ignore[arg-type]
        for at, share, name in zip(x, shares, names, strict=True):
            if found[name]:
                axes.text(at, share, str(found[name]), ha="center", va="bottom", fontsize=5, rotation=90)
    axes.set_xticks(range(len(names)), names, rotation=30, ha="right")
    axes.set_ylabel("share of the structures")
    axes.legend()
