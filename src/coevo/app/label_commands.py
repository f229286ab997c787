"""Commands that add labels and references to a node outside an iteration: ``label`` and ``add``."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003  (typer reads the annotations at run time)
from typing import Annotated, Any, Literal

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
    from coevo.makers.progress import reporting_to
    from coevo.makers.step import current_store
    from coevo.node_store.names import parse_reference

    store = current_store()
    where = parse_reference(ref)
    view = store.state(ref)
    if where.back or store.head(where.node, where.name) != view.id:
        raise ConfigError(f"{ref} is not the head of a branch; labels make a new state there: write NODE or NODE@BRANCH")

    with ProgressBars(err) as bars, reporting_to(bars):

        def report(new: Any, added: int) -> None:
            bars.stop()
            _report(new, f"{where.node}@{where.name} is at {new.id[:12]} with {added} more labels", format, added)

        options: dict[str, Any] = {"limit": limit, "labeller": labeller, "competing": competing, "say": say}
        label_head(store, where.node, where.name, **options, report=report)


@app.command()
def add(
    node: Annotated[str, typer.Argument(help="node, or node@branch", metavar="NODE[@BRANCH]")],
    files: Annotated[list[Path], typer.Argument(help="files to add", metavar="FILE…")],
    kind: Annotated[
        Literal["references", "labels"],
        typer.Option("--as", help="references: CIF, extxyz, JSON; labels: vasprun.xml, pw.x output, extxyz with energies"),
    ],
    functional: Annotated[str | None, typer.Option(help="of labels in files that do not say it, e.g. PBE, r2SCAN")] = None,
    anion_corrected: Annotated[
        bool, typer.Option("--anion-corrected", help="energies of the labels hold the MP2020 anion correction already")
    ] = False,
    format: Format = "table",  # noqa: A002
) -> None:
    """Add structures as references, or calculations as labels, through the same checks as the node's own."""
    from coevo.app.adding import add_labels, add_references
    from coevo.app.progress_bars import ProgressBars
    from coevo.makers.progress import reporting_to
    from coevo.makers.step import current_store
    from coevo.node_store.names import parse_reference

    if kind == "references" and (functional or anion_corrected):
        raise ConfigError(
            "--functional and --anion-corrected are for labels; references have no energies, the node computes them"
        )
    store = current_store()
    where = parse_reference(node)
    if where.back:
        raise ConfigError(f"{node} is not a branch; a state is added at its head: write NODE or NODE@BRANCH")
    before = store.head(where.node, where.name)
    with ProgressBars(err) as bars, reporting_to(bars):
        if kind == "references":
            new = add_references(store, where.node, where.name, files, say)
        else:
            options: dict[str, Any] = {"functional": functional, "anion_corrected": anion_corrected, "say": say}
            new = add_labels(store, where.node, where.name, files, **options)
    # the head that was there before has all of it already
    counts = {"references_added": 0, "labels_added": 0} if new.id == before else new.document["counts"]
    done = f"{counts['references_added']} references and {counts['labels_added']} labels added"
    _report(new, f"{where.node}@{where.name} is at {new.id[:12]}: {done}", format, counts["labels_added"])


def _report(view: Any, said: str, format: str, labels_added: int) -> None:  # noqa: A002
    from coevo.app.state_summaries import iteration_table, summary

    if format == "json":
        print_json({"labels_added": labels_added, **summary(view)})
        return
    out.print(iteration_table(view))
    say(said)
