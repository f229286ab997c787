"""The ``coevo`` command."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console

from coevo import __version__
from coevo.errors import CoevoError, ConfigError, QueryError

app = typer.Typer(
    name="coevo",
    help="A materials database whose structures, labels, generator and force field coevolve.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
out = Console()
err = Console(stderr=True)

Format = Annotated[Literal["table", "json"], typer.Option("--format", help="table for people, json for programs")]
Reference = Annotated[str, typer.Argument(help="node, node@branch, node@branch~n or node@<id prefix>", metavar="REF")]
NodeName = Annotated[str, typer.Argument(help="name of a node", metavar="NODE")]


def _say(line: str) -> None:
    err.print(line, highlight=False, markup=False)


def _print_json(document: Any) -> None:
    sys.stdout.write(json.dumps(document, indent=2, allow_nan=False) + "\n")


def _version(show: bool) -> None:
    if show:
        out.print(f"coevo {__version__}", highlight=False)
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="print the version")] = False,  # noqa: ARG001
) -> None:
    """Hold the options that come before a command."""
    # The numbers of a job must not depend on how many threads a library likes to start (docs/architecture.md, determinism).
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    # A cell whose symmetry is not found is a result (space group None); spglib's own line about it would tear the progress bars.
    os.environ.setdefault("SPGLIB_WARNING", "OFF")


@app.command()
def doctor(format: Format = "table") -> None:  # noqa: A002
    """Say what this machine has: database, force field, GPU, pw.x, VASP, SLURM; with a hint for each thing missing."""
    from coevo.app.doctor import as_json, examine, findings_table

    findings = examine()
    if format == "json":
        _print_json(as_json(findings))
    else:
        out.print(findings_table(findings))
    if any(finding.condition == "problem" for finding in findings):
        raise typer.Exit(1)


@app.command()
def init(
    config: Annotated[
        str | None, typer.Argument(help="a preset (li-p-s-demo, li-p-s) or a YAML file", metavar="[CONFIG]")
    ] = None,
    elements: Annotated[str | None, typer.Option(help="instead of CONFIG: elements, e.g. Na,Cl")] = None,
    references: Annotated[str | None, typer.Option(help="with --elements: known structures, CIF, extxyz or JSON")] = None,
    name: Annotated[str | None, typer.Option("--name", help="with --elements: name of the node (default: na-cl)")] = None,
    like: Annotated[str, typer.Option(help="with --elements: preset whose sizes and thresholds are taken")] = "li-p-s-demo",
) -> None:
    """Create a node and its first state: its references, evaluated by the published force field."""
    from coevo.app.progress_bars import ProgressBars
    from coevo.app.running import initialise
    from coevo.app.state_summaries import iteration_table
    from coevo.configs.loading import load_config
    from coevo.makers.progress import reporting_to
    from coevo.makers.step import current_store

    if (config is None) == (elements is None):
        raise ConfigError("init: give either CONFIG (a preset or a YAML file) or --elements with --references")
    loaded = load_config(config) if config else _config_for(elements or "", references, name, like)
    store = current_store()
    node = loaded.config.node.name
    with ProgressBars(err) as bars, reporting_to(bars):
        state = initialise(store, loaded, base=loaded.base)
    if state is None:
        _say(f"node {node} exists already with this configuration; nothing to do")
    else:
        out.print(iteration_table(store.resolve(f"{node}@{state}")))
        _say(f"next: coevo run {node} -n 2")


def _config_for(elements: str, references: str | None, name: str | None, like: str) -> Any:
    from coevo.configs.from_elements import config_for_elements

    if not references:
        raise ConfigError(
            "init --elements: --references is missing; give a CIF, extxyz or JSON file with known structures, "
            "each element among them (geometry suffices)"
        )
    symbols = [symbol.strip() for symbol in elements.split(",") if symbol.strip()]
    return config_for_elements(symbols, str(Path(references).resolve()), name=name, like=like)


@app.command()
def run(
    node: NodeName,
    iterations: Annotated[int, typer.Option("-n", "--iterations", min=1, help="state transitions to make")] = 1,
    branch: Annotated[str, typer.Option(help="branch to continue")] = "main",
    plan: Annotated[bool, typer.Option("--plan", help="print jobs, expected time and disk, and do nothing")] = False,
    format: Format = "table",  # noqa: A002
) -> None:
    """Run a campaign of transitions in this process; an unfinished campaign is finished first, and a killed one goes on."""
    from coevo.app.progress_bars import ProgressBars
    from coevo.app.running import run_campaign
    from coevo.app.state_summaries import iteration_table
    from coevo.makers.progress import reporting_to
    from coevo.makers.step import current_store

    store = current_store()
    if plan:
        _plan(store, node, branch, iterations, format)
        return
    with ProgressBars(err) as bars, reporting_to(bars):
        verdict = run_campaign(
            store,
            node,
            branch=branch,
            iterations=iterations,
            say=_say,
            on_state=lambda view: bars.above(iteration_table(view), out),
        )
    head = store.resolve(f"{node}@{branch}")
    if verdict == "mature":
        _say(f"{node} is mature at iteration {head.iteration}: {head.document['metrics']['maturity']['reason']}")
    _say(f"{node}@{branch} is at {head.id[:12]}, iteration {head.iteration}; continue: coevo run {node} -n 1")


def _plan(store: Any, node: str, branch: str, iterations: int, format: str) -> None:  # noqa: A002
    from coevo.app.planning import measured_rates, plan, plan_json, plan_table
    from coevo.app.running import live_config
    from coevo.settings import read_settings

    head = store.resolve(f"{node}@{branch}")
    config = live_config(store, node, head, _say)
    workers = read_settings().workers or config.resources.workers or len(os.sched_getaffinity(0))
    rows = plan(config, head, iterations, workers)
    if format == "json":
        _print_json(plan_json(rows))
    else:
        out.print(plan_table(rows, measured=measured_rates(head) is not None))


@app.command()
def status(node: Annotated[str | None, typer.Argument(metavar="[NODE]")] = None, format: Format = "table") -> None:  # noqa: A002
    """Say where a node stands (all nodes, if none is named): head, population, signals, campaigns."""
    from coevo.app.node_status import node_status, status_table
    from coevo.makers.step import current_store

    store = current_store()
    rows = [node_status(store, name) for name in ([node] if node else store.nodes())]
    if format == "json":
        _print_json(rows[0] if node else rows)
    elif rows:
        for row in rows:
            out.print(status_table(row))
    else:
        _say("no node in this database yet; create one: coevo init li-p-s-demo")


@app.command()
def log(ref: Reference, format: Format = "table") -> None:  # noqa: A002
    """List the states that led to REF, newest first."""
    from coevo.app.state_summaries import log_table, summary
    from coevo.makers.step import current_store

    view = current_store().resolve(ref)
    states = [view, *view.ancestors()]
    if format == "json":
        _print_json([summary(state) for state in states])
    else:
        out.print(log_table(states, ref))


@app.command()
def show(
    ref: Reference,
    entry: Annotated[
        str | None, typer.Argument(help="id, or its beginning, of an entry of that state", metavar="[ENTRY]")
    ] = None,
    format: Format = "table",  # noqa: A002
) -> None:
    """Show a state, or one of its entries."""
    from coevo.app.state_summaries import iteration_table, summary
    from coevo.makers.step import current_store

    view = current_store().resolve(ref)
    if entry:
        _show_entry(view, entry, format)
    elif format == "json":
        _print_json({**summary(view), "config": view.document["config"], "manifest": view.document["manifest"]})
    else:
        out.print(iteration_table(view))
        for kind, checkpoint in view.document["checkpoints"].items():
            parent = (checkpoint["parent"] or "published")[:12]
            out.print(
                f"{kind}: {checkpoint['family']} {checkpoint['sha256'][:12]} (from {parent})  {checkpoint['uri']}",
                highlight=False,
                soft_wrap=True,
            )


def _show_entry(view: Any, prefix: str, format: str) -> None:  # noqa: A002
    found = [d for d in view.evaluations() if d["structure_id"].startswith(prefix)]
    if len(found) != 1:
        ids = ", ".join(d["structure_id"][:12] for d in found[:5]) or "none"
        raise QueryError(
            f"{prefix!r} names {len(found)} structures of state {view.id[:12]} ({ids}); give an id or more of its letters"
        )
    if format == "json":
        _print_json(found[0])
        return
    from rich.table import Table

    table = Table(title=f"{found[0]['kind']} {found[0]['structure_id'][:12]}", show_header=False, title_justify="left")
    for key, value in found[0].items():
        if key != "relaxed":
            table.add_row(key, str(value))
    out.print(table)
    out.print(str(view.structure(found[0]["structure_id"])), highlight=False, markup=False)


@app.command()
def query(
    ref: Reference,
    where: Annotated[
        str | None,
        typer.Argument(help='OPTIMADE filter, e.g. elements HAS "P" AND energy_above_hull < 0.05', metavar="[FILTER]"),
    ] = None,
    sort: Annotated[str, typer.Option(help="field to sort by; -field for descending")] = "energy_above_hull",
    limit: Annotated[int, typer.Option(min=0, help="rows, at most; 0: all")] = 0,
    format: Annotated[Literal["table", "csv", "json", "cif", "extxyz"], typer.Option("--format")] = "table",  # noqa: A002
    output: Annotated[Path | None, typer.Option(help="file to write instead of printing")] = None,
) -> None:
    """Query the entries of a state with an OPTIMADE filter, and export them."""
    from coevo.app import exporting
    from coevo.makers.step import current_store
    from coevo.node_store.queries import parse_filter

    view = current_store().resolve(ref)
    field, direction = sort.removeprefix("-"), -1 if sort.startswith("-") else 1
    if field not in exporting.COLUMNS:
        raise QueryError(f"--sort {field!r} is not a field of an entry; allowed: {', '.join(exporting.COLUMNS)}")
    rows = list(view.entries(parse_filter(where) if where else {}, sort=[(field, direction), ("structure_id", 1)], limit=limit))
    if format == "table" and output is None:
        out.print(exporting.entries_table(rows, f"{ref}: {len(rows)} entries"))
        return
    writers = {
        "csv": lambda: exporting.as_csv(rows),
        "json": lambda: exporting.as_json(rows),
        "cif": lambda: exporting.as_cif(view, rows),
        "extxyz": lambda: exporting.as_extxyz(view, rows),
    }
    if format not in writers:
        raise QueryError("--format table prints to the terminal; with --output choose csv, json, cif or extxyz")
    text = writers[format]()
    if output is None:
        sys.stdout.write(text)
    else:
        _write(output, text)
        _say(f"{len(rows)} entries written to {output}")


def _write(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    partial = path.with_name(path.name + ".part")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise QueryError(f"--output {path}: {error.strerror}; choose another place") from error


def main() -> None:
    """Run the command line; an expected error is one line on standard error and exit code 2."""
    try:
        app()
    except CoevoError as error:
        err.print(f"coevo: {error}", style="red", highlight=False, markup=False, soft_wrap=True)
        sys.exit(2)
    except BrokenPipeError:
        # The reader went away (head, less): not an error, and nothing more can be said on this pipe.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except KeyboardInterrupt:
        err.print("interrupted; run the same command again to go on where it stopped", highlight=False)
        sys.exit(130)


if __name__ == "__main__":
    main()
