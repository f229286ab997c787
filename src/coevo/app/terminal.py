"""What all commands share: the application, the two consoles, and the arguments that many of them have."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any, Literal

import typer
from rich.console import Console

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
SiteFile = Annotated[
    str | None, typer.Option("--site", help="file of the site (default: COEVO_SITE, else ./site.yaml)", metavar="FILE")
]


def say(line: str) -> None:
    """Print a line for people, on standard error; not broken into lines, so that paths and commands in it can be copied."""
    err.print(line, highlight=False, markup=False, soft_wrap=True)


def print_json(document: Any) -> None:
    """Print a document for programs, on standard output."""
    sys.stdout.write(json.dumps(document, indent=2, allow_nan=False) + "\n")
