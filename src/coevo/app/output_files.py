"""Files that commands write where the user says: whole or not at all; and rows as CSV."""

from __future__ import annotations

import csv
import io
from typing import IO, TYPE_CHECKING, Any

from coevo.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path


def write_text(path: Path, text: str, option: str = "--output") -> Path:
    """Write a text as a file; see :func:`write_file`."""
    return write_file(path, lambda file: file.write(text), option)


def write_file(path: Path, write: Callable[[IO[str]], object], option: str = "--output") -> Path:
    """Write a file, under another name until it is whole.

    Parameters
    ----------
    path : Path
    write : callable
        Gets the open file.
    option : str
        Option of the command that named the file, for the error.

    Raises
    ------
    StorageError
        If the file cannot be written; what was there stays.
    """
    partial = path.with_name(path.name + ".part")
    try:
        with partial.open("w", encoding="utf-8", newline="") as file:
            write(file)
        partial.replace(path)
    except OSError as err:
        partial.unlink(missing_ok=True)
        raise StorageError(f"{option} {path}: {err.strerror}; choose another place") from None
    return path


def as_csv(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """Return rows as CSV with a header; fields that are no column are left out."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, fieldnames=columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()
