"""Commands that add labels and references to a node outside an iteration: ``label`` and ``add``."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003  (typer reads the annotations at run time)
from typing import Annotated, Any, Literal

import typer

from coevo.app.terminal import Format, Reference, app, err, out, print_json, say
from coevo.errors import ConfigError
from coevo.output.plain_text import counted


@app.command()
def label(
    ref: Reference,
    limit: Annotated[int, typer.Option(min=1, help="entries to label, the most stable S.U.N. ones first")] = 10,
    labeller: Annotated[
        str | None,
        typer.Option(
            help="instead of the configuration's labelling.code: qe, vasp, teacher, maker, or a code of another package"
        ),
    ] = None,
    competing: Annotated[
        bool, typer.Option("--competing/--no-competing", help="label the phases on the hull that they compete with, too")
    ] = True,
    format: Format = "table",  # noqa: A002
) -> None:
    """Label entries at their relaxed geometry outside a full iteration, and compare the stability by both."""
    from coevo.app.progress_bars import ProgressBars
    from coevo.campaigns.labelling import label_head
    from coevo.node_store.current import current_store
    from coevo.node_store.names import parse_reference
    from coevo.output.progress import reporting_to

    store = current_store()
    where = parse_reference(ref)
    view = store.state(ref)
    if where.back or store.head(where.node, where.name) != view.id:
        raise ConfigError(f"{ref} is not the head of a branch; labels make a new state there: write NODE or NODE@BRANCH")

    with ProgressBars(err) as bars, reporting_to(bars):

        def report(new: Any, added: int) -> None:
            bars.stop()
            _report(
                new,
                f"{where.node}@{where.name} is at {new.id[:12]} with {counted(added, 'more labels')}",
                format,
                {"labels_added": added},
            )

        options: dict[str, Any] = {"limit": limit, "labeller": labeller, "competing": competing, "say": say}
        label_head(store, where.node, where.name, **options, report=report)


@app.command()
def add(
    node: Annotated[str, typer.Argument(help="node, or node@branch", metavar="NODE[@BRANCH]")],
    files: Annotated[list[Path], typer.Argument(help="files to add", metavar="FILE")],
    kind: Annotated[
        Literal["references", "labels"],
        typer.Option("--as", help="references: CIF, POSCAR, extxyz, JSON; labels: vasprun.xml, pw.x outputs, extxyz"),
    ],
    functional: Annotated[str | None, typer.Option(help="of labels in files that do not say it, e.g. PBE, r2SCAN")] = None,
    anion_corrected: Annotated[
        bool, typer.Option("--anion-corrected", help="energies of the labels hold the MP2020 anion correction already")
    ] = False,
    energy_key: Annotated[
        str | None, typer.Option(help="of an extxyz file, e.g. REF_energy", rich_help_panel="extended XYZ")
    ] = None,
    forces_key: Annotated[str | None, typer.Option(help="e.g. REF_forces", rich_help_panel="extended XYZ")] = None,
    stress_key: Annotated[str | None, typer.Option(help="e.g. REF_stress", rich_help_panel="extended XYZ")] = None,
    virial_key: Annotated[str | None, typer.Option(help="instead of a stress", rich_help_panel="extended XYZ")] = None,
    same_settings_as: Annotated[
        str | None,
        typer.Option(metavar="DIGEST", help="labels of this settings digest are of one scale with these; your word is kept"),
    ] = None,
    format: Format = "table",  # noqa: A002
) -> None:
    """Add structures as references, or calculations as labels, through the same checks as the node's own."""
    from coevo.app.progress_bars import ProgressBars
    from coevo.campaigns.adding import add_labels, add_references
    from coevo.campaigns.import_report import file_document
    from coevo.labelling.imported import LabelKeys
    from coevo.node_store.current import current_store
    from coevo.node_store.names import parse_reference
    from coevo.output.progress import reporting_to

    options = {
        "--functional": functional,
        "--anion-corrected": anion_corrected,
        "--energy-key": energy_key,
        "--forces-key": forces_key,
        "--stress-key": stress_key,
        "--virial-key": virial_key,
        "--same-settings-as": same_settings_as,
    }
    for name, value in options.items():
        if isinstance(value, str) and not (value.strip() and value.isprintable()):  # an empty variable of a script
            raise ConfigError(f"{name} {value!r}: says nothing; leave it out, or give its value in letters that can be seen")
    given = [name for name, value in options.items() if value]
    if kind == "references" and given:
        raise ConfigError(
            f"{', '.join(given)}: these options are for labels; references have no energies, the node computes them"
        )
    store = current_store()
    where = parse_reference(node)
    if where.back:
        raise ConfigError(f"{node} is not a branch; a state is added at its head: write NODE or NODE@BRANCH")
    before = store.head(where.node, where.name)
    with ProgressBars(err) as bars, reporting_to(bars):
        if kind == "references":
            new = add_references(store, where.node, where.name, files, say)
            # the head that was there before has all of them already
            count = 0 if new.id == before else new.document["counts"]["references_added"]
            done = f"{counted(count, 'references')} added"
            report: dict[str, Any] = {"labels_added": 0}
        else:
            added = add_labels(
                store,
                where.node,
                where.name,
                files,
                functional=functional,
                anion_corrected=anion_corrected,
                say=say,
                keys=LabelKeys(energy_key, forces_key, stress_key, virial_key),
                same_settings_as=same_settings_as,
            )
            new, done = added.view, f"{counted(added.added, 'labels')} added"
            splits = new.manifest["labels"]
            report = {
                "labels_added": added.added,
                "files": [file_document(file, splits) for file in added.files],
                "warnings": added.warnings,
            }
    _report(new, f"{where.node}@{where.name} is at {new.id[:12]}: {done}", format, report)


def _report(view: Any, said: str, format: str, report: dict[str, Any]) -> None:  # noqa: A002
    from coevo.app.tables.states import iteration_table
    from coevo.studies.states.summaries import summary

    if format == "json":
        print_json({**report, **summary(view)})
        return
    out.print(iteration_table(view))
    say(said)
