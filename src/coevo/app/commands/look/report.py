"""The command ``report``."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003  (typer reads the annotations at run time)
from typing import Annotated

import typer

from coevo.app.terminal import Reference, app, say


@app.command()
def report(
    ref: Reference,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="folder to write; it must not be there, or be empty", metavar="DIR")
    ],
    targets: Annotated[
        str | None, typer.Option(help="known phases to look for among the entries: a set or a file", metavar="SET|FILE")
    ] = None,
    without_map: Annotated[bool, typer.Option("--without-map", help="leave the interactive map of structures out")] = False,
    force: Annotated[bool, typer.Option("--force", help="replace a former report in DIR")] = False,
) -> None:
    """Write the report of a state: a page that needs no network, its figures, their data and structures."""
    from coevo.makers.step import StepMaker, current_store
    from coevo.report.writing import write_report

    workers = StepMaker().usable_workers()
    written = write_report(current_store(), ref, output, targets=targets, with_map=not without_map, force=force, workers=workers)
    shown = "without a map" if written.in_map is None else f"{written.in_map} structures in the map"
    say(f"report of {ref} written to {written.folder}: {written.files} files, {written.size / 1e6:.1f} MB, {shown}")
    say(f"open {written.folder / 'index.html'} in a browser")
