"""What a shell offers for an argument when Tab is pressed."""

from __future__ import annotations

from coevo.errors import CoevoError


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
