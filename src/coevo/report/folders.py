"""The folder of a report: written whole or not at all, and never over anything but a former report.

Also here, structures of the report: a CIF for each of the best S.U.N. entries, and all of these in one archive and one file.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import zipfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coevo.errors import ConfigError, StorageError
from coevo.output.plain_text import json_text
from coevo.studies.states.exporting import as_cif, as_extxyz

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from coevo.node_store.views import StateView


MARK = "report.json"
"""Names the files of a report; a folder without it is never replaced."""
FOLDERS = ("figures", "data", "structures")


def files_in(folder: Path) -> list[str]:
    """Return all files below a folder, relative, sorted."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())


def check_place(output: Path, force: bool) -> None:
    """Refuse a place that holds something else.

    Raises
    ------
    ConfigError
        If it is no directory, or not empty and not a former report that ``force`` may replace.
    """
    if not os.path.lexists(output):
        return
    if output.is_symlink() or not output.is_dir():
        raise ConfigError(f"--output {output}: it is there and is no directory; choose another place")
    there = files_in(output)
    if not there and not any(output.iterdir()):
        return
    if not force:
        raise ConfigError(
            f"--output {output}: the directory is not empty; choose another one, or replace a former report with --force"
        )
    try:
        known = json.loads((output / MARK).read_text(encoding="utf-8"))["files"]
        foreign = sorted(set(there) - set(known) - {MARK})
    except (OSError, ValueError, KeyError, TypeError):
        raise ConfigError(
            f"--output {output}: there is no readable {MARK} in it, so it is no former report; choose another place"
        ) from None
    if foreign:
        raise ConfigError(
            f"--output {output}: it holds files that are no part of the former report, such as {foreign[0]}; move them away first"
        )


@contextmanager
def report_folder(output: Path, about: dict[str, Any], force: bool = False) -> Iterator[Path]:
    """Give a temporary folder beside the output, which takes the output's place when all is written.

    Parameters
    ----------
    output : Path
    about : dict
        What :data:`MARK` says besides the files.
    force : bool
        Replace a former report.

    Raises
    ------
    ConfigError
        As :func:`check_place`.
    StorageError
        If it cannot be written.
    """
    check_place(output, force)
    # "." has neither a name nor a parent to rename in
    output = Path(os.path.abspath(output))  # noqa: PTH100  (resolve() would follow links)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{output.name}-", dir=output.parent))
    except OSError as error:
        raise StorageError(f"--output {output}: {error.strerror}; choose another place") from error
    try:
        for name in FOLDERS:
            (partial / name).mkdir()
        yield partial
        mark = {**about, "files": files_in(partial)}
        (partial / MARK).write_text(json_text(mark), encoding="utf-8")
        partial.chmod(0o755 & ~_umask())
        _take_place(partial, output)
    except OSError as error:
        if isinstance(error, StorageError) or not error.strerror:
            raise
        raise StorageError(f"--output {output}: {error.strerror}; nothing was written") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _take_place(partial: Path, output: Path) -> None:
    """Rename; a former report goes away only after the new one is in its place."""
    if not output.exists():
        partial.rename(output)
        return
    former = Path(tempfile.mkdtemp(prefix=f".{output.name}-", dir=output.parent))
    output.rename(former / "report")
    try:
        partial.rename(output)
    except OSError:
        (former / "report").rename(output)
        raise
    finally:
        shutil.rmtree(former, ignore_errors=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The earliest time of a zip archive: the same structures give the same bytes."""


def cif_name(row: dict[str, Any]) -> str:
    """File name of an entry; of its id alone, which a stranger cannot choose."""
    return f"{row['structure_id'][:16]}.cif"


def write_structures(folder: Path, view: StateView, rows: Sequence[dict[str, Any]]) -> None:
    """Write the structures of entries: ``ID.cif`` each, ``sun.zip`` of them, ``sun.extxyz``."""
    with zipfile.ZipFile(folder / "sun.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for row in rows:
            text = as_cif(view, [row])
            (folder / cif_name(row)).write_text(text, encoding="utf-8")
            archive.writestr(zipfile.ZipInfo(cif_name(row), _EPOCH), text, zipfile.ZIP_DEFLATED)
    (folder / "sun.extxyz").write_text(as_extxyz(view, rows), encoding="utf-8")
