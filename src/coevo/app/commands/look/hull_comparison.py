"""Command ``references compare``: the hull of a state beside that of a database."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003  (typer reads the annotations at run time)
from typing import Annotated, Literal

import typer

from coevo.app.commands.start.references import references
from coevo.app.terminal import Reference, err, out, print_document, print_json, print_lines


@references.command()
def compare(
    ref: Reference,
    table: Annotated[
        Path,
        typer.Argument(
            help="JSON or CSV with the database's entries: composition or structure, formation energy and E_hull, eV/atom",
            metavar="FILE",
        ),
    ],
    correction: Annotated[
        Literal["mp2020", "none"] | None,
        typer.Option(help="what the formation energies in FILE hold: the correction of the Materials Project, or none"),
    ] = None,
    database: Annotated[
        str | None, typer.Option(help="whose energies, where entries of FILE have those of several", metavar="NAME")
    ] = None,
    format: Annotated[Literal["table", "json", "csv"], typer.Option("--format")] = "table",  # noqa: A002
) -> None:
    """Put the hull of a state beside a database's: what is stable on which, and formation energies of what both have."""
    from coevo.app.progress_bars import ProgressBars
    from coevo.app.tables import hull_comparison as tables
    from coevo.node_store.current import current_store
    from coevo.output.progress import reporting_to
    from coevo.settings import usable_workers
    from coevo.studies.hull_comparison.comparison import compare_hulls
    from coevo.studies.hull_comparison.energy_tables import read_energy_table

    view = current_store().state(ref)
    entries = read_energy_table(table, view.document["elements"], database)
    with ProgressBars(err) as bars, reporting_to(bars):
        found = compare_hulls(view, entries, correction, workers=usable_workers())
    if format == "json":
        print_json({"state": view.id, "node": view.node, **found.to_dict()})
    elif format == "csv":
        print_document(tables.comparison_csv(found))
    else:
        for comparison in found.comparisons:
            out.print(tables.comparison_table(comparison))
        print_lines(tables.summary_lines(found))
