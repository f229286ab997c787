"""The group ``coevo study``; each kind of study adds its command."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from coevo.app.help_groups import LiteralGroup
from coevo.app.terminal import app

study = typer.Typer(
    help="Ask something of a state that its force field can answer; the answer is kept beside the state, which stays as it is.",
    no_args_is_help=True,
    cls=LiteralGroup,
)
app.add_typer(study, name="study")

Where = Annotated[
    str | None,
    typer.Argument(help='OPTIMADE filter: which phases, e.g. energy_above_hull < 0.03 AND elements HAS "P"', metavar="FILTER"),
]
Formula = Annotated[str | None, typer.Option("--formula", help="only polymorphs of this composition", metavar="FORMULA")]
References = Annotated[bool, typer.Option("--references", help="known phases as well, and not entries alone")]
Limit = Annotated[int, typer.Option("--limit", min=0, help="phases, at most, the most stable first; 0: all", metavar="N")]
Plan = Annotated[bool, typer.Option("--plan", help="only say what it would cost")]
Submit = Annotated[
    bool, typer.Option("--submit", help="add it to the queue of a site, as `coevo submit` does, and compute nothing here")
]
ManagerOf = Annotated[Literal["fireworks", "jobflow-remote"], typer.Option("--manager", help="with --submit: what runs the jobs")]
