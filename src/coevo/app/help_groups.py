"""The groups in which ``coevo --help`` lists the commands, the most used first."""

from __future__ import annotations

from typing import Any

from typing_extensions import override

from coevo.app.literal_help import LiteralGroup

GROUPS: dict[str, tuple[str, ...]] = {
    "Start": ("init", "run", "status", "doctor", "env"),
    "Look": ("show", "query", "log", "report", "analyse", "motifs", "rediscover"),
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
