"""What a state records of its force field where it matters: its errors on the held-out set, and how stiff it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coevo.errors import CheckpointError
from coevo.makers.checkpoints import load_force_field
from coevo.makers.signals.held_out import held_out_errors, held_out_for, model_line
from coevo.makers.signals.stiffness import stiffness_metrics
from coevo.makers.step import read_records

if TYPE_CHECKING:
    from collections.abc import Sequence

    from coevo.configs.tree import MaturityConfig
    from coevo.makers.outputs import MeasuredModel
    from coevo.makers.signals.held_out import HeldOut
    from coevo.node_store.store import NodeStore
    from coevo.node_store.views import StateView

    Document = dict[str, Any]

MOST_BEFORE = 20
"""Earlier force fields that the state which fixes a held-out set evaluates on it."""


def model_metrics(
    store: NodeStore, node: str, model: MeasuredModel, maturity: MaturityConfig, iteration: int, workers: int
) -> Document:
    """Return the metrics of a force field.

    Parameters
    ----------
    store : NodeStore
    node : str
        Name of the node.
    model : MeasuredModel
    maturity : MaturityConfig
    iteration : int
        Of the state.
    workers : int

    Returns
    -------
    dict
        ``held_out``, where there is such a set, and ``stiffness``, where it is asked for.
    """
    from coevo.makers.populations.population import open_state

    parents = [open_state(store, node, parent) for parent in model.get("parents", ())]
    labels = _labels(store, model, parents)
    offsets = model.get("offsets") or {}
    held_out = held_out_for(parents[0] if parents else None, labels, offsets, iteration, model.get("held_out"))
    if held_out is not None and held_out.labels[0]["settings_digest"] not in offsets:
        held_out = None
    metrics: Document = {}
    if held_out is None and not maturity.stiffness:
        return metrics
    force_field = load_force_field(store, model["force_field"])
    if held_out is not None:
        metrics["held_out"] = {
            **held_out.to_dict(),
            "errors": held_out_errors(force_field, held_out, offsets, workers),
        }
        if held_out.is_new and parents:
            metrics["held_out"]["before"] = _before(store, model, parents[0], held_out, offsets, workers)
    if maturity.stiffness:
        references = _references(store, model, parents)
        metrics["stiffness"] = stiffness_metrics(references, labels, force_field, maturity.stiffness, workers)
    return metrics


def _before(
    store: NodeStore,
    model: MeasuredModel,
    parent: StateView,
    held_out: HeldOut,
    offsets: Document,
    workers: int,
) -> list[Document]:
    """Errors of the force fields that led to this one, newest first, each once; those that cannot be loaded here are left out."""
    seen = {model["force_field"]["sha256"]}
    rows: list[Document] = []
    for state in model_line(parent):
        checkpoint = state.document["checkpoints"]["force_field"]
        if checkpoint["sha256"] in seen or len(rows) == MOST_BEFORE:
            continue
        seen.add(checkpoint["sha256"])
        try:
            force_field = load_force_field(store, checkpoint)
        except CheckpointError:  # a thin bundle left it out, or it is not trusted
            continue
        rows.append({"model": checkpoint["sha256"], "errors": held_out_errors(force_field, held_out, offsets, workers)})
    return rows


def _labels(store: NodeStore, model: MeasuredModel, parents: Sequence[StateView]) -> list[Document]:
    """Label documents of the state, with their splits, in the order of ids."""
    found: dict[str, Document] = {}
    for view in parents:
        for label in view.labels():
            found.setdefault(label["_id"], label)
    for label in read_records(store, model.get("labels") or []):
        found.setdefault(label["_id"], label)
    if model.get("splits") is None:
        return [found[identifier] for identifier in sorted(found)]
    splits = {row["id"]: row["split"] for row in read_records(store, model["splits"])}
    return [{**found[identifier], "split": splits[identifier]} for identifier in sorted(found) if identifier in splits]


def _references(store: NodeStore, model: MeasuredModel, parents: Sequence[StateView]) -> list[Document]:
    found = {document["_id"]: document for view in parents for document in view.references()}
    found |= {document["_id"]: document for document in read_records(store, model.get("references") or [])}
    return [found[identifier] for identifier in sorted(found)]
