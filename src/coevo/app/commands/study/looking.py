"""Commands that read studies: ``study list``, ``study show``."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from coevo.app.commands.study.application import study
from coevo.app.terminal import Format, Reference, node_names, out, print_document, print_json, print_lines, say


@study.command(name="list")
def list_(
    ref: Annotated[
        str | None,
        typer.Argument(
            help="a state, or a node for all its states (default: all nodes)", metavar="REF", autocompletion=node_names
        ),
    ] = None,
    format: Format = "table",  # noqa: A002
) -> None:
    """List studies, the newest first: of a state, of all states of a node, or of all nodes."""
    from coevo.app.tables.studies import studies_table
    from coevo.node_store.current import current_store
    from coevo.studies.study_words import head_of

    store = current_store()
    if ref is None or ref in store.nodes():
        found = {name: store.studies(name)[::-1] for name in ([ref] if ref else store.nodes())}
    else:
        view = store.state(ref)
        found = {ref: view.studies()[::-1]}
    if format == "json":
        print_json([head_of(each) for studies in found.values() for each in studies])
        return
    for name, studies in found.items():
        if studies:
            out.print(studies_table(studies, name))
        else:
            say(f"{name}: no studies")


@study.command()
def show(
    ref: Reference,
    what: Annotated[
        str | None, typer.Argument(help="beginning of a study's id, or its kind (default: the newest)", metavar="ID|KIND")
    ] = None,
    format: Annotated[  # noqa: A002
        Literal["table", "json", "csv"], typer.Option("--format", help="table for people, json for programs, csv: its tables")
    ] = "table",
) -> None:
    """Show a study of a state: what it says, how far its force field can be believed, and its tables."""
    from coevo.node_store.current import current_store
    from coevo.studies.finding_studies import find_study

    store = current_store()
    print_study(find_study(store, store.state(ref), what), format)


def print_study(found: object, format: str) -> None:  # noqa: A002
    """Print a study."""
    from coevo.app.tables.studies import study_table
    from coevo.node_store.study_documents import StoredStudy
    from coevo.studies.study_words import described, study_lines, study_tables, tables_csv, title_of

    assert isinstance(found, StoredStudy)
    if format == "json":
        print_json(described(found))
        return
    tables = study_tables(found)
    if format == "csv":
        print_document(tables_csv(tables))
        return
    print_lines([title_of(found), *study_lines(found)])
    for table in tables:
        out.print(study_table(table))
