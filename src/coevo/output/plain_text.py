r"""Text that somebody else wrote, as it may be shown: what acts on a terminal, a page or a spreadsheet is written out instead.

Names, messages, notes and errors may come from a stranger's bundle, file or server. Everything that coevo prints or writes
for people passes through :func:`plain` or :func:`plain_lines`: the consoles of :mod:`coevo.app.terminal`, the CSV files of
:mod:`coevo.output.csv_rows`, and pages and figures of :mod:`coevo.report`. Documents for programs are
:func:`json_text`, which loses nothing.
"""

from __future__ import annotations

import json
import re
import unicodedata
from typing import Any

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
