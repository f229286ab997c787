"""Structures of entries where the user wants them: on standard output, in a file, one file each in a folder or zip."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coevo.app.terminal import print_document, say
from coevo.errors import QueryError, StorageError
from coevo.output.counts import counted
from coevo.output.files import check_directory, check_place, is_stdout, write_bytes, write_text
from coevo.studies.states.exporting import as_zip, entry_texts

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from coevo.analysis.standard_cells import Setting
    from coevo.node_store.views import StateView


def put_structures(
    view: StateView,
    rows: Sequence[dict[str, Any]],
    format: str,  # noqa: A002
    setting: Setting,
    output: Path | None,
    force: bool,
) -> None:
    """Print or write the structures of entries, and say of each that is not in the setting asked for, why.

    A CIF holds all of them; a POSCAR one, so that several become a folder of files. Either is one file each in an ``output``
    called ``.zip`` or in a directory that is there.

    Raises
    ------
    QueryError
        If there is none, or several for one POSCAR.
    StorageError
        If something is there that would be overwritten.
    """
    printed = output is None or is_stdout(output)
    single = format == "cif" or len(rows) == 1
    if not rows:
        raise QueryError(f"no entry matches, so there is no structure to write as {format}; nothing was written")
    if printed and not single:
        raise QueryError(
            f"{len(rows)} entries match, and a POSCAR holds one; add --output FOLDER or --output FILE.zip, or --limit 1"
        )
    texts, remarks = entry_texts(view, rows, format, setting)
    if output is None or is_stdout(output):
        print_document("".join(texts.values()))
    elif output.suffix.lower() == ".zip":
        check_place(output, force)
        write_bytes(output, as_zip(texts.items()), force=force)
    elif single and not output.is_dir():
        write_text(output, "".join(texts.values()), force=force)
    else:
        _write_each(output, texts, force)
    if not printed:
        say(f"{counted(len(rows), 'entries')} written to {output}")
    for remark in remarks:
        say(remark)


def _write_each(directory: Path, texts: dict[str, str], force: bool) -> None:
    check_directory(directory, list(texts), force)
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as err:
        raise StorageError(f"--output {directory}: {err.strerror}; choose another place") from None
    for name, text in texts.items():
        write_text(directory / name, text, force=force)
