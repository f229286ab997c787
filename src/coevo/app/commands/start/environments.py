"""Commands of the environments of model families: ``env create``, ``env list``, ``env check``."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from coevo.app.help_groups import LiteralGroup
from coevo.app.terminal import Format, app, out, print_json, say, styled
from coevo.errors import CoevoError, ConfigError

if TYPE_CHECKING:
    from coevo.families import Checkout
    from coevo.models.external.checking import FoundCheckout
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
    checkout: Annotated[
        list[str] | None,
        typer.Option(help="a checkout that the family runs from; NAME=PATH where it runs from several", metavar="PATH"),
    ] = None,
    clone: Annotated[bool, typer.Option("--clone", help="fetch the checkouts that are not here, at the commit tested")] = False,
    any_commit: Annotated[
        bool,
        typer.Option("--any-commit", help="take the --checkout at a commit that was not tested, with changes, or without git"),
    ] = False,
    accept_licence: Annotated[
        bool, typer.Option("--accept-licence", help="agree to the licences that want consent (in a script)")
    ] = False,
) -> None:
    """Make a family's virtual environment and install its pinned packages there; run again to complete or update it.

    Of a family that runs from a checkout it records where that is, and your consent where the licence wants one.
    """
    from coevo.models.external.building import build_environment
    from coevo.models.external.checkouts import has_consent
    from coevo.models.external.environment import is_described
    from coevo.models.external.obtaining import named_paths, obtain_checkouts

    external = _family(family)
    paths = named_paths(external, checkout or [])
    if any_commit and not paths:
        raise ConfigError("--any-commit: says what a --checkout may be, and none is given; leave it away or give one")
    if clone and not external.checkouts:
        raise ConfigError(f"--clone: {family} runs from no checkout; leave the option away")
    asks = not all(has_consent(external, one) for one in external.checkouts)
    here = obtain_checkouts(
        external,
        paths,
        clone=clone,
        any_commit=any_commit,
        agree=lambda one: accept_licence or _agrees(one),
        today=datetime.now(UTC).date().isoformat(),
        say=say,
    )
    if external.checkouts and is_described(external):
        directory = None
        say(f"the Python of {family} is described in a file, so none is made")
    else:
        directory = build_environment(external, python=python, say=_say_command)
    if directory is not None:
        say(f"made {directory}; try it: coevo env check {family}")
    elif not (paths or clone or asks):
        say(f"the environment of {family} is complete; nothing to do")
    else:
        say(f"recorded; try it: coevo env check {family}")
    _say_what_lacks(external, {found.name for found in here})


def _say_what_lacks(family: ExternalFamily, here: set[str]) -> None:
    lacking = [checkout.name for checkout in family.checkouts if checkout.name not in here]
    if lacking:
        path = "NAME=PATH" if len(family.checkouts) > 1 else "PATH"
        say(
            f"{family.name} cannot run yet: no checkout of {', '.join(lacking)}; name it: coevo env create {family.name} "
            f"--checkout {path}, or fetch it: --clone"
        )


def _agrees(checkout: Checkout) -> bool:
    say(f"the licence of {checkout.name} is {checkout.licence}: read it at {checkout.repository}")
    try:
        return typer.confirm(f"Do you agree to use {checkout.name} under {checkout.licence} only?", err=True)
    except typer.Abort:  # nobody is there to answer
        return False


@env.command("list")
def list_(format: Format = "table") -> None:  # noqa: A002
    """List the families that have an environment of their own, and what is known of it here; runs nothing of them.

    With the checkouts that they run from, and where published weights are looked for.
    """
    from coevo.models.external.checking import condition_of, looked_at
    from coevo.models.external.environment import file_of
    from coevo.models.registry import external_descriptors

    rows: list[dict[str, str]] = []
    checkouts: dict[str, list[FoundCheckout]] = {}
    weights: dict[str, tuple[str, ...]] = {}
    for descriptor in external_descriptors():
        name, family = descriptor.name, descriptor.environment
        assert family is not None
        try:
            condition, where = condition_of(family)
            checkouts[name] = looked_at(family)
        except CoevoError as error:
            condition, where = "problem", str(error)
        weights[name] = descriptor.places_of_weights()
        rows.append({"family": name, "condition": condition, "where": where, "file": str(file_of(name))})
    if format == "json":
        found = {name: [asdict(one) for one in checkouts.get(name, [])] for name in weights}
        print_json([{**row, "checkouts": found[row["family"]], "weights": [*weights[row["family"]]]} for row in rows])
        return
    table = Table(title="environments of model families", title_justify="left")
    for title in ("family", "condition", "where", "file that can describe another"):
        table.add_column(title, overflow="fold")
    for row in rows:
        table.add_row(*row.values())
    out.print(table)
    if any(checkouts.values()):
        out.print(_checkouts_table(checkouts))
    table = Table(title="where published weights are looked for", title_justify="left")
    for title in ("family", "place"):
        table.add_column(title, overflow="fold")
    for name, places in weights.items():
        for place in places:
            table.add_row(name, place)
    out.print(table)


def _checkouts_table(checkouts: dict[str, list[FoundCheckout]]) -> Table:
    table = Table(title="checkouts that they run from", title_justify="left")
    for title in ("family", "checkout", "licence", "where", "commit"):
        table.add_column(title, overflow="fold")
    for name, found in checkouts.items():
        for one in found:
            where = f"{one.path} ({one.named_by})" if one.path else ""
            table.add_row(name, one.name, one.licence, where, styled(one.problem, "yellow") if one.problem else one.commit)
    return table


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
        for name, place in found.checkouts.items():
            table.add_row(f"checkout {name}", place)
        for name, stand_in in found.stand_ins.items():
            table.add_row(f"in place of {name}", stand_in)
        for name, weights in found.weights.items():
            table.add_row(f"weights {name}", weights or styled("not here", "yellow"))
        out.print(table)
    if found.broken:
        raise typer.Exit(1)
