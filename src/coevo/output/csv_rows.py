"""Rows as comma-separated values that a spreadsheet only shows: no cell is a formula, no text acts on a terminal."""

from __future__ import annotations

import csv
import io
import re
from typing import TYPE_CHECKING, Any

from coevo.output.plain_text import plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_FORMULA = re.compile(r"\s*[=+\-@\uff1d\uff0b\uff0d\uff20]")
"""With what a cell begins that a spreadsheet computes; it takes the wide forms of the signs for the signs."""
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def csv_cell(value: Any) -> Any:
    """Return a value as a cell: a text in one line of visible characters, after an apostrophe if it were a formula otherwise.

    Numbers, also as texts, stay as they are, and so do True, False and None, which become ``True``, ``False`` and nothing.
    """
    if value is None or isinstance(value, (bool, int, float)):
        return value
    text = plain(str(value))
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def as_csv(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """Return rows as CSV with a header; fields that are no column are left out."""
    return csv_text(columns, ([row.get(name) for name in columns] for row in rows))


def csv_text(columns: Sequence[str], rows: Iterable[Iterable[Any]]) -> str:
    """Return rows, each in the order of the columns, as CSV with a header; numbers in full precision, nothing for None."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(map(csv_cell, columns))
    writer.writerows(map(csv_cell, row) for row in rows)
    return buffer.getvalue()
