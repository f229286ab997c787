"""The drawing of a history: read back by a parser of its own, and compared with git's."""

from __future__ import annotations

import re
from functools import cache
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coevo.studies.states.graph import draw, graph_order

SIGNS = {"|": 0, "/": -1, "\\": 1}


class Reader:
    """Recover parents from a drawing by following its lines downwards; knows nothing of how it was drawn.

    ``lines`` maps a column to what arrives in it from above: direction of the last step to the states that the line comes from.
    """

    def __init__(self) -> None:
        self.lines: dict[int, dict[str, set[str]]] = {}
        self.parents: dict[str, set[str]] = {}
        self.newest = ""

    def read(self, text: str) -> dict[str, set[str]]:
        for line in text.splitlines():
            drawing, state = re.fullmatch(r"([ |/\\*]*)(\w+)?", line).groups()
            if state:
                self._state(drawing, state)
            else:
                self._step(drawing)
        assert all("*" in arrivals for arrivals in self.lines.values()), "a line leads nowhere"
        return self.parents

    def _state(self, drawing: str, state: str) -> None:
        signs = {place // 2: sign for place, sign in enumerate(drawing) if sign != " "}
        assert all(sign == " " for sign in drawing[1::2]), f"{drawing!r} moves a line beside a state"
        assert sorted(signs.values()).count("*") == 1, drawing
        assert state not in self.parents, f"{state} is drawn twice"
        self.parents[state] = set()
        below: dict[int, dict[str, set[str]]] = {}
        for column, sign in signs.items():
            arrivals = self.lines.pop(column, {})
            sources = set().union(*arrivals.values())
            if sign == "*":
                for child in sources:
                    self.parents[child].add(state)
                below[column] = {"*": {state}}
            else:
                assert sources, f"{drawing!r}: a line begins in column {column}"
                below[column] = {"|": sources}
        # only the line of a state without parents may stop
        assert all("*" in arrivals for arrivals in self.lines.values()), f"{drawing!r}: a line stops"
        self.lines, self.newest = below, state

    def _step(self, drawing: str) -> None:
        leaving: dict[int, set[str]] = {}
        for place, sign in enumerate(drawing):
            if sign == " ":
                continue
            assert (sign == "|") == (place % 2 == 0), f"{drawing!r}: {sign} at {place}"
            column = {"|": place, "/": place + 1, "\\": place - 1}[sign] // 2
            leaving.setdefault(column, set()).add(sign)
        below: dict[int, dict[str, set[str]]] = {}
        for column, arrivals in self.lines.items():
            signs = leaving.pop(column, set())
            if not signs:
                assert "*" in arrivals, f"{drawing!r}: the line in column {column} stops"
                continue
            for sign, sources in self._continued(arrivals, signs).items():
                below.setdefault(column + SIGNS[sign], {}).setdefault(sign, set()).update(sources)
        assert not leaving, f"{drawing!r}: lines come from nowhere"
        self.lines = below

    def _continued(self, arrivals: dict[str, set[str]], signs: set[str]) -> dict[str, set[str]]:
        """Which states are behind each line that leaves a column."""
        crossing = {sign for sign in arrivals if sign in "/\\" and len(arrivals) > 1 and sign in signs}
        result = {sign: arrivals[sign] for sign in crossing}
        rest = set().union(*(sources for sign, sources in arrivals.items() if sign not in crossing))
        others = signs - crossing
        assert len(others) == 1 or rest == {self.newest}, "only the newest state has several lines"
        return result | {sign: rest | result.get(sign, set()) for sign in others}


def as_text(parents: dict[str, list[str]], tips: list[str]) -> str:
    rows = draw(graph_order(parents, tips), parents)
    return "\n".join(f"{row.drawing} {row.state}" if row.state else row.drawing for row in rows)


@cache
def orders(length: int, size: int) -> st.SearchStrategy[tuple[int, ...]]:
    """So many places of a list, in any order: one draw for all parents of a state."""
    return st.sampled_from(list(permutations(range(length), size)))


@st.composite
def histories(draw_: st.DrawFn, most_parents: int = 2) -> tuple[dict[str, list[str]], list[str]]:
    """States with parents among those before them, and the tips of branches: all heads, and some states in between."""
    parents: dict[str, list[str]] = {}
    for number in range(draw_(st.integers(1, 16))):
        recent = list(parents)[-6:]
        size = draw_(st.integers(0, min(most_parents, len(recent))))
        parents[f"s{number}"] = [recent[place] for place in draw_(orders(len(recent), size))]
    heads = [state for state in parents if not any(state in named for named in parents.values())]
    more = draw_(st.lists(st.sampled_from(list(parents)), max_size=3))
    return parents, draw_(st.permutations([*heads, *more]))


@settings(max_examples=500, deadline=None)
@given(histories())
def test_parents_can_be_read_from_the_drawing(history):
    parents, tips = history
    text = as_text(parents, tips)
    assert Reader().read(text) == {state: set(named) for state, named in parents.items()}, text


@settings(max_examples=200, deadline=None)
@given(histories(most_parents=4))
def test_parents_of_wide_merges_can_be_read_too(history):
    parents, tips = history
    text = as_text(parents, tips)
    assert Reader().read(text) == {state: set(named) for state, named in parents.items()}, text


@settings(max_examples=200, deadline=None)
@given(histories(most_parents=3), st.data())
def test_states_stand_above_their_parents_and_only_what_is_reached_is_drawn(history, data):
    parents, _ = history
    tips = data.draw(st.lists(st.sampled_from(list(parents)), min_size=1, max_size=3))
    order = graph_order(parents, tips)
    reached, waiting = set(), list(tips)
    while waiting:
        state = waiting.pop()
        reached.add(state)
        waiting += parents[state]
    assert sorted(order) == sorted(reached)
    place = {state: index for index, state in enumerate(order)}
    assert all(place[state] < place[parent] for state in order for parent in parents[state])
    shown = [row.state for row in draw(order, parents) if row.state]
    assert shown == order


@settings(max_examples=200, deadline=None)
@given(histories())
def test_no_drawing_is_wider_than_the_lines_that_are_open(history):
    parents, tips = history
    order = graph_order(parents, tips)
    open_at_once = max(
        len({parent for state in order[: i + 1] for parent in parents[state] if parent not in order[: i + 1]} | {order[i]})
        for i in range(len(order))
    )
    assert max(len(row.drawing) for row in draw(order, parents)) <= 2 * (open_at_once + 1)


# what git 2.39 prints for the same commits (log --graph --format=%s)
GIT = {
    "linear": ("c:b b:a a:", "c", ["* c", "* b", "* a"]),
    "branches": ("y:x x:a c:b b:a a:", "y c", ["* y", "* x", "| * c", "| * b", "|/", "* a"]),
    "merge": (
        "n:m m:by b:a y:x x:a a:",
        "n",
        ["* n", "*   m", "|\\", "| * y", "| * x", "* | b", "|/", "* a"],
    ),
    "criss-cross": (
        "v:w w:xb n:m m:bx x:a b:a a:",
        "v n",
        ["* v", "*   w", "|\\", "| | * n", "| | * m", "| |/|", "| |/", "|/|", "* | x", "| * b", "|/", "* a"],
    ),
    "three branches": ("d:a c:a b:a a:", "d c b", ["* d", "| * c", "|/", "| * b", "|/", "* a"]),
    "merged with its ancestor": ("m:ca c:b b:a a:", "m", ["*   m", "|\\", "* | c", "* | b", "|/", "* a"]),
    "two beginnings, merged": ("m:by y:x x: b:a a:", "m", ["*   m", "|\\", "| * y", "| * x", "* b", "* a"]),
}


@pytest.mark.parametrize("name", GIT)
def test_drawings_are_those_of_git(name):
    dag, tips, expected = GIT[name]
    parents = {state: list(named) for state, named in (part.split(":") for part in dag.split())}
    assert as_text(parents, tips.split()).splitlines() == expected


def test_columns_are_used_again():
    """Five branches, one after another, each merged before the next: never more than two columns."""
    parents = {"s0": []}
    for number in range(5):
        base, side, merge = f"s{3 * number}", f"s{3 * number + 1}", f"s{3 * number + 3}"
        parents |= {side: [base], f"s{3 * number + 2}": [base], merge: [f"s{3 * number + 2}", side]}
    assert max(len(row.drawing) for row in draw(graph_order(parents, ["s15"]), parents)) == 3


def test_two_histories_do_not_seem_to_continue_each_other():
    """Git draws the second beginning right below the first one's end; here a row lies between."""
    text = as_text({"y": ["x"], "x": [], "b": ["a"], "a": []}, ["y", "b"])
    assert text.splitlines() == ["* y", "* x", "", "* b", "* a"]
