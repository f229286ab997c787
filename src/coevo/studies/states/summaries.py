"""Summaries of states: the JSON that ``log`` and ``show`` print, and words that several tables and the report use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coevo.configs.references import reference_set_words
from coevo.node_store.branch_seeds import recorded_seed
from coevo.node_store.recorded import force_field_change

if TYPE_CHECKING:
    from coevo.node_store.views import StateView


def summary(view: StateView) -> dict[str, Any]:
    """Return a state as JSON: id, iteration, parents, counts, metrics, checkpoints, config."""
    document = view.document
    return {
        "id": view.id,
        "node": view.node,
        "iteration": view.iteration,
        "parents": list(view.parents),
        "message": document["message"],
        "counts": document["counts"],
        "metrics": document["metrics"],
        "checkpoints": document["checkpoints"],
        "force_field": force_field_change(view) if isinstance(document["metrics"].get("force_field"), dict) else None,
        "branch_seed": recorded_seed(view),
        "provenance": document.get("provenance", {}),
    }


def reference_set_of(document: dict[str, Any]) -> str:
    """Say which references a state has, from its document: ``li-p-s without 3 phases``."""
    name = document["metrics"]["reference_set"]["name"]
    return reference_set_words(name, document["config"].get("references", {}).get("exclude", ()))
