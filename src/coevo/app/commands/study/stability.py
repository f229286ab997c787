"""``coevo study phonons`` and ``coevo study stability``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import typer

from coevo.app.commands.study.application import Formula, Limit, ManagerOf, Plan, References, Submit, Where, study
from coevo.app.terminal import Reference, SiteFile, say
from coevo.errors import ConfigError

if TYPE_CHECKING:
    from coevo.configs.section import Section

Displacement = Annotated[float, typer.Option("--displacement", help="of an atom, Å; at 0.01 learned force fields are rough")]
Length = Annotated[float, typer.Option("--length", help="shortest distance of images in a supercell, Å")]
Plot = Annotated[Path | None, typer.Option("--plot", help="also draw it into this file (PNG, SVG, PDF)", metavar="FILE")]
Shown = Annotated[
    Literal["table", "json", "csv"], typer.Option("--format", help="table for people, json for programs, csv: its tables")
]
MOST_VALUES = 200
Settings = TypeVar("Settings", bound="Section")


@study.command()
def phonons(
    ref: Reference,
    where: Where = None,
    formula: Formula = None,
    references: References = False,
    limit: Limit = 0,
    follow: Annotated[int, typer.Option("--follow", help="unstable modes to follow to a lower crystal")] = 0,
    displacement: Displacement = 0.1,
    length: Length = 10.0,
    plan: Plan = False,
    submit: Submit = False,
    site: SiteFile = None,
    manager: ManagerOf = "fireworks",
    format: Shown = "table",  # noqa: A002
) -> None:
    """Say which phases are dynamically stable at their relaxed cells: the filter after stable, unique and novel."""
    from coevo.app.commands.study.running import study_command
    from coevo.configs.studies.phonons import PhononStudy

    settings = checked(PhononStudy, {"follow": follow, "displacement": displacement, "length": length})
    study_command(
        "phonons",
        ref,
        settings,
        where=where,
        formula=formula,
        references=references,
        limit=limit,
        plan=plan,
        submit=submit,
        site=site,
        manager=manager,
        format=format,
    )


@study.command()
def stability(
    ref: Reference,
    where: Where = None,
    formula: Annotated[
        str | None, typer.Option("--formula", help="only polymorphs of this composition, without a hull", metavar="FORMULA")
    ] = None,
    temperatures: Annotated[str, typer.Option("--temperatures", help="K: 0:900:50 (first:last:step), or 300,600")] = "0:900:100",
    pressures: Annotated[str, typer.Option("--pressures", help="GPa, written as temperatures are")] = "0",
    near: Annotated[float, typer.Option("--near", help="phases up to so far above the state's hull, eV/atom")] = 0.05,
    limit: Limit = 0,
    follow: Annotated[int, typer.Option("--follow", help="unstable modes that are followed, one after the other")] = 3,
    displacement: Displacement = 0.1,
    length: Length = 10.0,
    plot: Plot = None,
    plan: Plan = False,
    submit: Submit = False,
    site: SiteFile = None,
    manager: ManagerOf = "fireworks",
    format: Shown = "table",  # noqa: A002
) -> None:
    """Say what is stable at temperature and pressure: quasi-harmonic free energies of the phases near the hull."""
    from coevo.app.commands.study.running import study_command
    from coevo.configs.studies.stability import StabilityStudy
    from coevo.report.figures.stability import draw_stability, require_drawing

    settings = checked(
        StabilityStudy,
        {
            "temperatures": values("--temperatures", temperatures),
            "pressures": values("--pressures", pressures),
            "near": near,
            "formula": formula or "",
            "follow": follow,
            "displacement": displacement,
            "length": length,
        },
    )
    if plot is not None:
        require_drawing(plot)
    limited = f"energy_above_hull <= {near!r}"
    found = study_command(
        "stability",
        ref,
        settings,
        where=f"({where}) AND {limited}" if where else limited,
        formula=formula,
        references=True,
        limit=limit,
        plan=plan,
        submit=submit,
        site=site,
        manager=manager,
        format=format,
    )
    if plot is not None and found is not None:
        draw_stability(found.document, plot)
        say(f"drawn: {plot}")


def checked(settings: type[Settings], given: dict[str, Any]) -> Settings:
    """Return the settings of a study of what was given on the command line.

    Raises
    ------
    ConfigError
        With the option, what was given and what is allowed.
    """
    from pydantic import ValidationError

    try:
        return settings(**given)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        name = str(problem["loc"][0]) if problem["loc"] else ""
        text = str(problem["msg"]).removeprefix("Value error, ")
        raise ConfigError(f"--{name}: {text}, got {str(problem['input'])[:80]}" if name else text) from None


def values(option: str, text: str) -> tuple[float, ...]:
    """Read numbers as the command line has them: ``0:900:50``, the last one within, or ``300,600``.

    Raises
    ------
    ConfigError
        If it is neither, or has more than 200 numbers.
    """
    try:
        if ":" in text:
            first, last, step = (float(part) for part in text.split(":"))
            count = round((last - first) / step, 9) if step > 0 else -1.0
            if not 0 <= count < MOST_VALUES:
                raise ValueError(text)
            return tuple(round(first + step * number, 9) for number in range(int(count) + 1))
        found = tuple(float(part) for part in text.split(","))
    except (ValueError, OverflowError):
        raise ConfigError(
            f"{option}: got {text!r:.80}, allowed: first:last:step with a step above 0, or numbers with commas; at most "
            f"{MOST_VALUES}"
        ) from None
    return found
