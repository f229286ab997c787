"""How well a node's labels and its force field fit together, what hangs on a correction, and which teacher labels: in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coevo.analysis.hull.energy_scale import Offsets
from coevo.analysis.hull.scale_mismatch import largest_first, offsets_words
from coevo.labelling.registry import teacher_line

if TYPE_CHECKING:
    from collections.abc import Mapping

    from coevo.node_store.views import StateView


def label_scale_rows(view: StateView) -> list[tuple[str, str]]:
    """Return a row for each digest of label settings whose energies are joined with those of the force field."""
    stored = view.manifest["offsets"] or {}
    accepted = bool((view.document["config"].get("labelling") or {}).get("accept_scale_mismatch"))
    return [
        ("label scale", f"settings {digest[:8]}: {offsets_words(Offsets.from_dict(document), accepted=accepted)}")
        for digest, document in sorted(stored.items())
    ]


def refused_scale_rows(view: StateView) -> list[tuple[str, str]]:
    """Return a row that says why labels of a state are on no usable scale; none where all are.

    The newest fit says it. Where no label is of any use, that may have been the fit of an earlier state.
    """
    states = [view] if view.manifest["offsets"] or not view.document["counts"].get("labels") else [view, *view.first_parents()]
    refusals = (refusal_of(state.document["metrics"]) for state in states)
    refusal = next(filter(None, refusals), "")
    return [("label scale", f"refused: {refusal}")] if refusal else []


def refusal_of(metrics: Mapping[str, Any]) -> str:
    """Say why labels that a fit was given are on no scale that it can use; empty where all were, and where nothing was fitted."""
    return str((metrics.get("force_field") or {}).get("warning") or "")


def has_no_scale(metrics: Mapping[str, Any]) -> bool:
    """Whether none of the labels that a state's fit was given is on a scale that it can use."""
    return bool(refusal_of(metrics)) and not (metrics["force_field"].get("frames"))


def residuals_of(view: StateView) -> list[tuple[str, str, str, float]]:
    """What the offsets leave of each reference: settings digest, id, formula, eV/atom; the largest of each digest first.

    Nothing of offsets that had no more references than constants: they leave nothing, whatever the labels are.
    """
    rows = []
    for digest, document in sorted((view.manifest["offsets"] or {}).items()):
        offsets = Offsets.from_dict(document)
        found = largest_first(offsets.residuals) if offsets.is_tested else []
        rows += [(digest, residual.reference, residual.formula, residual.value) for residual in found]
    return rows


def scale_words(population: Mapping[str, Any]) -> str:
    """Say how many stable entries hang on the anion correction, from the counts of a state; empty where this was not asked."""
    marked, by_correction = (population.get(name) for name in ("stable_scale_sensitive", "stable_by_correction"))
    if marked is None:
        return ""
    return (
        f"stable entries with bonds between anions that the MP2020 correction acts on (S-S, O-O): {marked}; stable by the "
        f"correction alone: {by_correction}"
    )


def teacher_of(document: Mapping[str, Any]) -> str:
    """Name the teacher that labels, by the configuration of a state's document; empty where a labelling code does."""
    labelling = document["config"].get("labelling")
    return teacher_line(labelling) if isinstance(labelling, dict) else ""
