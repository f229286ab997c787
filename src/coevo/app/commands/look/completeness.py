"""Command ``completeness``: how many of the low minima that a frozen generator can make have been seen, and which a state has."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003  (typer reads the annotations at run time)
from typing import Annotated

import typer

from coevo.app.terminal import Force, Format, Reference, app, err, out, print_json, print_lines, say
from coevo.errors import ConfigError
from coevo.output.files import check_place, is_stdout, write_text
from coevo.output.plain_text import json_text


@app.command()
def completeness(
    ref: Reference,
    draws: Annotated[int, typer.Option(min=1, max=100_000, help="structures to draw; a later, larger number goes on")] = 400,
    batches: Annotated[int, typer.Option(min=1, max=1000, help="in so many batches, compared with each other")] = 4,
    max_atoms: Annotated[
        int | None, typer.Option(min=1, max=200, help="atoms per cell, at most (default: generator.max_atoms of the node)")
    ] = None,
    e_hull: Annotated[float, typer.Option(min=0, max=5, help="minima up to this above the state's hull count, eV/atom")] = 0.05,
    formulas: Annotated[
        str | None, typer.Option(help="draw only these, e.g. Li2S,Li3P (default: the node's, else all)", metavar="FORMULA,…")
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(min=0, max=2**32 - 1, help="in place of the node's seed, for draws that are independent of others"),
    ] = None,
    targets: Annotated[
        str | None,
        typer.Option(
            help="known phases that the probe may meet: a bundled set or a file (default: those that the node withholds)",
            metavar="FILE|SET",
        ),
    ] = None,
    output: Annotated[Path | None, typer.Option(help="JSON file to write as well", metavar="FILE")] = None,
    force: Force = False,
    format: Format = "table",  # noqa: A002
) -> None:
    """Draw a frozen probe, relax it, and say how complete its low minima are, and which the state has. No state is made."""
    from coevo.app.progress_bars import ProgressBars
    from coevo.app.tables.completeness import completeness_lines, completeness_table
    from coevo.campaigns.probing import make_probe, note_environments
    from coevo.node_store.current import current_store
    from coevo.output.progress import reporting_to
    from coevo.settings import usable_workers
    from coevo.studies.completeness.measuring import measure
    from coevo.studies.completeness.withheld import phases_to_meet

    wanted = _formulas(formulas)
    if draws < batches:
        raise ConfigError(f"--batches: got {batches} for {draws} draws, allowed: 1 to {draws}, so that each batch has a draw")
    if output is not None and not is_stdout(output):
        check_place(output, force)
    store = current_store()
    view = store.state(ref)
    phases = phases_to_meet(view, targets)
    with ProgressBars(err) as bars, reporting_to(bars):
        probe = make_probe(store, view, draws=draws, batches=batches, max_atoms=max_atoms, formulas=wanted, seed=seed)
        document = measure(view, probe, e_hull=e_hull, phases=phases, workers=usable_workers())
    noted = note_environments(store, view, probe, document)
    if format == "json" or (output is not None and is_stdout(output)):
        print_json(document)
    else:
        out.print(
            completeness_table(document, f"{ref}: a probe of {document['probe']['drawn']} draws, iteration {view.iteration}")
        )
        print_lines(completeness_lines(document))
        if noted:
            say(f"what it says of environments stands beside the signal of the node: coevo status {view.node}")
    if output is not None and not is_stdout(output):
        write_text(output, json_text(document), force=force)
        say(f"written: {output}")


def _formulas(text: str | None) -> list[str]:
    if text is None:
        return []
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise ConfigError(f"--formulas: got {text!r}, allowed: formulas such as Li2S,Li3P")
    return names
