"""Extended XYZ cut into frames: one that is broken decides over itself, where the next can be found."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_TEXT = 4 * 2**20
"""Characters of one frame, at most (1,000 atoms with forces have 150,000)."""

MAX_LINES = 2_000_000
"""Lines without a frame that is kept, after which the rest of a file is not read: small archives may hold very many."""

_COUNT = re.compile(r"\s*\d{1,18}\s*")
_LEAST_COLUMNS = 4
"""Of an atom: its species and three coordinates."""


class FrameError(ValueError):
    """A frame that cannot be used: a reason that can be counted, and a sentence."""

    def __init__(self, reason: str, detail: str):
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail


@dataclass(frozen=True, slots=True)
class FrameText:
    """The lines of one frame, or why they are none.

    Attributes
    ----------
    number, line : int
        Of the frame and of its first line in the file, from 1.
    comment : str
    atoms : list of str
        One line each.
    problem : FrameError or None
    """

    number: int
    line: int
    comment: str = ""
    atoms: list[str] = field(default_factory=list)
    problem: FrameError | None = None

    def text(self) -> str:
        """Return the frame as a file of its own."""
        return "\n".join([str(len(self.atoms)), self.comment, *self.atoms]) + "\n"


class _Lines:
    """Lines without their ends, one ahead, counted; blank ones are passed over between frames."""

    def __init__(self, lines: Iterator[str]):
        self._lines = lines
        self._ahead: str | None = next(lines, None)
        self._passed = 0
        self.number = 1
        self.gave_up = False

    def peek(self) -> str | None:
        return self._ahead

    def take(self) -> str | None:
        taken, self._ahead = self._ahead, next(self._lines, None)
        self.number += 1
        self._passed += 1
        if self._passed > MAX_LINES and self._ahead is not None:
            self._ahead, self.gave_up = None, True
        return taken

    def kept(self) -> None:
        """Note that the lines up to here made a frame."""
        self._passed = 0

    def skip_blank(self) -> None:
        while self._ahead is not None and not self._ahead.strip():
            self.take()


def cut_frames(lines: Iterator[str], max_text: int = MAX_TEXT) -> Iterator[FrameText]:
    """Cut a file into frames; one that is broken decides over itself, where the next can be found.

    Frames begin with a line that is a number and nothing else, as no line of an atom is. So a frame of too few lines ends where
    such a line comes, and one of too many is passed over up to it.

    Parameters
    ----------
    lines : iterator of str
        Without their ends.
    max_text : int
        Characters of a frame that are kept, at most: a declared number of atoms costs nothing.
    """
    source, number = _Lines(lines), 0
    source.skip_blank()
    while source.peek() is not None:
        number += 1
        frame = _frame(number, source, max_text)
        if frame.problem is None:
            source.kept()
        yield frame
        source.skip_blank()
    if source.gave_up:
        detail = f"{MAX_LINES} lines without a frame; the rest of the file is not read"
        yield _broken(number + 1, source.number, "too_large", detail)


def _frame(number: int, source: _Lines, max_text: int) -> FrameText:
    start, header = source.number, source.take() or ""
    if not _COUNT.fullmatch(header):
        _skip_to_count(source)
        return _broken(number, start, "unreadable", f"expected a number of atoms in line {start}, got {header[:40]!r}")
    count, comment = int(header), source.take()
    if comment is None:
        return _broken(number, start, "unreadable", f"the file ends within a frame of {count} atoms")
    atoms: list[str] = []
    read, size = 0, len(comment)
    while read < count:
        line = source.peek()
        if line is None:
            return _broken(number, start, "unreadable", f"the file ends within a frame of {count} atoms, after {read} of them")
        if _COUNT.fullmatch(line):
            return _broken(number, start, "unreadable", f"{count} atoms are announced and the next frame begins after {read}")
        source.take()
        read += 1
        size += len(line) + 1
        if size <= max_text:
            atoms.append(line)
    source.skip_blank()
    following = source.peek()
    if following is not None and not _COUNT.fullmatch(following) and _like_an_atom(following):
        _skip_to_count(source)
        return _broken(number, start, "unreadable", f"{count} atoms are announced and more lines of atoms follow")
    if size > max_text:
        return _broken(number, start, "too_large", f"{size} characters, allowed {max_text}")
    if count == 0:
        return _broken(number, start, "empty", "0 atoms")
    return FrameText(number, start, comment, atoms)


def _broken(number: int, line: int, reason: str, detail: str) -> FrameText:
    return FrameText(number, line, problem=FrameError(reason, detail))


def _skip_to_count(source: _Lines) -> None:
    while (line := source.peek()) is not None and not _COUNT.fullmatch(line):
        source.take()


def _like_an_atom(line: str) -> bool:
    return "=" not in line and len(line.split()) >= _LEAST_COLUMNS
