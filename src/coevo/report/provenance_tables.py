"""The tables of models, labels, times and versions."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from coevo.report.tables import DASH, Cell, PageTable, number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from coevo.report.gathering import ReportData


def checkpoint_table(data: ReportData) -> PageTable:
    """Return both checkpoints, their hashes in full."""
    rows: list[list[Any]] = []
    for kind, found in data.view.document["checkpoints"].items():
        size = found.get("size")
        rows.append(
            [
                kind.replace("_", " "),
                str(found["family"]),
                str(found["format"]),
                DASH if size is None else f"{size:,}",
                Cell(found["sha256"], code=True),
                Cell(found["parent"], code=True) if found.get("parent") else "published",
            ]
        )
    return PageTable(("model", "family", "format", "size (bytes)", "sha256", "trained from"), rows, frozenset({3}))


def label_table(data: ReportData) -> PageTable:
    """Return the labels by the settings that they were made with."""
    counts: dict[tuple[str, ...], Counter[str]] = {}
    for label in data.view.labels():
        key = tuple(str(label.get(field) or DASH) for field in ("code", "functional", "settings_digest"))
        found = counts.setdefault(key, Counter())
        found.update([f"status {label.get('status')}", f"kind {label.get('kind')}", f"split {label.get('split')}", "frames"])
    rows: list[list[Any]] = []
    for key, found in sorted(counts.items()):
        parts = [
            ", ".join(f"{count} {name.partition(' ')[2]}" for name, count in sorted(found.items()) if name.startswith(what))
            for what in ("status ", "kind ", "split ")
        ]
        rows.append([key[0], key[1], Cell(key[2], code=True), str(found["frames"]), *parts])
    columns = ("code", "functional", "settings digest", "frames", "status", "kinds", "splits")
    return PageTable(columns, rows, frozenset({3}))


def time_table(data: ReportData) -> PageTable:
    """Return the seconds of work per step, of this state's iteration and of all states in the report."""
    from coevo.node_store.recorded import STEPS, step_seconds

    own = step_seconds(data.view)
    everything: Counter[str] = Counter()
    for view in data.states:
        everything.update(step_seconds(view))
    rows: list[list[Any]] = [
        [name, number(own.get(name), 1), number(everything[name], 1)] for name in STEPS if name in everything
    ]
    if rows:
        rows.append(["in all", number(sum(own.values()), 1), number(sum(everything.values()), 1)])
    return PageTable(("step", "this iteration (s)", "all states (s)"), rows, frozenset({1, 2}))


def version_rows(packages: Sequence[str]) -> list[tuple[str, str]]:
    """Versions of what made the report."""
    import platform
    from importlib.metadata import PackageNotFoundError, version

    rows = [("Python", platform.python_version())]
    for name in packages:
        try:
            rows.append((name, version(name)))
        except PackageNotFoundError:
            continue
    return rows
