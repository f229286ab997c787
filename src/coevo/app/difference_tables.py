"""Tables for people of what two states have not in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from coevo.app.state_graph import SHORT_ID

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from coevo.node_store.difference_documents import ComparedState, OneSided, StateDifference


def difference_parts(found: StateDifference, limit: int) -> Iterator[Table | str]:
    """Yield a headline and a table for each part in which the states differ.

    Parameters
    ----------
    found : StateDifference
    limit : int
        Rows of a table, at most; 0 for all. A table that is cut says how many rows it has.
    """
    left, right = _name(found.left), _name(found.right)
    yield f"left: {left}   right: {right}"
    if found.is_empty():
        yield "no difference"
        return
    for name, side in ((left, found.only_left), (right, found.only_right)):
        yield from _one_sided(name, side, limit)
    if found.stability:
        rows = [
            [
                row.id[:SHORT_ID],
                row.formula,
                _number(row.left_energy_above_hull, 3),
                _number(row.right_energy_above_hull, 3),
                _number(row.change, 3, sign=True),
                f"{_standing(row.left_is_stable, row.left_is_sun)} → {_standing(row.right_is_stable, row.right_is_sun)}",
            ]
            for row in _shown(found.stability, limit)
        ]
        titles = ("id", "formula", "E_hull left", "right", "change", "standing")
        yield _table("changed stability, eV/atom", titles, rows, len(found.stability))
    if found.splits:
        rows = [[row.id[:SHORT_ID], f"{row.left} → {row.right}"] for row in _shown(found.splits, limit)]
        yield _table("labels in another split", ("id", "split"), rows, len(found.splits))
    if found.checkpoints:
        rows = [[row.model, _checkpoint(row.left), _checkpoint(row.right)] for row in found.checkpoints]
        yield _table("checkpoints", ("model", "left", "right"), rows, len(rows))
    if found.configuration:
        yield _table("configuration", ("change",), [[line] for line in found.configuration], len(found.configuration))
    if found.metrics:
        rows = [
            [row.name, *(_number(value, 4) for value in (row.left, row.right)), _number(row.change, 4, sign=True)]
            for row in _shown(found.metrics, limit)
        ]
        yield _table("metrics", ("name", "left", "right", "change"), rows, len(found.metrics))


def _one_sided(name: str, side: OneSided, limit: int) -> Iterator[Table]:
    if side.entries:
        rows = [
            [
                row.id[:SHORT_ID],
                row.formula,
                _number(row.energy_above_hull, 3),
                "S.U.N." if row.is_sun else "",
                "–" if row.iteration_added is None else str(row.iteration_added),
                _origin(row.origin),
            ]
            for row in _shown(side.entries, limit)
        ]
        titles = ("id", "formula", "E_hull", "", "it.", "origin")
        yield _table(f"entries only in {name}, most stable first", titles, rows, len(side.entries))
    if side.references:
        rows = [[row.id[:SHORT_ID], row.formula, row.name or "", row.source or ""] for row in _shown(side.references, limit)]
        yield _table(f"references only in {name}", ("id", "formula", "name", "source"), rows, len(side.references))
    if side.labels:
        rows = [[status, split, str(count)] for status, splits in side.label_counts().items() for split, count in splits.items()]
        yield _table(f"labels only in {name}: {len(side.labels)}", ("status", "split", "count"), rows, len(rows))


def _table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], count: int) -> Table:
    cut = f"{len(rows)} of {count} rows; --limit 0 shows all" if len(rows) < count else None
    table = Table(title=title, title_justify="left", caption=cut, caption_justify="left", box=SIMPLE_HEAD, padding=0)
    for name in columns:
        numbers = name in {"E_hull", "E_hull left", "change", "it.", "count"} and name != columns[0]
        table.add_column(name, justify="right" if numbers else "left", overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table


def _shown(rows: Sequence[Any], limit: int) -> Sequence[Any]:
    return rows[:limit] if limit else rows


def _name(state: ComparedState) -> str:
    return f"{state.node}@{state.id[:SHORT_ID]} (it. {state.iteration})"


def _number(value: float | None, digits: int, *, sign: bool = False) -> str:
    if value is None:
        return "–"
    if isinstance(value, int):
        return f"{value:+d}" if sign else str(value)
    return f"{value:+.{digits}f}" if sign else f"{value:.{digits}f}"


def _standing(is_stable: bool | None, is_sun: bool | None) -> str:
    return "S.U.N." if is_sun else ("stable" if is_stable else "unstable")


def _checkpoint(document: dict[str, Any] | None) -> str:
    if document is None:
        return "–"
    return f"{document['family']} {document['sha256'][:SHORT_ID]} (from {(document['parent'] or 'published')[: SHORT_ID + 1]})"


def _origin(origin: dict[str, Any] | None) -> str:
    """Write an origin in one line: its plain values, the operator first."""
    if not origin:
        return ""
    plain = {key: value for key, value in origin.items() if isinstance(value, (str, int, float)) and not isinstance(value, bool)}
    first = [str(plain.pop("operator"))] if "operator" in plain else []
    rest = [f"{key} {str(value)[:20]}" for key, value in plain.items()]
    return ", ".join([*first, *rest[:3]])
