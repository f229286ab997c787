"""``coevo study transport``."""

from __future__ import annotations

import re
from typing import Annotated, Literal

import typer

from coevo.app.commands.study.application import Formula, Limit, ManagerOf, Plan, Submit, Where, study
from coevo.app.terminal import Reference, SiteFile, say
from coevo.errors import ConfigError, QueryError
from coevo.output.plain_text import counted

TRUSTED = '(is_novel = FALSE OR energy_above_hull_dft >= -100 OR audit_verdict = "stable")'
"""Phases that are references (or match one), have a label, or an auditor's word. References are not novel."""
NO_EXCESS = "electron_excess <= 0"


@study.command()
def transport(
    ref: Reference,
    where: Where = None,
    formula: Formula = None,
    mobile: Annotated[str, typer.Option("--mobile", help="element that moves")] = "Li",
    charge: Annotated[float, typer.Option("--charge", help="of a mobile ion, for the conductivity")] = 1.0,
    temperatures: Annotated[str, typer.Option("--temperatures", help="K, with commas")] = "600,800,1000",
    time: Annotated[str, typer.Option("--time", help="of a run: 100ps, 0.5ns", metavar="TIME")] = "100ps",
    first_time: Annotated[
        str,
        typer.Option("--first-time", help="of the first run, at the highest temperature, after which only what moves goes on"),
    ] = "20ps",
    replicas: Annotated[int, typer.Option("--replicas", help="independent runs at each temperature")] = 3,
    length: Annotated[float, typer.Option("--length", help="shortest distance of images in a supercell, Å")] = 10.0,
    max_atoms: Annotated[int, typer.Option("--max-atoms", help="of a supercell; larger ones are left out")] = 400,
    timestep: Annotated[float, typer.Option("--timestep", help="fs; 1 where there is H")] = 2.0,
    batch_atoms: Annotated[int, typer.Option("--batch-atoms", help="atoms that move together; thousands on a GPU")] = 256,
    all_: Annotated[
        bool, typer.Option("--all", help="also phases that nothing but the force field vouches for, or with too many electrons")
    ] = False,
    limit: Limit = 0,
    plan: Plan = False,
    submit: Submit = False,
    site: SiteFile = None,
    manager: ManagerOf = "fireworks",
    format: Annotated[  # noqa: A002
        Literal["table", "json", "csv"], typer.Option("--format", help="table for people, json for programs, csv: its tables")
    ] = "table",
) -> None:
    """Say how fast ions move: molecular dynamics, short and hot first, then longer of what moves and stays whole."""
    from pydantic import ValidationError

    from coevo.app.commands.study.running import study_command
    from coevo.configs.studies.transport import TransportStudy
    from coevo.flows.studies.transport import too_short

    whole, first = picoseconds("--time", time), picoseconds("--first-time", first_time)
    try:
        settings = TransportStudy(
            mobile=mobile,
            charge=charge,
            temperatures=_temperatures(temperatures),
            time=whole,
            first_time=min(first, whole),
            replicas=replicas,
            length=length,
            max_atoms=max_atoms,
            timestep=timestep,
            batch_atoms=batch_atoms,
        )
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        name = "-".join(str(part) for part in problem["loc"][:1]).replace("_", "-")
        text = str(problem["msg"]).removeprefix("Value error, ")
        raise ConfigError(f"--{name}: {text}, got {str(problem['input'])[:80]}" if name else text) from None
    if too_short(settings) and not plan:  # the plan says it itself
        say(too_short(settings))
    asked = where_of(where, mobile)
    if not all_:
        if not submit:
            _say_what_is_left_out(ref, asked, formula)
        asked = f"{asked} AND {NO_EXCESS} AND {TRUSTED}"
    study_command(
        "transport",
        ref,
        settings,
        where=asked,
        formula=formula,
        references=True,
        limit=limit,
        plan=plan,
        submit=submit,
        site=site,
        manager=manager,
        format=format,
    )


def where_of(where: str | None, mobile: str) -> str:
    """The filter with the mobile element, which every phase has."""
    own = f'elements HAS "{mobile}"'
    return f"({where}) AND {own}" if where else own


def picoseconds(option: str, text: str) -> float:
    """Read a time: ``100ps``, ``0.5ns``, ``500fs``.

    Raises
    ------
    ConfigError
        If it is none.
    """
    match = re.fullmatch(r"\s*([0-9.]+(?:e[+-]?[0-9]+)?)\s*(fs|ps|ns)\s*", text)
    try:
        if match is None:
            raise ValueError(text)
        return float(match[1]) * {"fs": 1e-3, "ps": 1.0, "ns": 1e3}[match[2]]
    except ValueError:
        raise ConfigError(f"{option}: got {text!r:.60}, allowed: a number and fs, ps or ns, such as 100ps") from None


def _temperatures(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise ConfigError(f"--temperatures: got {text!r:.60}, allowed: numbers (K) with commas, such as 600,800,1000") from None


def _say_what_is_left_out(ref: str, asked: str, formula: str | None) -> None:
    """Name how many phases the default leaves out, and why."""
    from coevo.campaigns.study_phases import choose_phases
    from coevo.node_store.current import current_store

    view = current_store().state(ref)

    def number(*conditions: str) -> int:
        try:
            return len(choose_phases(view, " AND ".join([asked, *conditions]), formula=formula, references=True).phases)
        except QueryError:
            return 0

    everything = number()
    fitting = number(NO_EXCESS)
    chosen = number(NO_EXCESS, TRUSTED)
    reasons = []
    if everything > fitting:
        reasons.append(f"{everything - fitting} with more electrons than their elements can take, or of which that is not known")
    if fitting > chosen:
        reasons.append(f"{fitting - chosen} that are no known phase, and neither labelled nor called stable by an audit")
    if reasons:
        say(f"left out {counted(everything - chosen, 'phases')}: {'; '.join(reasons)}; --all takes them")
