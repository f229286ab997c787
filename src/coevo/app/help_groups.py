"""Help texts as they are written, and the groups in which ``coevo --help`` lists the commands, the most used first."""

from __future__ import annotations

import inspect
from typing import Any

import typer.core
from rich.markup import escape
from typing_extensions import override


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


GROUPS: dict[str, tuple[str, ...]] = {
    "Start": ("init", "run", "status", "references", "doctor", "env"),
    "Look": ("show", "query", "log", "report", "serve", "analyse", "motifs", "rediscover", "completeness", "study"),
    "Lineage": ("branch", "merge", "extend", "diff", "export", "import", "trust"),
    "Labels": ("label", "add"),
    "Cluster": ("submit", "launch", "jobs", "logs", "rerun", "pause", "resume", "cancel", "site"),
    "Upkeep": ("verify", "gc", "migrate"),
}
"""Title of a group to its commands; a command that is in none comes after all others, under a title of its own."""

_NO_GROUP = "Others"


class GroupedCommands(LiteralGroup):
    """The commands of the application, in the order and under the titles of :data:`GROUPS`."""

    @override
    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of all commands, group by group."""
        grouped = [name for names in GROUPS.values() for name in names if name in self.commands]
        return grouped + sorted(set(self.commands) - set(grouped))

    @override
    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a command, with the title of its group."""
        command = super().get_command(ctx, cmd_name)
        if command is not None:
            command.rich_help_panel = next((title for title, names in GROUPS.items() if cmd_name in names), _NO_GROUP)
        return command
