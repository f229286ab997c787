"""The table of entries: a filter, an order and a page as an address has them, and the rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from coevo.errors import QueryError
from coevo.node_store.queries.hints import filter_hints
from coevo.node_store.queries.queries import parse_filter, parse_sort
from coevo.node_store.queries.query_fields import FIELDS
from coevo.report.figures.plots import formula_text
from coevo.report.tables import DASH, group_text, number
from coevo.serve.limits import check_filter
from coevo.serve.pages.rendering import permalink, with_query
from coevo.studies.finding_studies import unstudied_hints
from coevo.studies.states.exporting import COLUMNS as CSV_COLUMNS
from coevo.studies.states.hull_words import standing_word

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from coevo.node_store.views import StateView
    from coevo.serve.served import Served

ROWS = (25, 50, 100, 200)
"""Of a page, as one can choose."""
BY_HULL = "energy_above_hull"
_MOST_CSV = 10_000
_LONGEST_NUMBER = 9


@dataclass(frozen=True)
class Column:
    """A column of the table.

    Attributes
    ----------
    title, unit : str
    field : str
        Of evaluations, by which the rows can be ordered and filtered.
    cell : callable
        Makes the text of a row.
    optional : bool
        Left out where no row of the page has a value.
    """

    title: str
    unit: str
    field: str
    cell: Callable[[dict[str, Any]], str]
    optional: bool = False

    @property
    def sortable(self) -> bool:
        """Whether rows can be ordered by it."""
        return not FIELDS[self.field].joined

    @property
    def numeric(self) -> bool:
        """Whether it is aligned to the right."""
        return FIELDS[self.field].type == "number" and self.field != "space_group"


def _energy(field: str) -> Callable[[dict[str, Any]], str]:
    return lambda row: number(row.get(field))


def _text(field: str) -> Callable[[dict[str, Any]], str]:
    return lambda row: DASH if row.get(field) is None else str(row[field])


COLUMNS = (
    Column("formula", "", "formula", lambda row: formula_text(row["formula"])),
    Column("E_hull", "eV/atom", BY_HULL, _energy(BY_HULL)),
    Column("E_hull by labels", "eV/atom", "energy_above_hull_dft", _energy("energy_above_hull_dft"), optional=True),
    Column("±", "eV/atom", "energy_above_hull_std", _energy("energy_above_hull_std"), optional=True),
    Column("E_form", "eV/atom", "formation_energy_per_atom", _energy("formation_energy_per_atom")),
    Column("space group", "", "space_group", lambda row: group_text(row.get("space_group"))),
    Column("sites", "", "nsites", _text("nsites")),
    Column("volume", "Å³/atom", "volume_per_atom", lambda row: number(row.get("volume_per_atom"), 2)),
    Column(
        "vibrations",
        "",
        "dynamically_stable",
        lambda row: {True: "stable", False: "unstable"}.get(row.get("dynamically_stable"), DASH),  # type: ignore[arg-type]
        optional=True,
    ),
    Column("it.", "", "iteration_added", _text("iteration_added")),
    Column("standing", "", "is_sun", lambda row: standing(row)),  # noqa: PLW0108 - it is defined below
)
_FIELDS = ("structure_id", "is_stable", "is_novel", "duplicate_of", "matched_reference", "hull_status", "is_confidently_sun")


def standing(row: Mapping[str, Any]) -> str:
    """What an entry is said to be."""
    if row.get("duplicate_of"):
        return "duplicate"
    if row.get("matched_reference"):
        return "matches a reference"
    words = ["S.U.N."] if row.get("is_sun") else ["stable"] if row.get("is_stable") else []
    return ", ".join(filter(None, [*words, standing_word(dict(row))]))


@dataclass(frozen=True)
class Asked:
    """What an address asks of the table.

    Attributes
    ----------
    filter : str
        In OPTIMADE's language.
    sort : str
        Fields with commas, a hyphen before those that fall.
    rows, page : int
    """

    filter: str = ""
    sort: str = BY_HULL
    rows: int = ROWS[1]
    page: int = 1

    @classmethod
    def of(cls, parameters: Mapping[str, str]) -> Asked:
        """Read the parameters of an address.

        Raises
        ------
        QueryError
            If one is not known, or is none.
        """
        unknown = sorted(set(parameters) - {"filter", "sort", "rows", "page"})
        if unknown:
            raise QueryError(f"there is no parameter {unknown[0][:40]!r}; there are filter, sort, rows and page")
        text, sort = parameters.get("filter", "").strip(), parameters.get("sort", "").strip() or BY_HULL
        if len(sort) > 200:
            raise QueryError("sort is longer than 200 characters; give a few fields with commas")
        rows = _whole(parameters.get("rows", ""), "rows", ROWS[1])
        if rows > ROWS[-1]:
            raise QueryError(f"rows={rows}: a page has {ROWS[-1]} rows at most")
        return cls(text, sort, rows, _whole(parameters.get("page", ""), "page", 1))

    def query(self) -> tuple[dict[str, Any], list[tuple[str, int]]]:
        """Return the filter in MongoDB's language, and the order.

        Raises
        ------
        QueryError
        """
        check_filter(self.filter)
        try:
            return parse_filter(self.filter), parse_sort(self.sort)
        except RecursionError:
            raise QueryError("the filter is nested too deep; write it more simply") from None

    def path(self, view: StateView, **changes: Any) -> str:
        """Address of the same table with something changed."""
        values = {"filter": self.filter, "sort": self.sort, "rows": self.rows, "page": self.page} | changes
        defaults = {"sort": BY_HULL, "rows": ROWS[1], "page": 1}
        shown = {key: value for key, value in values.items() if defaults.get(key) != value}
        return with_query(f"{permalink(view)}/entries", shown)


def _whole(text: str, name: str, default: int) -> int:
    if not text:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) <= _LONGEST_NUMBER and int(text) > 0):
        raise QueryError(f"{name}={text[:20]!r} is no whole number from 1 on")
    return int(text)


@dataclass(frozen=True)
class TablePage:
    """A page of the table.

    Attributes
    ----------
    asked : Asked
    rows : list of dict
        Fields of the columns, and :attr:`columns` of them are shown.
    columns : list of Column
    total : int
        Entries that match.
    pages : int
    hints : list of str
        Why perhaps none does.
    """

    asked: Asked
    rows: list[dict[str, Any]]
    columns: list[Column]
    total: int
    pages: int
    hints: list[str]

    def order(self, column: Column) -> str:
        """``ascending``, ``descending`` or ``none``, as ARIA calls it."""
        if self.asked.sort == column.field:
            return "ascending"
        return "descending" if self.asked.sort == f"-{column.field}" else "none"

    def sort_path(self, view: StateView, column: Column) -> str:
        """Address of the table in the order of a column; the other way round if it is so already."""
        falls = self.order(column) == "ascending" or (self.order(column) == "none" and column.field == "is_sun")
        return self.asked.path(view, sort=f"-{column.field}" if falls else column.field, page=1)


def table_page(served: Served, view: StateView, asked: Asked) -> TablePage:
    """Read a page of the table.

    Raises
    ------
    QueryError
        If the filter or the order is none, or there are not so many pages.
    """
    query, sort = asked.query()
    fields = [column.field for column in COLUMNS]
    with served.lock:
        total = view.count_entries(query)
        pages = max(1, -(-total // asked.rows))
        if asked.page > pages:
            raise QueryError(f"page {asked.page}: there are {pages}, of {asked.rows} rows each")
        found = view.entries(query, [*fields, *_FIELDS], sort, asked.rows, (asked.page - 1) * asked.rows)
        rows = list(view.with_studied(found))
        hints = [] if total else [*filter_hints(query, view.document["elements"]), *unstudied_hints(view, query)]
    columns = [c for c in COLUMNS if not c.optional or any(row.get(c.field) is not None for row in rows)]
    return TablePage(asked, rows, columns, total, pages, hints)


def csv_rows(served: Served, view: StateView, asked: Asked) -> list[dict[str, Any]]:
    """Evaluations of all entries that match, for a CSV.

    Raises
    ------
    QueryError
        If there are more than 10,000.
    """
    query, sort = asked.query()
    with served.lock:
        total = view.count_entries(query)
        if total > _MOST_CSV:
            raise QueryError(f"{total} entries match, and a CSV has {_MOST_CSV} at most here; coevo query writes any number")
        return list(view.with_studied(view.entries(query, [*CSV_COLUMNS, "energies_above_hull"], sort)))
