"""Tables for people of what two states have not in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from coevo.analysis.audit.words import BY_THE_MODEL
from coevo.studies.states.graph import SHORT_ID

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from coevo.node_store.lineage.difference_documents import ComparedState, OneSided, StabilityChange, StateDifference


def difference_parts(found: StateDifference, limit: int) -> Iterator[Table | str]:
    """Yield a headline, and a line with a table for each part in which the states differ.

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
    for name, side in ((left, found.only_left), (right, found.only_right)):
        yield from _one_sided(name, side, limit)
    if found.stability:
        yield f"changed stability, eV/atom ({BY_THE_MODEL}):"
        yield _stability_table(found.stability, limit)
    if found.splits:
        yield "labels in another split:"
        yield _table(("id", "split"), ([row.id[:SHORT_ID], f"{row.left} → {row.right}"] for row in found.splits), limit)
    if found.checkpoints:
        yield "checkpoints:"
        yield _table(
            ("model", "left", "right"), ([c.model, _checkpoint(c.left), _checkpoint(c.right)] for c in found.checkpoints)
        )
    if found.configuration:
        yield "configuration:"
        yield _table(("left -> right",), ([line] for line in found.configuration))
    if found.metrics:
        yield "metrics:"
        rows = (
            [row.name, _number(row.left, 4), _number(row.right, 4), _number(row.change, 4, sign=True)] for row in found.metrics
        )
        yield _table(("name", "left", "right", "change"), rows, limit, numbers=(1, 2, 3))


def _one_sided(name: str, side: OneSided, limit: int) -> Iterator[Table | str]:
    if side.entries:
        yield f"entries only in {name}, most stable first ({BY_THE_MODEL}):"
        rows = (
            [
                row.id[:SHORT_ID],
                row.formula,
                _number(row.energy_above_hull, 3),
                "S.U.N." if row.is_sun else "",
                "–" if row.iteration_added is None else str(row.iteration_added),
                _origin(row.origin),
            ]
            for row in side.entries
        )
        yield _table(("id", "formula", "E_hull", "", "it.", "origin"), rows, limit, numbers=(2, 4))
    if side.references:
        yield f"references only in {name}:"
        known = ([row.id[:SHORT_ID], row.formula, row.name or "", row.source or ""] for row in side.references)
        yield _table(("id", "formula", "name", "source"), known, limit)
    if side.labels:
        yield f"labels only in {name}: {len(side.labels)}"
        counts = side.label_counts()
        counted = ([status, split, str(count)] for status in counts for split, count in counts[status].items())
        yield _table(("status", "split", "count"), counted, numbers=(2,))


def _stability_table(changes: Sequence[StabilityChange], limit: int) -> Table:
    rows = (
        [
            row.id[:SHORT_ID],
            row.formula,
            _number(row.left_energy_above_hull, 3),
            _number(row.right_energy_above_hull, 3),
            _number(row.change, 3, sign=True),
            f"{_standing(row.left_is_stable, row.left_is_sun)} → {_standing(row.right_is_stable, row.right_is_sun)}",
        ]
        for row in changes
    )
    return _table(("id", "formula", "E_hull left", "right", "change", "standing"), rows, limit, numbers=(2, 3, 4))


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]], limit: int = 0, *, numbers: Sequence[int] = ()) -> Table:
    """Return a table, cut at ``limit`` rows (0: whole); the columns of these numbers hold numbers."""
    table = Table(caption_justify="left", box=SIMPLE_HEAD, padding=0)
    for place, name in enumerate(columns):
        table.add_column(name, justify="right" if place in numbers else "left", overflow="fold")
    count = 0
    for count, row in enumerate(rows, start=1):
        if not limit or count <= limit:
            table.add_row(*row)
    if limit and count > limit:
        table.caption = f"{limit} of {count} rows; --limit 0 shows all"
    return table


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
