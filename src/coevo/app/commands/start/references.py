"""Command ``references fetch``, and references of ``init`` that are databases."""

from __future__ import annotations

import math
from pathlib import Path  # noqa: TC003  (typer reads the annotations at run time)
from typing import TYPE_CHECKING, Annotated

import typer

from coevo.app.help_groups import LiteralGroup
from coevo.app.terminal import Force, Format, app, err, out, print_json, say
from coevo.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from coevo.studies.reference_databases.reference_files import Fetched

references = typer.Typer(
    help="Fetch known structures from databases, as a file that init, extend and rediscover read; compare a hull with theirs.",
    no_args_is_help=True,
    cls=LiteralGroup,
)
app.add_typer(references, name="references")


@references.command()
def fetch(
    elements: Annotated[str, typer.Option(help="the chemical system, e.g. Li,P,S or Li-P-S; sub-systems are asked for too")],
    sources: Annotated[
        list[str],
        typer.Option(
            "--from",
            help="mp, oqmd, alexandria, alexandria-pbesol, one at another address (oqmd@URL), or optimade:URL; repeatable or "
            "joined by +; the first that has a crystal gives its geometry",
            metavar="DATABASE",
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="file of references, .json", metavar="FILE")],
    max_e_hull: Annotated[
        float,
        typer.Option(help="phases that a database has at most this far above its own hull, eV/atom; inf: all", metavar="EV"),
    ] = 0.1,
    incomplete: Annotated[
        bool,
        typer.Option(
            "--incomplete", help="an element that no database has by itself stays out; otherwise the bundled set gives it"
        ),
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume/--no-resume", help="go on with what an unfinished fetch keeps in FILE.part, or ask anew")
    ] = True,
    timeout: Annotated[float, typer.Option(min=1, max=3600, help="patience with an answer, s", metavar="S")] = 180.0,
    attempts: Annotated[int, typer.Option(min=1, max=20, help="tries of each question", metavar="N")] = 4,
    force: Force = False,
    format: Format = "table",  # noqa: A002
) -> None:
    """Ask databases for the known structures of a chemical system, sub-system by sub-system; needs no node."""
    from coevo.app.progress_bars import ProgressBars
    from coevo.configs.element_lists import elements_of
    from coevo.output.progress import reporting_to
    from coevo.settings import usable_workers
    from coevo.studies.known_sets.http_json import HttpLimits
    from coevo.studies.reference_databases.reference_files import fetch_into
    from coevo.studies.reference_databases.sources import databases_of

    if math.isnan(max_e_hull):
        raise ConfigError("--max-e-hull: got nan, allowed: a number of eV/atom, or inf")
    most = None if max_e_hull == math.inf else max_e_hull
    symbols = elements_of(elements, "--elements")
    with ProgressBars(err) as bars, reporting_to(bars):
        fetched = fetch_into(
            output,
            databases_of(sources),
            symbols,
            max_e_hull=most,
            complete=not incomplete,
            resume=resume,
            force=force,
            limits=HttpLimits(silence_seconds=timeout, answer_seconds=max(600.0, 2 * timeout), attempts=attempts),
            workers=usable_workers(),
            say=say,
        )
    if format == "json":
        print_json(fetched.to_dict())
        return
    _print(fetched, most)
    say(f"next: coevo init --elements {','.join(symbols)} --references {output}")


def with_files_of_databases(references: str, elements: Sequence[str]) -> str:
    """Fetch the databases among references into a file in the working directory, and return references without databases.

    Raises
    ------
    CoevoError
        As :func:`~coevo.studies.reference_databases.reference_files.fetch_into`; and if a file of that name is there already and
        answers another question.
    """
    from coevo.app.progress_bars import ProgressBars
    from coevo.output.progress import reporting_to
    from coevo.settings import usable_workers
    from coevo.studies.reference_databases import reference_files
    from coevo.studies.reference_databases.sources import split_databases

    databases, rest = split_databases(references)
    if not databases:
        return references
    path, most = reference_files.default_file(databases, elements), reference_files.DEFAULT_MAX_E_HULL
    if reference_files.answers_question(path, reference_files.question(databases, elements, most)):
        say(f"references: {path}, fetched before, is used again; remove it to ask the databases anew")
    else:
        with ProgressBars(err) as bars, reporting_to(bars):
            fetched = reference_files.fetch_into(
                path, databases, elements, max_e_hull=most, complete=not rest, workers=usable_workers(), say=say
            )
        _print(fetched, most)
        say(f"references: fetched into {path.resolve()}, which the node's configuration names; keep it")
    return f"{path} + {rest}" if rest else str(path)


def _print(fetched: Fetched, max_e_hull: float | None) -> None:
    from coevo.app.tables.references import fetched_lines, fetched_table

    out.print(fetched_table(fetched))
    for line in fetched_lines(fetched, max_e_hull):
        say(line)
