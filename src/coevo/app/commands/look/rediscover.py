"""Command ``rediscover``: which withheld phases came back, and what is new against a set of known structures."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003  (typer reads the annotations at run time)
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from coevo.app.terminal import Force, Reference, app, err, out, print_document, print_json, print_lines, say
from coevo.errors import ConfigError
from coevo.output.files import check_place

if TYPE_CHECKING:
    from coevo.analysis.comparison.rediscovery import Rediscovery
    from coevo.node_store.views import StateView
    from coevo.studies.known_sets.known_structures import KnownSet
    from coevo.studies.known_sets.novelty_counts import NoveltyCount


@app.command()
def rediscover(
    ref: Reference,
    targets: Annotated[
        str | None,
        typer.Option(
            help="known phases: a bundled set (li-p-s), or a CIF, POSCAR, extxyz or JSON file; default: those that the node "
            "withholds",
            metavar="FILE|SET",
        ),
    ] = None,
    name: Annotated[list[str] | None, typer.Option(help="only this phase of --targets; repeatable", metavar="NAME")] = None,
    relax: Annotated[
        bool, typer.Option("--relax", help="relax the phases by the state's force field first, and give their E_hull")
    ] = False,
    motifs: Annotated[bool, typer.Option("--motifs/--no-motifs", help="look for the motifs of the phases too")] = True,
    against: Annotated[
        list[str] | None,
        typer.Option(
            help="instead of phases: count the S.U.N. entries that are new against a set (file, bundled set, optimade:URL, mp); "
            "repeatable",
            metavar="SOURCE",
        ),
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="phases that are references too; with --against: all unique entries")
    ] = False,
    save: Annotated[Path | None, typer.Option(help="with one --against: keep its structures as JSON", metavar="FILE")] = None,
    force: Force = False,
    format: Annotated[Literal["table", "json", "csv"], typer.Option("--format")] = "table",  # noqa: A002
) -> None:
    """Say which known phases a state found that it was not told of; or, with --against, what is new against a set."""
    from coevo.app.progress_bars import ProgressBars
    from coevo.node_store.current import current_store
    from coevo.output.progress import reporting_to
    from coevo.settings import usable_workers

    _check_options(targets, name, against, save, relax=relax)
    if save is not None:
        check_place(save, force, "--save")
    view, workers = current_store().state(ref), usable_workers()
    with ProgressBars(err) as bars, reporting_to(bars):
        if against:
            counts = _counts(view, against, save, workers, every=every, force=force)
        else:
            rows, foreign = _rows(view, targets, name or [], workers, relax=relax, motifs=motifs)
    if against:
        _print_counts(counts, format)
    else:
        _print_rows(ref, view, rows, foreign, format, every=every)
    if save is not None:
        say(f"kept in {save}; read it again with --against {save}")


def _check_options(
    targets: str | None, name: list[str] | None, against: list[str] | None, save: Path | None, *, relax: bool
) -> None:
    if against and (targets or name or relax):
        raise ConfigError("rediscover: --against compares entries with a set; leave --targets, --name and --relax away")
    if any(not source.strip() for source in against or ()):  # an empty path would be this directory
        raise ConfigError("--against '': names no set; give a bundled set, a file, optimade:URL or mp")
    if save is not None and len(against or []) != 1:
        raise ConfigError("rediscover: --save keeps the structures of one --against SOURCE; give one")
    if name and not targets:
        raise ConfigError("rediscover: --name chooses among --targets FILE|SET; give them too")


def _counts(
    view: StateView, sources: list[str], save: Path | None, workers: int, *, every: bool, force: bool
) -> list[NoveltyCount]:
    from coevo.studies.known_sets.known_sets import read_known_set, save_known_set
    from coevo.studies.known_sets.novelty_counts import count_new

    counts = []
    for source in sources:
        known: KnownSet = read_known_set(source, view.document["elements"])
        if save is not None:
            save_known_set(known, save, force=force)
        counts.append(count_new(view, known, every=every, workers=workers))
    return counts


def _rows(
    view: StateView, targets: str | None, names: list[str], workers: int, *, relax: bool, motifs: bool
) -> tuple[list[Rediscovery], list[str]]:
    from coevo.studies.rediscovery import load_targets, rediscover, withheld_targets

    if targets is None:
        return rediscover(view, withheld_targets(view), relax=relax, motifs=motifs, workers=workers), []
    phases, foreign = load_targets(targets, view.document["elements"], names)
    return rediscover(view, phases, relax=relax, motifs=motifs, workers=workers), [phase.name for phase in foreign]


def _print_rows(
    ref: str,
    view: StateView,
    rows: list[Rediscovery],
    foreign: list[str],
    format: str,  # noqa: A002
    *,
    every: bool,
) -> None:
    from coevo.analysis.comparison.rediscovery import summary_line
    from coevo.app.tables import rediscovery as rediscovery_tables

    withheld = [row for row in rows if row.reference is None]
    skipped = [row for row in rows if row.reference is not None]
    shown = rows if every else withheld
    if format == "json":
        document: dict[str, Any] = {"state": view.id, "node": view.node, "iteration": view.iteration}
        document["targets"] = [row.to_dict() for row in shown]
        document["references"] = [] if every else [row.name for row in skipped]
        document["other_elements"] = foreign
        document["summary"] = summary_line(withheld)
        print_json(document)
    elif format == "csv":
        print_document(rediscovery_tables.targets_csv(shown))
    elif shown:
        out.print(rediscovery_tables.targets_table(shown, f"{ref}: {len(shown)} known phases, iteration {view.iteration}"))
    if format != "json":
        _say_skipped([] if every else skipped, foreign)
        for row in shown:
            if row.note:
                say(f"{row.name}: {row.note}")
        # a line for people must not end up in a CSV
        _tell(summary_line(withheld), format)


def _say_skipped(skipped: list[Rediscovery], foreign: list[str]) -> None:
    if skipped:
        say(f"left out, the state has them as references (--all shows them): {', '.join(row.name for row in skipped)}")
    if foreign:
        say(f"left out, of other elements: {', '.join(foreign)}")


def _print_counts(counts: list[NoveltyCount], format: str) -> None:  # noqa: A002
    from coevo.app.tables import rediscovery as rediscovery_tables

    if format == "json":
        print_json([count.to_dict() for count in counts])
        return
    if format == "csv":
        print_document(rediscovery_tables.known_csv(counts))
    for count in counts:
        if format == "table" and count.known:
            out.print(rediscovery_tables.known_table(count))
        left_out = ", ".join(f"{number} {reason}" for reason, number in count.against["left_out"].items())
        if left_out:
            say(f"{count.against['source']}: left out: {left_out}")
        for note in count.against["notes"]:
            say(f"{count.against['source']}: {note}")
        _tell(count.sentence(), format)


def _tell(line: str, format: str) -> None:  # noqa: A002
    """Print a sentence under a table, or beside a document that programs read."""
    if format == "table":
        print_lines([line])
    else:
        say(line)
