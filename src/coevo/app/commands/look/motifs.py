"""The command ``motifs``: which anions, molecules, chains and layers the structures of a state or a file hold."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from coevo.app.terminal import Force, app, err, out, print_document, say
from coevo.errors import QueryError
from coevo.output.files import check_place, is_stdout, write_text
from coevo.output.plain_text import json_text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from coevo.analysis.motifs.bonds import BondRule
    from coevo.analysis.motifs.census import Carrier


@app.command()
def motifs(
    what: Annotated[
        str,
        typer.Argument(help="a state; or zip or directory of CIFs and POSCARs, .cif, POSCAR, .extxyz, .json", metavar="REF|FILE"),
    ],
    tolerance: Annotated[
        bool, typer.Option("--tolerance", help="say instead how near distances come to the cut-offs of bonds")
    ] = False,
    bond: Annotated[
        list[str] | None, typer.Option(help="cut-off of a pair of non-metals in Å, such as P-S=2.5; repeat for more")
    ] = None,
    known: Annotated[bool, typer.Option("--known", help="show only motifs that have a name of their own")] = False,
    limit: Annotated[int, typer.Option(min=0, help="rows, at most; 0: all")] = 0,
    workers: Annotated[int | None, typer.Option(min=1, help="processes (default: COEVO_WORKERS, else all cores)")] = None,
    format: Annotated[Literal["table", "json", "csv"], typer.Option("--format")] = "table",  # noqa: A002
    output: Annotated[Path | None, typer.Option(help="file to write instead of printing")] = None,
    force: Force = False,
) -> None:
    """List the motifs of a state or file: name, charge, carriers, first iteration, E_hull of the best, rings and bridges."""
    from coevo.analysis.motifs.bonds import DEFAULT_RULE
    from coevo.app.progress_bars import ProgressBars
    from coevo.output.progress import reporting_to

    rule = DEFAULT_RULE.with_pairs(bond or [])
    if format == "table" and output is not None:
        raise QueryError("--format table prints to the terminal; with --output choose csv or json")
    if output is not None and not is_stdout(output):
        check_place(output, force)
    with ProgressBars(err) as bars, reporting_to(bars):
        source, carriers = _carriers(what)
        table, csv, document = _look(source, carriers, rule, workers, tolerance=tolerance, known=known, limit=limit)
    text = json_text(document) if format == "json" else csv
    if format == "table":
        out.print(table)
    elif output is None or is_stdout(output):
        print_document(text)
    else:
        write_text(output, text, force=force)
        say(f"written: {output}")


def _carriers(what: str) -> tuple[str, list[Carrier]]:
    """What is looked at, and its structures."""
    from coevo.app.commands.look.analyse import is_file
    from coevo.node_store.current import current_store
    from coevo.studies.motif_carriers import carriers_of_file, carriers_of_state

    if not is_file(what):
        view = current_store().state(what)
        return f"{view.node}@{view.id[:12]}", list(carriers_of_state(view))
    carriers, rejected = carriers_of_file(Path(what))
    if rejected:
        say("left out: " + ", ".join(f"{count} {reason}" for reason, count in rejected.items()))
    return Path(what).name, carriers


def _look(
    source: str,
    carriers: list[Carrier],
    rule: BondRule,
    workers: int | None,
    *,
    tolerance: bool,
    known: bool,
    limit: int,
) -> tuple[Any, str, dict[str, Any]]:
    """Table, CSV and JSON document of the census, or of the report on cut-offs."""
    from coevo.analysis.motifs.bond_tolerance import tolerance as tolerance_of
    from coevo.analysis.motifs.census import survey
    from coevo.app.tables import motifs as motif_tables
    from coevo.output.progress import task

    count = _processes(carriers, workers)
    cutoffs = {f"{a}-{b}": length for a, b, length in rule.cutoffs}
    bonds = {"cutoffs": cutoffs, "factor_of_covalent_radii": rule.factor}
    with task("bonds" if tolerance else "motifs", len(carriers), "structures") as advance:
        if tolerance:
            found = tolerance_of((c.structure for c in carriers), rule, workers=count, progress=advance)
            document = {"source": source, "bonds": bonds, **found.to_dict()}
            return motif_tables.tolerance_table(found, source), motif_tables.tolerance_csv(found), document
        counted = survey(carriers, rule, workers=count, progress=advance)
    rows = [row for row in counted.rows if row.motif.known or not known]
    rows = rows[:limit] if limit else rows
    document = motif_tables.census_document(counted, source, rows, bonds)
    return motif_tables.census_table(counted, source, rows), motif_tables.census_csv(rows), document


_FEW = 2000
"""Structures up to which starting processes takes longer than the work."""


def _processes(carriers: Iterable[Carrier], workers: int | None) -> int:
    from coevo.settings import usable_workers

    return 1 if sum(1 for _ in carriers) <= _FEW else workers or usable_workers()
