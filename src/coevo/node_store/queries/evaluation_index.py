"""The evaluations of one state in memory, for filters: a table of SQLite with a column for each field of scalars.

The table has no names of fields: columns are ``c0``, ``c1``, … in the order in which the fields turn up, and a document is put
together from its row again, so that its text is not kept. What no column can hold (lists other than ``elements``, dictionaries)
is kept as JSON beside them.
"""

from __future__ import annotations

import itertools
import json
import sqlite3
import weakref
from functools import partial
from typing import TYPE_CHECKING, Any

from coevo.errors import QueryError
from coevo.node_store.queries.document_filters import OtherField, applies
from coevo.node_store.queries.fields import Field, GeometryField, ListField, ScalarField
from coevo.node_store.queries.query_fields import FIELDS
from coevo.node_store.queries.sql import SqlCalls, invalid_filter, translate
from coevo.node_store.queries.values import OBJECT, TRUE, Condition, encoded

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from coevo.node_store.queries.sql import Where

KEY, ELEMENTS, GEOMETRY = "structure_id", "elements", "relaxed"
FIRST_COLUMNS = tuple(sorted({"kind", GEOMETRY, *(field.stored for field in FIELDS.values())}))
"""Fields that have a column from the beginning; further ones get theirs when they turn up."""
INDEXES = (("structure_id",), ("energy_above_hull",), ("chemsys", "energy_above_hull"), ("chemical_formula_reduced",))
MOST_COLUMNS = 60
"""A row's bits of fields that are present must fit 63 bits; fields beyond are kept as JSON."""
BATCH = 1000


class EvaluationIndex:
    """The evaluations of one state; it never changes once it is built.

    Several iterators may be open at once, and it may be used from another thread than the one that built it.

    Parameters
    ----------
    documents : iterable of dict
        JSON values; ``structure_id`` is unique. A geometry in ``relaxed`` is not kept, only that there is one: it comes back
        as an empty dictionary.
    """

    def __init__(self, documents: Iterable[dict[str, Any]]):
        self._places = {name: place for place, name in enumerate(FIRST_COLUMNS)}
        self._others: set[str] = set()  # fields that some document has in the JSON beside the columns
        self._marked: set[str] = set()  # fields whose column has bytes, which are to be decoded
        self._lists: list[list[str]] = []
        self._numbers: dict[tuple[str, ...], int] = {}
        self._calls = SqlCalls()
        self._connection = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
        weakref.finalize(self, self._connection.close)
        self._connection.create_function("call", -1, self._calls, deterministic=True)
        self._order = f"c{self._places[KEY]}"
        self._build(documents)

    # --- building

    def _build(self, documents: Iterable[dict[str, Any]]) -> None:
        execute = self._connection.execute
        for pragma in ("journal_mode = OFF", "temp_store = MEMORY"):
            execute(f"PRAGMA {pragma}")
        columns = ", ".join(f"c{place}" for place in range(len(self._places)))
        execute(f"CREATE TABLE evaluation (present, rest, {columns})")
        execute("CREATE TABLE list (number INTEGER PRIMARY KEY, size)")
        execute("CREATE TABLE item (list, value)")
        execute("BEGIN")
        rows, last, ascending = iter(documents), "", True
        while batch := [self._row(document) for document in itertools.islice(rows, BATCH)]:
            self._insert(batch)
            for row in batch:
                found = row[2 + self._places[KEY]]
                ascending = ascending and last < found
                last = found
        self._connection.executemany("INSERT INTO list VALUES (?, ?)", enumerate(map(len, self._lists)))
        items = ((number, text) for number, texts in enumerate(self._lists) for text in texts)
        self._connection.executemany("INSERT INTO item VALUES (?, ?)", items)
        for number, names in enumerate(INDEXES):
            execute(f"CREATE INDEX index{number} ON evaluation ({', '.join(f'c{self._places[name]}' for name in names)})")
        execute("COMMIT")
        execute("PRAGMA analysis_limit = 1000")
        execute("ANALYZE")
        execute("PRAGMA query_only = ON")
        if ascending:  # then row numbers order as the ids do, and cost nothing
            self._order = "rowid"

    def _row(self, document: dict[str, Any]) -> list[Any]:
        row: list[Any] = [0, None, *itertools.repeat(None, len(self._places))]
        rest = {}
        for name, value in document.items():
            place = self._places.get(name)
            if place is None and name not in self._others and len(self._places) < MOST_COLUMNS and _is_scalar(value):
                place = self._places[name] = len(self._places)
                row.append(None)
            try:
                if place is None:
                    raise TypeError
                row[2 + place] = cell = self._cell(name, value)
                row[0] |= 1 << place
                if type(cell) is bytes:
                    self._marked.add(name)
            except TypeError:
                rest[name] = value
        if rest:
            self._others.update(rest)
            row[1] = json.dumps(rest, ensure_ascii=False, separators=(",", ":"))
        return row

    def _cell(self, name: str, value: Any) -> Any:
        """Return a value as its column holds it; TypeError if it cannot."""
        if name == ELEMENTS and value is not None:
            return self._number(value)
        if name == GEOMETRY and isinstance(value, dict):
            return OBJECT
        return encoded(value)

    def _number(self, texts: Any) -> int:
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise TypeError
        key = tuple(texts)
        if key not in self._numbers:
            self._numbers[key] = len(self._lists)
            self._lists.append(texts)
        return self._numbers[key]

    def _insert(self, rows: list[list[Any]]) -> None:
        width = 2 + len(self._places)
        present = len(self._connection.execute("SELECT * FROM evaluation LIMIT 0").description)
        for place in range(present - 2, width - 2):
            self._connection.execute(f"ALTER TABLE evaluation ADD COLUMN c{place}")
        for row in rows:
            row.extend([None] * (width - len(row)))
        places = ", ".join("?" * width)
        self._connection.executemany(f"INSERT INTO evaluation VALUES ({places})", rows)  # noqa: S608 - question marks

    # --- reading

    def find(
        self,
        query: dict[str, Any],
        fields: Collection[str] | None = None,
        sort: Sequence[tuple[str, int]] = (),
        limit: int = 0,
        skip: int = 0,
    ) -> Iterator[dict[str, Any]]:
        """Yield the documents that match a MongoDB filter.

        Parameters
        ----------
        query : dict
        fields : collection of str, optional
            Top-level fields wanted; all by default.
        sort : sequence of (field, 1 or -1)
            Null and missing come first in ascending order; ties are in the order of structure ids.
        limit, skip : int
            0 means no limit.

        Raises
        ------
        QueryError
            If the filter, the sort, the limit or the skip is not valid.
        """
        where = translate(query, self._field, self._applies)
        order, order_parameters = self._ordered(sort)
        for name, number in (("limit", limit), ("skip", skip)):
            if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < 2**63:
                raise QueryError(f"{name} is {number!r}; give a whole number that is not negative")
        names = sorted(self._places if fields is None else self._places.keys() & set(fields))
        has_rest = bool(self._others if fields is None else self._others.intersection(fields))
        columns = ", ".join(["present", "rest" if has_rest else "NULL", *(f"c{self._places[name]}" for name in names)])
        # numbers of columns and the SQL of conditions: no text of a user's is in it
        sql = f"SELECT {columns} FROM evaluation WHERE {where.condition.sql} ORDER BY {order} LIMIT ? OFFSET ?"  # noqa: S608
        sql = _with_parts(sql, where)
        parameters = [parameter for condition in (*where.parts, where.condition) for parameter in condition.parameters]
        for document in map(self._reader(names), self._rows(sql, [*parameters, *order_parameters, limit or -1, skip], query)):
            yield document if fields is None or not has_rest else {name: document[name] for name in document if name in fields}

    def count(self, query: dict[str, Any]) -> int:
        """How many documents match a MongoDB filter; raises as :meth:`find`."""
        where = translate(query, self._field, self._applies)
        sql = f"SELECT count(*) FROM evaluation WHERE {where.condition.sql}"  # noqa: S608 - numbers of columns, no text of a user's
        parameters = [parameter for condition in (*where.parts, where.condition) for parameter in condition.parameters]
        ((found,),) = self._rows(_with_parts(sql, where), parameters, query)
        return int(found)

    def _rows(self, sql: str, parameters: list[Any], query: Any) -> Iterator[tuple[Any, ...]]:
        with self._calls.bound(parameters) as (bound, failures):
            try:
                cursor = self._connection.execute(sql, bound)
                try:
                    yield from cursor
                finally:
                    cursor.close()
            except sqlite3.Error as err:
                cause = failures[0] if failures else err
                if isinstance(cause, QueryError):
                    raise cause from None
                raise invalid_filter(query, cause) from cause

    def _reader(self, names: Sequence[str]) -> Callable[[Sequence[Any]], dict[str, Any]]:
        """Make the function that puts a document together from ``present``, ``rest`` and the columns of these fields."""
        marked, lists = [name for name in names if name in self._marked], self._lists
        bits = {name: 1 << self._places[name] for name in names}
        everything = sum(bits.values())

        def read(row: Sequence[Any]) -> dict[str, Any]:
            present, rest, *values = row
            document: dict[str, Any] = dict(zip(names, values, strict=True))
            for name in marked:
                if type(cell := document[name]) is bytes:
                    document[name] = {} if cell == OBJECT else cell == TRUE
            if document.get(ELEMENTS) is not None:
                document[ELEMENTS] = list(lists[document[ELEMENTS]])
            if present & everything != everything:
                document = {name: value for name, value in document.items() if present & bits[name]}
            return document if rest is None else dict(sorted((document | json.loads(rest)).items()))

        return read

    # --- fields

    def _field(self, name: str) -> Field:
        top, dot, _ = name.partition(".")
        if name in self._others or (dot and (top in self._others or top == ELEMENTS)):
            return OtherField(name, self._tested)
        if dot and top == GEOMETRY:
            raise QueryError(f"a filter cannot look into {name!r}; read the structures of the entries instead")
        place = self._places.get(name)
        if place is None:
            return ScalarField("NULL", "0")
        value, present = f"c{place}", f"(present >> {place} & 1)"
        if name == ELEMENTS:
            return ListField(value, present, self._numbers, OtherField(name, self._tested))
        return (GeometryField if name == GEOMETRY else ScalarField)(value, present)

    def _applies(self, query: dict[str, Any]) -> Condition:
        """Make the condition that mongomock finds a filter to apply to the document."""
        return self._tested(applies(query))

    def _tested(self, test: Callable[[dict[str, Any]], bool]) -> Condition:
        """Make the condition that the document passes a test."""
        read = self._reader(list(self._places))
        return Condition(self._call(), (lambda *row: test(read(row)),))

    def _call(self) -> str:
        """SQL that calls a function with all of a row."""
        return f"call(?, present, rest, {', '.join(f'c{place}' for place in range(len(self._places)))})"

    def _ordered(self, sort: Sequence[tuple[str, int]]) -> tuple[str, list[Callable[..., Any]]]:
        """Return SQL and parameters of an order."""
        parts: list[str] = []
        parameters: list[Callable[..., Any]] = []
        for name, direction in sort:
            if not isinstance(name, str) or isinstance(direction, bool) or direction not in (1, -1):
                raise QueryError(f"sort: ({name!r}, {direction!r}) is no pair of a field and a direction, 1 or -1")
            word = "ASC" if direction == 1 else "DESC"
            top = name.partition(".")[0]
            if name == KEY:
                return ", ".join([*parts, f"{self._order} {word}"]), parameters
            if top in {ELEMENTS, GEOMETRY}:
                raise QueryError(f"sort: {name} is a list or a dictionary and has no order; sort by another field")
            if top in self._others:
                parts.append(f"{self._call()} {word}")
                parameters.append(partial(_sort_key, name, self._reader(list(self._places))))
            elif name in self._places:
                parts.append(f"c{self._places[name]} {word}")
        return ", ".join([*parts, self._order]), parameters


def _with_parts(sql: str, where: Where) -> str:
    """Put the named parts of a condition before a statement."""
    tables = [f"part{n} AS (SELECT rowid FROM evaluation WHERE {part.sql})" for n, part in enumerate(where.parts)]  # noqa: S608
    return f"WITH {', '.join(tables)} {sql}" if tables else sql


def _sort_key(path: str, read: Callable[[Sequence[Any]], dict[str, Any]], *row: Any) -> Any:
    value: Any = read(row)
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else value if isinstance(value, list) else None
    try:
        return encoded(value)
    except TypeError:
        raise QueryError(
            f"sort: {path} is a {type(value).__name__} in a document and has no order; sort by another field"
        ) from None


def _is_scalar(value: Any) -> bool:
    try:
        encoded(value)
    except TypeError:
        return False
    return True
