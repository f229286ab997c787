"""Help texts as they are written: a bracket in one is a bracket, not markup."""

from __future__ import annotations

import inspect
from typing import Any

import typer.core
from rich.markup import escape


class LiteralGroup(typer.core.TyperGroup):
    """A group of commands whose help texts, and those of its commands and their options, are shown literally.

    Typer hands them to rich, which would read ``[on]`` as the name of a style and leave it out.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        _write_literally(self)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a command, with its texts escaped when it is asked for the first time."""
        command = super().get_command(ctx, cmd_name)
        if command is not None:
            _write_literally(command)
        return command


def _write_literally(command: Any) -> None:
    is_rich = getattr(command, "rich_markup_mode", None) == "rich" and typer.core.HAS_RICH
    if getattr(command, "is_literal", False) or not is_rich:
        return
    command.is_literal = True
    for holder in (command, *command.params):
        for name in ("help", "short_help", "epilog"):
            text = getattr(holder, name, None)
            if text:
                setattr(holder, name, escape(inspect.cleandoc(text)))
