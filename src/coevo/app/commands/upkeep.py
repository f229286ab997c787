"""Commands of upkeep: ``verify``, ``gc``, ``migrate``."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from coevo.app.terminal import Format, NodeName, app, err, out, print_json, say, styled
from coevo.output.plain_text import counted

if TYPE_CHECKING:
    from rich.table import Table

    from coevo.makers.signals.comparison import Comparison
    from coevo.node_store.store import NodeStore
    from coevo.node_store.upkeep.garbage import Garbage
    from coevo.node_store.upkeep.verification import Verification


@app.command()
def verify(
    node: NodeName,
    quick: Annotated[
        bool, typer.Option("--quick", help="read no structures, labels, evaluations and artifacts: only ids and presence")
    ] = False,
    signals: Annotated[
        bool, typer.Option("--signals", help="instead: compute the head's maturity signals again from its data and models")
    ] = False,
    format: Format = "table",  # noqa: A002
) -> None:
    """Read all that is stored of a node again and check every id and hash; exit code 1 if something is damaged."""
    from coevo.node_store.current import current_store
    from coevo.node_store.upkeep.verification import verify as verify_node

    if signals:
        if not _check_signals(current_store(), node, format):
            raise typer.Exit(1)
        return
    result = verify_node(current_store(), node, quick=quick)
    if format == "json":
        print_json(result.to_dict())
    else:
        _print_verification(result)
    if result.problems:
        raise typer.Exit(1)


def _print_verification(result: Verification) -> None:
    from rich.table import Table

    if result.findings:
        table = Table(title=f"coevo verify {result.node}", title_justify="left")
        for title in ("", "what", "where", "what to do"):
            table.add_column(title, overflow="fold")
        colours = {"problem": "red", "note": "yellow"}
        for finding in result.findings:
            table.add_row(styled(finding.severity, colours[finding.severity]), finding.what, finding.where, finding.todo)
        out.print(table)
    looked = ", ".join(counted(count, what) for what, count in result.counts.items())
    notes = len(result.findings) - len(result.problems)
    verdict = counted(len(result.problems), "problems") if result.problems else "no problem"
    quick = " (quick: documents were not read)" if result.quick else ""
    say(f"{result.node}: {verdict}, {counted(notes, 'notes')}; looked at {looked}{quick}")


@app.command()
def gc(
    delete: Annotated[bool, typer.Option("--delete", help="remove it; otherwise only say what would be removed")] = False,
    older_than: Annotated[
        float,
        typer.Option("--older-than", min=0, max=36_500, help="days; what was stored or wanted since then stays", metavar="DAYS"),
    ] = 14.0,
    artifacts_not_shared: Annotated[
        bool,
        typer.Option("--artifacts-not-shared", help="COEVO_ARTIFACTS serves this database only: what it does not need may go"),
    ] = False,
    format: Format = "table",  # noqa: A002
) -> None:
    """Find what no branch, job result or unfinished campaign of any node needs; remove it with --delete."""
    from coevo.node_store.current import current_store
    from coevo.node_store.upkeep.garbage import collect_garbage

    garbage = collect_garbage(
        current_store(), delete=delete, older_than=timedelta(days=older_than), artifacts_not_shared=artifacts_not_shared
    )
    if format == "json":
        print_json(garbage.to_dict())
    else:
        _print_garbage(garbage)


def _print_garbage(garbage: Garbage) -> None:
    from rich.filesize import decimal
    from rich.table import Table

    for warning in garbage.warnings:
        say(f"note: {warning}")
    found = {kind: tally for kind, tally in garbage.kinds.items() if tally.count}
    if found:
        table = Table(title="removed" if garbage.deleted else "would be removed", title_justify="left")
        table.add_column("what")
        table.add_column("count", justify="right")
        table.add_column("size", justify="right")
        for kind, tally in found.items():
            table.add_row(kind, str(tally.count), decimal(tally.bytes))
        out.print(table)
    total = f"{counted(garbage.total.count, 'things')}, {decimal(garbage.total.bytes)}"
    days = garbage.older_than / timedelta(days=1)
    if not found:
        say(f"nothing is garbage that is older than {days:g} days")
    elif garbage.deleted:
        say(f"removed {total}")
    else:
        say(f"{total} older than {days:g} days; nothing was removed: add --delete")


@app.command()
def migrate(
    node: NodeName,
    again: Annotated[bool, typer.Option("--again", help="also write again what follows from the states")] = False,
) -> None:
    """Bring a node that an older coevo wrote to the present schema version; its states keep their ids."""
    from coevo.node_store.current import current_store
    from coevo.node_store.upkeep.migrations import migrate as migrate_node

    done = migrate_node(current_store(), node, again=again)
    for step in done:
        say(f"version {step.version} to {step.version + 1}: {step.what}")
    say(f"{node} is up to date; check it: coevo verify {node}" if done else f"{node} is up to date; nothing to do")


def _check_signals(store: NodeStore, ref: str, format: str) -> bool:  # noqa: A002
    """Print stored and recomputed signals of a state; True if all agree."""
    from coevo.app.progress_bars import ProgressBars
    from coevo.configs.loading import config_from_dict
    from coevo.makers.signals.recomputation import compare_signals
    from coevo.node_store.recorded import readable
    from coevo.output.progress import reporting_to
    from coevo.settings import usable_workers

    view = store.state(ref)
    config = config_from_dict(view.document["config"], f"configuration of {view.node}@{view.id[:12]}")
    with ProgressBars(err) as bars, reporting_to(bars), readable(view):
        rows = compare_signals(store, view, config, usable_workers(config.resources.workers))
    if format == "json":
        print_json({"state": view.id, "signals": [row.to_dict() for row in rows]})
    else:
        out.print(_signal_table(rows, f"{view.node}@{view.id[:12]}: signals as stored and as computed again"))
    wrong = [row for row in rows if not row.agrees]
    verdict = f"{len(wrong)} of {len(rows)} numbers differ" if wrong else f"all {len(rows)} numbers agree"
    say(f"{view.node}@{view.id[:12]}: {verdict}")
    return not wrong


def _signal_table(rows: list[Comparison], title: str) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
    for name in ("", "stored", "computed again", "unit", "allowed", ""):
        table.add_column(name, justify="right" if name in {"stored", "computed again", "allowed"} else "left")
    for row in rows:
        mark = styled("differs", "red") if not row.agrees else "" if row.recorded else "not recorded"
        table.add_row(row.name, _number(row.stored), _number(row.found), row.unit, f"{row.tolerance:.1g}", mark)
    return table


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.6f}"
