"""``coevo verify --signals``: a state's signals computed again, beside those that it records."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.table import Table

from coevo.app.progress_bars import ProgressBars
from coevo.app.terminal import err, out, print_json, say, styled
from coevo.configs.loading import config_from_dict
from coevo.makers.progress import reporting_to
from coevo.makers.signals.recomputation import compare_signals
from coevo.node_store.recorded import readable
from coevo.settings import usable_workers

if TYPE_CHECKING:
    from coevo.makers.signals.comparison import Comparison
    from coevo.node_store.store import NodeStore


def check_signals(store: NodeStore, ref: str, format: str) -> bool:  # noqa: A002
    """Print stored and recomputed signals of a state; True if all agree."""
    view = store.state(ref)
    config = config_from_dict(view.document["config"], f"configuration of {view.node}@{view.id[:12]}")
    with ProgressBars(err) as bars, reporting_to(bars), readable(view):
        rows = compare_signals(store, view, config, usable_workers(config.resources.workers))
    if format == "json":
        print_json({"state": view.id, "signals": [row.to_dict() for row in rows]})
    else:
        out.print(_table(rows, f"{view.node}@{view.id[:12]}: signals as stored and as computed again"))
    wrong = [row for row in rows if not row.agrees]
    verdict = f"{len(wrong)} of {len(rows)} numbers differ" if wrong else f"all {len(rows)} numbers agree"
    say(f"{view.node}@{view.id[:12]}: {verdict}")
    return not wrong


def _table(rows: list[Comparison], title: str) -> Table:
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
    for name in ("", "stored", "computed again", "unit", "allowed", ""):
        table.add_column(name, justify="right" if name in {"stored", "computed again", "allowed"} else "left")
    for row in rows:
        mark = styled("differs", "red") if not row.agrees else "" if row.recorded else "not recorded"
        table.add_row(row.name, _number(row.stored), _number(row.found), row.unit, f"{row.tolerance:.1g}", mark)
    return table


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.6f}"
