"""Studies beside a state, where its view knows of any: what they are, and what they say of entries."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from coevo.node_store.views import StateView

_MOST = 40
_LONGEST = 600


def study_blocks(view: StateView) -> list[dict[str, Any]]:
    """Return name, id, phases, settings and command of each study of a state, the newest first.

    Parameters
    ----------
    view : StateView
        Its method ``studies()``, if it has one, lists studies, the oldest first: with ``id`` and ``document``, whose keys are
        ``study``, ``settings`` and ``phases``.
    """
    listed = getattr(view, "studies", None)
    return [] if listed is None else [_block(view, study) for study in list(listed())[::-1][:_MOST]]


def with_studies(view: StateView, rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return evaluations with what studies say of them, where the view knows of studies."""
    joined = getattr(view, "with_studied", None)
    return list(rows) if joined is None else list(joined(rows))


def _block(view: StateView, study: Any) -> dict[str, Any]:
    document = study.document
    settings = json.dumps(document.get("settings", {}), sort_keys=True, default=str)
    return {
        "name": str(document.get("study", "")),
        "phases": len(document.get("phases") or ()),
        "settings": settings if len(settings) <= _LONGEST else settings[:_LONGEST] + "…",
        "command": f"coevo study show {view.node}@{view.id[:16]} {study.id[:16]}",
    }
