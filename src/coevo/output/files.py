"""Files that commands write where the user says: whole or not at all, and over others only with ``--force``."""

from __future__ import annotations

import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, TextIO, cast

from coevo.errors import StorageError
from coevo.output.plain_text import plain_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_STDOUT = frozenset({"-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"})
_DESCRIPTORS = ("/dev/fd", "/proc/self/fd")


def is_stdout(path: Path | None) -> bool:
    """Whether a command prints instead of writing a file: no file is named, or ``-``, or standard output by its path."""
    return path is None or str(path) in _STDOUT


def check_place(path: Path, force: bool, option: str = "--output") -> Path:
    """Refuse a place where a file would go over something; before the work, so that none is in vain.

    Parameters
    ----------
    path : Path
    force : bool
        Whether a file that is there may be replaced.
    option : str
        Option of the command that named the file, for the error.

    Returns
    -------
    Path
        Where to write: the file that a link leads to.

    Raises
    ------
    StorageError
        If there is a directory, or without ``force`` a file or link, or no directory to write into.
    """
    if _is_stream(path):
        return path
    if os.path.lexists(path) and not path.is_dir() and not force:
        raise StorageError(f"{option} {path}: it is there already and is not overwritten; choose another name, or add --force")
    target = Path(os.path.realpath(path)) if path.is_symlink() else path
    if target.is_dir():
        raise StorageError(f"{option} {path}: it is a directory; give the name of a file")
    if path.name in {"", ".", ".."}:
        raise StorageError(f"{option} {path}: it is no name of a file; give one")
    if not target.parent.is_dir():
        raise StorageError(f"{option} {path}: there is no directory {target.parent}; choose another place, or make it first")
    if not os.access(target.parent, os.W_OK | os.X_OK):
        raise StorageError(f"{option} {path}: the directory {target.parent} cannot be written to; choose another place")
    return target


def check_directory(directory: Path, names: Sequence[str], force: bool, option: str = "--output") -> None:
    """Refuse a directory where one of these files would go over something; one that is not there yet is made later.

    Raises
    ------
    StorageError
        As :func:`check_place`; or if there is something else than a directory.
    """
    if os.path.lexists(directory) and not directory.is_dir():
        raise StorageError(f"{option} {directory}: it is there and is no directory; choose another place")
    if directory.is_dir():
        for name in names:
            check_place(directory / name, force, option)


def write_text(path: Path, text: str, option: str = "--output", *, force: bool = False) -> Path:
    """Write a text as a file, without characters that act on a terminal; see :func:`write_file`."""
    return write_file(path, lambda file: file.write(plain_lines(text)), option, force=force)


def write_bytes(path: Path, data: bytes, option: str = "--output", *, force: bool = False) -> Path:
    """Write bytes as a file; see :func:`write_file`."""
    return write_file(path, lambda file: cast("TextIO", file).buffer.write(data), option, force=force)


def write_file(path: Path, write: Callable[[IO[str]], object], option: str = "--output", *, force: bool = False) -> Path:
    """Write a file, under a name of its own until it is whole; into a pipe or device as it comes.

    Parameters
    ----------
    path : Path
    write : callable
        Gets the open file.
    option : str
        Option of the command that named the file, for the error.
    force : bool
        Replace a file that is there, or the one that a link leads to.

    Raises
    ------
    StorageError
        If the file cannot be written, or is there already; what was there stays.
    """
    try:
        target = check_place(path, force, option)
        if _is_stream(path):
            with target.open("a" if str(path.parent) in _DESCRIPTORS else "w", encoding="utf-8", newline="") as file:
                write(file)
            return path
        _write_whole(target, write, force)
    except FileExistsError:
        raise StorageError(f"{option} {path}: it has come there meanwhile and is not overwritten; choose another name") from None
    except OSError as err:
        if isinstance(err, StorageError) or not err.strerror:
            raise
        raise StorageError(f"{option} {path}: {err.strerror}; choose another place") from None
    return path


def _write_whole(target: Path, write: Callable[[IO[str]], object], force: bool) -> None:
    descriptor, name = tempfile.mkstemp(prefix=f".{target.name[:40]}-", suffix=".part", dir=target.parent)
    partial = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="", errors="backslashreplace") as file:
            write(file)
        partial.chmod(_mode(target))
        if force:
            partial.replace(target)
        else:
            _take_free_place(partial, target)
    finally:
        with suppress(FileNotFoundError):
            partial.unlink()


def _take_free_place(partial: Path, target: Path) -> None:
    """Give a file its name; a hard link, unlike a rename, fails where somebody was faster."""
    try:
        target.hardlink_to(partial)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        if os.path.lexists(target):
            raise FileExistsError(target) from None
        partial.rename(target)


def _mode(target: Path) -> int:
    """Permissions of the file that is replaced, or of a new one."""
    try:
        return stat.S_IMODE(target.stat().st_mode)
    except OSError:
        mask = os.umask(0)
        os.umask(mask)
        return 0o666 & ~mask


def _is_stream(path: Path) -> bool:
    """Whether bytes go on from there: a pipe, a device, or an open file by the number of its descriptor."""
    if str(path.parent) in _DESCRIPTORS:
        return True
    try:
        kind = path.stat().st_mode
    except OSError:
        return False
    return not stat.S_ISREG(kind) and not stat.S_ISDIR(kind)
