"""Commands of the environments of model families: ``env create``, ``env list``, ``env check``."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from coevo.app.help_groups import LiteralGroup
from coevo.app.terminal import Format, app, out, print_json, say, styled
from coevo.errors import CoevoError, ConfigError

if TYPE_CHECKING:
    from coevo.models.external.families import ExternalFamily

_Family = Annotated[str, typer.Argument(help="name of a model family; `coevo env list` has them", metavar="FAMILY")]

env = typer.Typer(
    help="Make, list and check the environments of model families that cannot share coevo's.",
    no_args_is_help=True,
    cls=LiteralGroup,
)
app.add_typer(env, name="env")


def _say_command(line: str) -> None:
    """A command in one line, whatever the width of the terminal: people copy it."""
    say(f"-- {line}")


def _family(name: str) -> ExternalFamily:
    from coevo.models.registry import external_families

    families = external_families()
    if name not in families:
        raise ConfigError(
            f"no family {name!r} with an environment of its own; allowed: {', '.join(families) or 'none installed'}"
        )
    return families[name]


@env.command()
def create(
    family: _Family,
    python: Annotated[str | None, typer.Option(help="interpreter to make it from (default: the one that runs coevo)")] = None,
) -> None:
    """Make a family's virtual environment and install its pinned packages there; run again to complete or update it."""
    from coevo.models.external.building import build_environment

    directory = build_environment(_family(family), python=python, say=_say_command)
    if directory is None:
        say(f"the environment of {family} is complete; nothing to do")
    else:
        say(f"made {directory}; try it: coevo env check {family}")


@env.command("list")
def list_(format: Format = "table") -> None:  # noqa: A002
    """List the families that have an environment of their own, and what is known of it here; runs nothing."""
    from coevo.models.external.checking import condition_of
    from coevo.models.external.environment import file_of
    from coevo.models.registry import external_families

    rows = []
    for name, family in external_families().items():
        try:
            condition, where = condition_of(family)
        except CoevoError as error:
            condition, where = "problem", str(error)
        rows.append({"family": name, "condition": condition, "where": where, "file": str(file_of(name))})
    if format == "json":
        print_json(rows)
        return
    table = Table(title="environments of model families", title_justify="left")
    for title in ("family", "condition", "where", "file that can describe another"):
        table.add_column(title, overflow="fold")
    for row in rows:
        table.add_row(*row.values())
    out.print(table)


@env.command()
def check(family: _Family, format: Format = "table") -> None:  # noqa: A002
    """Run the family's own check: imports and versions, device, weights found; exit code 1 if a package does not import."""
    from coevo.models.external.checking import examine_environment

    found = examine_environment(_family(family))
    if format == "json":
        print_json(asdict(found))
    else:
        table = Table(title=f"environment of {family}", title_justify="left", show_header=False)
        table.add_column(overflow="fold")
        table.add_column(overflow="fold")
        for name, version in found.versions.items():
            table.add_row(name, styled(version[1:].strip(), "red") if version.startswith("!") else version)
        table.add_row("device", found.device)
        for name, place in found.weights.items():
            table.add_row(f"weights {name}", place or styled("not here", "yellow"))
        out.print(table)
    if found.broken:
        raise typer.Exit(1)
