"""The command that adds labels to a node: ``label``."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from coevo.app.terminal import Format, Reference, app, err, out, print_json, say
from coevo.errors import ConfigError


@app.command()
def label(
    ref: Reference,
    limit: Annotated[int, typer.Option(min=1, help="entries to label, the most stable S.U.N. ones first")] = 10,
    labeller: Annotated[
        Literal["qe", "vasp", "teacher"] | None, typer.Option(help="instead of the configuration's labelling.code")
    ] = None,
    competing: Annotated[
        bool, typer.Option("--competing/--no-competing", help="label the phases on the hull that they compete with, too")
    ] = True,
    format: Format = "table",  # noqa: A002
) -> None:
    """Label entries at their relaxed geometry outside a full iteration, and compare the stability by both."""
    from coevo.app.labelling import label_head
    from coevo.app.progress_bars import ProgressBars
    from coevo.app.state_summaries import iteration_table, summary
    from coevo.makers.progress import reporting_to
    from coevo.makers.step import current_store
    from coevo.node_store.names import parse_reference

    store = current_store()
    where = parse_reference(ref)
    view = store.state(ref)
    if where.back or store.head(where.node, where.name) != view.id:
        raise ConfigError(f"{ref} is not the head of a branch; labels make a new state there: write NODE or NODE@BRANCH")
    with ProgressBars(err) as bars, reporting_to(bars):
        new, added = label_head(store, where.node, where.name, limit=limit, labeller=labeller, competing=competing, say=say)
    if format == "json":
        print_json({"labels_added": added, **summary(new)})
        return
    out.print(iteration_table(new))
    say(f"{where.node}@{where.name} is at {new.id[:12]} with {added} more labels")
