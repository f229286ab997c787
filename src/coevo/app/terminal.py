"""What all commands share: the application, the two consoles, and the arguments that many of them have.

Whatever a command prints goes through one of the consoles or :func:`print_document`, where text is text: markup is not
interpreted, and characters that act on a terminal are written out (:mod:`coevo.output.plain_text`). Colours are given as styles.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console
from rich.segment import Segment
from rich.text import Text

from coevo.app.help_groups import GroupedCommands
from coevo.errors import CoevoError
from coevo.output.plain_text import json_text, plain, plain_lines

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import ConsoleOptions, RenderableType


def node_names(incomplete: str) -> list[str]:
    """Return the names of nodes that begin with what is typed; none of a server's, which might keep the shell waiting."""
    from coevo.node_store.directory.database import EmbeddedBackend
    from coevo.settings import read_settings

    try:
        settings = read_settings()
        names = EmbeddedBackend(settings.directory).node_names() if settings.is_embedded else []
    except (CoevoError, OSError):  # the command itself will say it
        return []
    return [name for name in names if name.startswith(incomplete)]


class PlainConsole(Console):
    """A console on which nobody's text is more than text, neither as a string nor in a table; options as for rich's Console."""

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """Turn a string into one line of text; rich asks for it for all that is printed, cells and titles of tables too."""
        return super().render_str(plain(text), **{**options, "markup": False, "emoji": False, "highlight": False})

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Render an object; what reaches the terminal by another way than a string is written out here at the latest."""
        for segment in super().render(renderable, options):
            if segment.control:  # rich's own, which moves the cursor under progress bars
                yield segment
            else:
                yield Segment(plain_lines(segment.text), segment.style)


app = typer.Typer(
    name="coevo",
    help="A materials database whose structures, labels, generator and force field coevolve.",
    cls=GroupedCommands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
out = PlainConsole()
err = PlainConsole(stderr=True)

Format = Annotated[Literal["table", "json"], typer.Option("--format", help="table for people, json for programs")]
Reference = Annotated[
    str,
    typer.Argument(help="node, node@branch, node@branch~n or node@<id prefix>", metavar="REF", autocompletion=node_names),
]
NodeName = Annotated[str, typer.Argument(help="name of a node", metavar="NODE", autocompletion=node_names)]
SiteFile = Annotated[
    str | None, typer.Option("--site", help="file of the site (default: COEVO_SITE, else ./site.yaml)", metavar="FILE")
]
Force = Annotated[bool, typer.Option("--force", help="replace what is there")]


def styled(text: str, style: str) -> Text:
    """Return a text in a style of rich, such as ``red``, for a line or a cell."""
    return Text(plain(text), style=style)


def say(line: str) -> None:
    """Print a line for people, on standard error; not broken into lines, so that paths and commands in it can be copied."""
    err.print(line, soft_wrap=True)


def print_lines(lines: Iterable[str]) -> None:
    """Print lines on standard output, as long as they are."""
    for line in lines:
        out.print(line, soft_wrap=True)


def print_json(document: Any) -> None:
    """Print a document for programs, on standard output."""
    sys.stdout.write(json_text(document))


def print_document(text: str) -> None:
    """Print a text that is a file's content, such as CSV, on standard output."""
    sys.stdout.write(plain_lines(text))


def print_log(text: str) -> None:
    """Print what a program wrote, on standard output; lines that it drew over one another come one after the other."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").expandtabs()
    print_document(lines if lines.endswith("\n") else lines + "\n")
    sys.stdout.flush()
