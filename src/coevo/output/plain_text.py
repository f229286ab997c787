"""Text that somebody else wrote, as it may be shown: what acts on a terminal, a page or a spreadsheet is written out instead.

Names, messages, notes and errors may come from a stranger's bundle, file or server. Everything that coevo prints or writes
for people passes through :func:`plain` or :func:`plain_lines`: the consoles of :mod:`coevo.app.terminal`, the CSV files of
:func:`csv_rows`, and pages and figures of :mod:`coevo.report`. Documents for programs are
:func:`json_text`, which loses nothing.

Also here, rows as comma-separated values that a spreadsheet only shows: no cell is a formula, no text acts on a terminal; and
numbers of things in sentences, ``1 state``, ``2 states``.
"""

from __future__ import annotations

import csv
import io
import json
import re
import unicodedata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


_UNSHOWN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Unicode categories without a shape of their own: control and format characters (direction, joiners), surrogates, line ends."""
_SHORT = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}
# Letters and marks that Unicode calls ignorable by default: shown as nothing, and not among the categories above.
_IGNORABLE = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0000-\U000e0fff]")


def plain(text: str) -> str:
    r"""Return a text as one line of characters that can be seen.

    Control characters (also ends of lines and tabs), those that turn the direction of writing or have no width, and lone
    surrogates are written as Python writes them in strings: ``\n``, ``\x1b``, ``\u202e``. The same text is returned if it has
    none, and applying it twice changes nothing more.
    """
    if text.isprintable() and not _IGNORABLE.search(text):
        return text
    return "".join(character if _is_shown(character) else _written_out(character) for character in text)


def plain_lines(text: str) -> str:
    r"""Return a text of several lines, each as :func:`plain` has it; only ``\n`` ends a line."""
    return "\n".join(map(plain, text.split("\n")))


def json_text(document: Any, indent: int | None = 2) -> str:
    """Return a document as JSON in printable ASCII and a line feed: nothing is lost, and nothing in it acts on a terminal.

    Raises
    ------
    ValueError
        If it holds a number that JSON has not (NaN, infinity).
    """
    # DEL is ASCII, and json leaves it as it is
    return json.dumps(document, indent=indent, allow_nan=False).replace("\x7f", "\\u007f") + "\n"


def _is_shown(character: str) -> bool:
    return unicodedata.category(character) not in _UNSHOWN and not _IGNORABLE.match(character)


def _written_out(character: str) -> str:
    if character in _SHORT:
        return _SHORT[character]
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


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


def counted(count: int, plural: str) -> str:
    """Return a number with its noun, which is given in the plural: ``counted(1, "branches")`` is ``1 branch``."""
    if count != 1:
        return f"{count} {plural}"
    for ending, singular in (("ies", "y"), ("ches", "ch"), ("minima", "minimum"), ("s", "")):
        if plural.endswith(ending):
            return f"1 {plural.removesuffix(ending)}{singular}"
    return f"1 {plural}"
