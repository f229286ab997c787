"""Commands that read states: ``log``, ``show``, ``query``, ``report``."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003  (typer reads the annotations at run time)
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from coevo.app.terminal import Force, Format, Reference, app, out, print_document, print_json, print_lines, say
from coevo.errors import QueryError, StorageError
from coevo.output.files import check_directory, check_place, is_stdout, write_bytes, write_text
from coevo.output.plain_text import counted
from coevo.studies.states.exporting import SUFFIXES, as_zip, entry_texts, setting_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from coevo.analysis.standard_cells import Setting
    from coevo.node_store.views import StateView


Primitive = Annotated[bool, typer.Option("--primitive", help="cif, poscar: the primitive standard cell")]
Conventional = Annotated[
    bool, typer.Option("--conventional", help="cif, poscar: the conventional standard cell (the default of cif)")
]
AsIs = Annotated[bool, typer.Option("--as-is", help="cif, poscar: the cell as stored (the default of poscar)")]


@app.command()
def log(
    ref: Reference,
    graph: Annotated[bool, typer.Option("--graph", help="draw branches and merges")] = False,
    all_branches: Annotated[bool, typer.Option("--all", help="all branches of the node, and REF")] = False,
    format: Format = "table",  # noqa: A002
) -> None:
    """List the states that led to REF, newest first."""
    from coevo.app.tables.states import log_table
    from coevo.node_store.current import current_store
    from coevo.studies.states.graph import graph_lines
    from coevo.studies.states.summaries import origin_line, summary

    store = current_store()
    view = store.state(ref)
    branches = store.node(view.node).branches
    tips = [view]
    if all_branches:
        heads = sorted({state for state in branches.values() if state} - {view.id})
        tips += [store.state(f"{view.node}@{state}") for state in heads]
    if graph and format == "table":
        print_lines(graph_lines(tips, branches))
        return
    states = _newest_first(tips) if all_branches else [view, *view.ancestors()]
    if format == "json":
        print_json([summary(state) for state in states])
    else:
        out.print(log_table(states, view.node if all_branches else ref))
        for state in states:
            if state.started_from is not None:
                say(f"{state.id[:8]} was started from {origin_line(state)}")


def _newest_first(tips: list[Any]) -> list[Any]:
    """List states and what they descend from, each once."""
    found = {state.id: state for tip in tips for state in (tip, *tip.ancestors())}
    return sorted(found.values(), key=lambda state: (-state.iteration, state.document["created"], state.id))


@app.command()
def show(
    ref: Reference,
    entry: Annotated[str | None, typer.Argument(help="id, or its beginning, of an entry of that state", metavar="ENTRY")] = None,
    format: Annotated[  # noqa: A002
        Literal["table", "json", "cif", "poscar"], typer.Option("--format", help="cif and poscar: of an ENTRY")
    ] = "table",
    primitive: Primitive = False,
    conventional: Conventional = False,
    as_is: AsIs = False,
) -> None:
    """Show a state, or one of its entries: symmetry, origin, stability and what it would decompose into."""
    from coevo.app.tables.states import iteration_table
    from coevo.node_store.current import current_store
    from coevo.node_store.trust.loading import condition
    from coevo.studies.states.summaries import summary

    setting = setting_of(format, primitive=primitive, conventional=conventional, as_is=as_is)
    store = current_store()
    view = store.state(ref)
    if entry is not None:
        _show_entry(view, entry, format, setting)
        return
    if format in SUFFIXES:
        raise QueryError(f"--format {format}: is for one entry; give its id, or coevo query {ref} --format {format}")
    conditions = {kind: condition(store, checkpoint, kind) for kind, checkpoint in view.document["checkpoints"].items()}
    if format == "json":
        more = {"config": view.document["config"], "manifest": view.document["manifest"], "checkpoint_conditions": conditions}
        more["offsets"] = view.manifest["offsets"]
        print_json({**summary(view), **more})
    else:
        out.print(iteration_table(view))
        for kind, checkpoint in view.document["checkpoints"].items():
            parent = (checkpoint.get("parent") or "published")[:12]
            what = f"{kind}: {checkpoint['family']} {checkpoint['sha256'][:12]} (from {parent})"
            where = checkpoint.get("uri", "")
            if conditions[kind] == "untrusted":
                where += f"  untrusted: it came in a bundle; coevo trust {checkpoint['sha256']}"
            elif conditions[kind] == "not loadable":
                where += f"  not loadable: nothing here reads {checkpoint['family']} of format {checkpoint['format']} as {kind}"
            elif conditions[kind] == "not here":
                where = f"not here; its state says that it was written to {where or 'nowhere'}"
            print_lines([f"{what}  {where}"])


def _show_entry(view: Any, prefix: str, format: str, setting: Setting) -> None:  # noqa: A002
    from coevo.app.tables.entries import entry_table
    from coevo.node_store.recorded import readable
    from coevo.studies.states.entry_description import describe_entry

    found = list(view.with_studied(d for d in view.evaluations() if d["structure_id"].startswith(prefix)))
    if not prefix or not found:
        raise QueryError(
            f"no entry or reference of state {view.id[:12]} has an id that begins with {prefix!r}; "
            f"coevo query {view.node}@{view.id[:12]} lists the entries"
        )
    if len(found) > 1:
        ids = ", ".join(d["structure_id"][:12] for d in found[:5])
        raise QueryError(f"{prefix!r} begins {len(found)} ids of state {view.id[:12]} ({ids}); give more of its letters")
    if format in SUFFIXES:
        put_structures(view, found, format, setting, None, force=False)
        return
    with readable(view):
        more = describe_entry(view, found[0])
        if format == "json":
            print_json({**found[0], **more})
            return
        out.print(entry_table(view, found[0], more))
    print_lines(str(view.structure(found[0]["structure_id"])).split("\n")[5:])


@app.command()
def query(
    ref: Reference,
    where: Annotated[
        str | None,
        typer.Argument(help='OPTIMADE filter, e.g. elements HAS "P" AND energy_above_hull < 0.05', metavar="FILTER"),
    ] = None,
    sort: Annotated[str, typer.Option(help="fields to sort by, with commas; -field for descending")] = "energy_above_hull",
    limit: Annotated[int, typer.Option(min=0, help="rows, at most; 0: all")] = 0,
    skip: Annotated[int, typer.Option(min=0, help="rows to leave out at the beginning")] = 0,
    format: Annotated[Literal["table", "csv", "json", "cif", "poscar", "extxyz"], typer.Option("--format")] = "table",  # noqa: A002
    output: Annotated[
        Path | None, typer.Option(help="file to write instead of printing; cif and poscar also .zip or folder, a file each")
    ] = None,
    force: Force = False,
    primitive: Primitive = False,
    conventional: Conventional = False,
    as_is: AsIs = False,
) -> None:
    """Query the entries of a state with an OPTIMADE filter, and export them."""
    from coevo.app.tables.entries import entries_table
    from coevo.node_store.current import current_store
    from coevo.node_store.queries.hints import filter_hints
    from coevo.node_store.queries.queries import parse_filter, parse_sort
    from coevo.studies.finding_studies import unstudied_hints
    from coevo.studies.states import exporting
    from coevo.studies.states.label_scales import teacher_of

    if format == "table" and output is not None:
        raise QueryError("--format table prints to the terminal; with --output choose csv, json, cif, poscar or extxyz")
    setting = setting_of(format, primitive=primitive, conventional=conventional, as_is=as_is)
    if output is not None and not is_stdout(output) and format not in SUFFIXES:
        check_place(output, force)
    view = current_store().state(ref)
    filter_ = parse_filter(where or "")
    rows = list(view.with_studied(view.entries(filter_, sort=parse_sort(sort), limit=limit, skip=skip)))
    for hint in [] if rows else [*filter_hints(filter_, view.document["elements"]), *unstudied_hints(view, filter_)]:
        say(f"hint: {hint}")
    if format == "table":
        out.print(entries_table(rows, f"{ref}: {counted(len(rows), 'entries')}", teacher_of(view.document)))
        return
    if format in SUFFIXES:
        put_structures(view, rows, format, setting, output, force=force)
        return
    writers = {
        "csv": lambda: exporting.as_csv(rows),
        "json": lambda: exporting.as_json(rows),
        "extxyz": lambda: exporting.as_extxyz(view, rows),
    }
    text = writers[format]()
    if output is None or is_stdout(output):
        print_document(text)
    else:
        write_text(output, text, force=force)
        say(f"{counted(len(rows), 'entries')} written to {output}")


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
    parity: Annotated[
        bool,
        typer.Option("--parity", help="evaluate labelled test frames, for energies and forces against labels"),
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="replace a former report in DIR")] = False,
) -> None:
    """Write the report of a state: a page that needs no network, its figures, their data and structures."""
    from coevo.node_store.current import current_store
    from coevo.report.writing import write_report
    from coevo.settings import usable_workers

    workers = usable_workers()
    options = {"with_map": not without_map, "with_parity": parity, "force": force}
    written = write_report(current_store(), ref, output, targets=targets, workers=workers, **options)
    shown = "without a map" if written.in_map is None else f"{written.in_map} structures in the map"
    say(f"report of {ref} written to {written.folder}: {written.files} files, {written.size / 1e6:.1f} MB, {shown}")
    say(f"open {written.folder / 'index.html'} in a browser")


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
