"""Studies beside a state, where its view knows of any."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from coevo.node_store.views import StateView

_MOST = 40
_LONGEST = 600


def study_blocks(view: StateView) -> list[dict[str, Any]]:
    """Return name, settings and command of each study of a state.

    Parameters
    ----------
    view : StateView
        Its method ``studies()``, if it has one, lists documents with ``study`` and ``settings``.
    """
    listed = getattr(view, "studies", None)
    if listed is None:
        return []
    return [_block(view, document) for document in list(listed())[:_MOST] if isinstance(document, dict)]


def _block(view: StateView, document: dict[str, Any]) -> dict[str, Any]:
    name = str(document.get("study", ""))
    settings = json.dumps(document.get("settings", {}), sort_keys=True, default=str)
    return {
        "name": name,
        "settings": settings if len(settings) <= _LONGEST else settings[:_LONGEST] + "…",
        "entries": len(document.get("entries") or {}),
        "command": f"coevo study show {view.node}@{view.id[:16]}",
    }
