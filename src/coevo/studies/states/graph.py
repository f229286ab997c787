r"""The history of states as a drawing, in the manner of ``git log --graph --oneline``.

A column is a line that leads down to a state; ``*`` is a state. Between two states lines move: ``|`` stays in its column, ``/``
goes one column to the left and ``\`` one to the right. A moving line that meets the line of another column crosses it if the next
row has it go on in the same direction, and otherwise has joined it. Only the state just drawn has several lines.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from coevo.node_store.lineage.transfers import history
from coevo.output.plain_text import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from coevo.node_store.views import StateView

SHORT_ID = 8


class GraphRow(NamedTuple):
    """One row: the drawing, without blanks at its end, and the state that it shows, if it shows one."""

    drawing: str
    state: str | None


def graph_order(parents: Mapping[str, Sequence[str]], tips: Sequence[str]) -> list[str]:
    """Order states so that each stands above its parents, and lines of history stay together.

    Parameters
    ----------
    parents : mapping
        Of each state, including all that are named as parents.
    tips : sequence of str
        States to begin with, in this order; those that others descend from come when these have been drawn.

    Returns
    -------
    list of str
        Every state that can be reached from the tips, once. After a merge the line that was merged in comes first, as in git.
    """
    reached: dict[str, None] = {}
    waiting = list(tips)
    while waiting:
        state = waiting.pop()
        if state not in reached:
            reached[state] = None
            waiting.extend(parents[state])
    children = dict.fromkeys(reached, 0)
    for state in reached:
        for parent in dict.fromkeys(parents[state]):
            children[parent] += 1
    ready = [tip for tip in reversed(dict.fromkeys(tips)) if not children[tip]]
    order = []
    while ready:
        state = ready.pop()
        order.append(state)
        for parent in dict.fromkeys(parents[state]):
            children[parent] -= 1
            if not children[parent]:
                ready.append(parent)
    return order


def draw(order: Sequence[str], parents: Mapping[str, Sequence[str]]) -> list[GraphRow]:
    """Draw states that stand above their parents.

    Parameters
    ----------
    order : sequence of str
        From :func:`graph_order`.
    parents : mapping
        Of each state.

    Returns
    -------
    list of GraphRow
    """
    columns: list[str] = []
    rows: list[GraphRow] = []
    for state in order:
        if state not in columns:
            if rows and rows[-1].state and 2 * len(columns) < len(rows[-1].drawing):
                # the state above has no parent and stood in this column: nothing may seem to lead from it to here
                rows.append(GraphRow(_row(len(columns)), None))
            columns.append(state)
        column = columns.index(state)
        drawing = " ".join("*" if index == column else "|" for index in range(len(columns)))
        edges = _edges(columns, column, list(dict.fromkeys(parents[state])))
        # the text stands right of the lines that begin here
        rows.append(GraphRow(drawing.ljust(2 * len(columns) - 1), state))
        rows.extend(GraphRow(row, None) for row in edges)
    return rows


def _edges(columns: list[str], column: int, parents: list[str]) -> list[str]:
    """Lead the lines of the state in a column to its parents; ``columns`` become those below. Return the rows that show it."""
    new = [parent for parent in parents if parent not in columns]
    rows = []
    if new:
        columns[column] = new[0]
        for parent in reversed(new[1:]):
            columns.insert(column + 1, parent)
            rows.append(_row(column + 1, [2 * index + 1 for index in range(column, len(columns) - 1)], "\\"))
    # the nearest first, and lines to the right before those to the left
    known = sorted((columns.index(parent) for parent in parents if parent not in new), reverse=True)
    if not new and not known:
        return _end(columns, column)
    # without a line that begins here the state's column ends: its last line goes over to the leftmost parent's, or that comes
    last = None if new else known[-1]
    rows += [row for target in known if target != last for row in _lead(len(columns), column, target)]
    if last is not None:
        source, target = max(column, last), min(column, last)
        rows += _move(len(columns), source, target)
        columns[target] = columns[last]
        del columns[source]
    return rows


def _row(straight: int, slanted: Iterable[int] = (), sign: str = "", rest: Iterable[int] = ()) -> str:
    """Draw a row: columns that go straight (the first ones, and others by number), and slanted lines at these places."""
    signs = {2 * index: "|" for index in (*range(straight), *rest)} | dict.fromkeys(slanted, sign)
    return "".join(signs.get(place, " ") for place in range(max(signs, default=-1) + 1))


def _lead(count: int, source: int, target: int) -> list[str]:
    """Lead a second line from a column to another; all columns stay."""
    if target < source:
        return [_row(count, [2 * index - 1], "/") for index in range(source, target, -1)]
    return [_row(count, [2 * index + 1], "\\") for index in range(source, target)]


def _move(count: int, source: int, target: int) -> list[str]:
    """Lead a column to another one on its left, where it ends; those on its right move up."""
    first = _row(source, [2 * index - 1 for index in range(source, count)], "/")
    return [first, *(_row(count - 1, [2 * index - 1], "/") for index in range(source - 1, target, -1))]


def _end(columns: list[str], column: int) -> list[str]:
    """End a column whose state has no parent; those on its right move up."""
    right = range(column + 1, len(columns))
    del columns[column]
    return [_row(column, [2 * index - 1 for index in right], "/")] if right else []


def graph_lines(tips: Sequence[StateView], branches: Mapping[str, str | None]) -> list[str]:
    """Draw the history of states, with the id, branches, size and message of each.

    Parameters
    ----------
    tips : sequence of StateView
        Of one node.
    branches : mapping
        Branch name to state id.

    Returns
    -------
    list of str
        Lines without blanks at the end.
    """
    views = {view.id: view for view in history(tips)}
    parents = {view.id: view.parents for view in views.values()}
    newest = sorted(tips, key=lambda view: (-view.iteration, view.document["created"], view.id))
    rows = draw(graph_order(parents, [view.id for view in newest]), parents)
    names: dict[str, list[str]] = {}
    for name, state in branches.items():
        names.setdefault(state or "", []).append(name)
    return [
        (f"{row.drawing} {describe(views[row.state], names.get(row.state, []))}" if row.state else row.drawing).rstrip()
        for row in rows
    ]


def describe(view: StateView, names: Sequence[str] = ()) -> str:
    """Describe a state in one line: id, branches at it, iteration, entries, S.U.N. and message."""
    at = f" ({', '.join(names)})" if names else ""
    sun = population(view)["sun"]
    message = (view.document["message"].splitlines() or [""])[0]
    return (
        f"{view.id[:SHORT_ID]}{at} it. {view.iteration}: {counted(view.document['counts']['entries'], 'entries')}, "
        f"{'–' if sun is None else sun} S.U.N.  {message}"
    )


def population(view: StateView) -> dict[str, Any]:
    """Return ``entries`` and ``sun`` of a state; ``sun`` is None in states whose metrics do not count it."""
    return {
        "entries": view.document["counts"]["entries"],
        "sun": view.document["metrics"].get("population", {}).get("sun"),
    }
