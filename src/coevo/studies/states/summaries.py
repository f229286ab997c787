"""States as JSON, as ``log`` and ``show`` print them, and where a node stands, as ``status`` does.

Also here: what a node needs next, in one sentence, from the signals of its last state.
"""

from __future__ import annotations

import shlex
from collections import Counter
from typing import TYPE_CHECKING, Any

from coevo.analysis.audit.words import audit_rows
from coevo.configs.references import reference_set_words
from coevo.node_store.recorded import force_field_change, readable
from coevo.node_store.seeds import recorded_seed
from coevo.studies.states.electron_words import excess_rows
from coevo.studies.states.environment_coverage import environment_words, probe_words
from coevo.studies.states.generators import generator_rows, has_generators
from coevo.studies.states.hull_words import check_words, hull_words
from coevo.studies.states.label_scales import (
    has_no_scale,
    label_scale_rows,
    refusal_of,
    refused_scale_rows,
    scale_words,
    teacher_of,
)
from coevo.studies.states.second_opinion import agreement_words, calibration_words, opinion_words, sun_count_words
from coevo.studies.states.signal_rows import signal_rows

if TYPE_CHECKING:
    from collections.abc import Mapping

    from coevo.node_store.store import NodeStore
    from coevo.node_store.views import StateView


def summary(view: StateView) -> dict[str, Any]:
    """Return a state as JSON: id, iteration, parents, counts, metrics, checkpoints, config."""
    document = view.document
    return {
        "id": view.id,
        "node": view.node,
        "iteration": view.iteration,
        "parents": list(view.parents),
        "started_from": view.started_from,
        "message": document["message"],
        "counts": document["counts"],
        "metrics": document["metrics"],
        "checkpoints": document["checkpoints"],
        "force_field": force_field_change(view) if isinstance(document["metrics"].get("force_field"), dict) else None,
        "branch_seed": recorded_seed(view),
        "provenance": document.get("provenance", {}),
    }


def origin_line(view: StateView) -> str:
    """Say what the first state of a node was started from: ``li-p-s@3f9a12bc4d5e, 57 entries, 14 references, 105 labels``."""
    origin, counts = view.started_from or {"node": "", "state": ""}, view.document["counts"]
    held = ", ".join(f"{counts[name]} {name}" for name in ("entries", "references", "labels"))
    return f"{origin['node']}@{origin['state'][:12]}: {held}"


def reference_set_of(document: dict[str, Any]) -> str:
    """Say which references a state has, from its document: ``li-p-s without 3 phases``."""
    name = document["metrics"]["reference_set"]["name"]
    return reference_set_words(name, document["config"].get("references", {}).get("exclude", ()))


_ORDER = (
    "collapse",
    "refuted",
    "unlabelled",
    "few frames",
    "few environments",
    "ceiling",
    "noise",
    "narrowing",
    "not calibrated",
    "few atoms",
    "short",
    "moving",
)
"""What to see to first: what no number of further iterations would mend."""


def run_command(node: str, branch: str = "main", iterations: int | None = None) -> str:
    """Return the command that goes on with a branch, as it can be typed."""
    where = "" if branch == "main" else f" --branch {shlex.quote(branch)}"
    return f"coevo run {node}{where}" + (f" -n {iterations}" if iterations else "")


def next_step(node: str, metrics: Mapping[str, Any], config: Mapping[str, Any], branch: str = "main") -> str:
    """Say what to do next.

    Parameters
    ----------
    node : str
        Name of the node, for the command.
    metrics : mapping
        Of the last state.
    config : mapping
        Configuration of the node, as a document.
    branch : str
        That the state is the head of.

    Returns
    -------
    str
        One sentence.
    """
    maturity = metrics["maturity"]
    if maturity["mature"]:
        where = node if branch == "main" else f"{node}@{branch}"
        use = f"coevo query {where}, coevo report {where}"
        return f"{where} is mature: use it ({use}), extend it by an element, or tighten its tolerances"
    if "iteration" not in metrics and not metrics.get("ruler"):
        return f"no candidate was generated yet: {run_command(node, branch, config['maturity']['patience'] + 1)}"
    if has_no_scale(metrics):
        way_out = (
            "choose another labelling.teacher or labelling.code, or accept the difference (labelling.accept_scale_mismatch: true)"
            if "labelling.accept_scale_mismatch" in refusal_of(metrics)
            else "have more references labelled (labelling.references: all)"
        )
        return (
            f"labels on a scale that the force field can take: none trains, confirms or refutes (see label scale); {way_out}, "
            f"and go on: {run_command(node, branch, 1)}"
        )
    causes = {signal.get("cause"): signal for signal in maturity["signals"] if signal.get("cause")}
    for cause in _ORDER:
        if cause in causes:
            return _sentence(
                cause, causes[cause]["name"], run_command(node, branch, config["maturity"]["patience"] + 1), metrics, config
            )
    return f"go on: {run_command(node, branch, 1)}"


def _sentence(cause: str, signal: str, more: str, metrics: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    settings = config["maturity"]
    frames = sum(((metrics.get("force_field") or {}).get("frames") or {}).values())
    size = min((sample["n"] for sample in (metrics.get("ruler") or {}).values() if "n" in sample), default=0)
    sentences = {
        "refuted": f"{_refuted(metrics)}; then {more}, with more labels (selection.structures)",
        "unlabelled": (
            "phases on the hull got no label that counts: look at what became of their frames (coevo show), and at the offsets "
            f"between the energy scales; then {more}"
        ),
        "collapse": (
            "the generator repeats itself: widen it (a lower generator.variation_fraction or guidance_factor, more "
            "compositions), or branch from a state before the collapse"
        ),
        "narrowing": (
            "look at the formulas of the last candidates (coevo query): fewer than before, because these are the stable ones, or "
            f"because the generator has narrowed; then {more}, or widen it (generator.compositions, a lower variation_fraction)"
        ),
        "few frames": (
            f"more labels: {frames} labelled frames so far, maturity.min_frames is {settings['min_frames']} and "
            f"min_test_frames {settings['min_test_frames']}; {more}, or raise selection.structures"
        ),
        "few environments": (
            f"more entries: they have fewer than the {settings['environments']} environments that an entropy is of; {more}"
        ),
        "few atoms": (
            "more atoms: those of all iterations together are too few to say that hardly any of an element is new (coevo status "
            f"has the numbers), so go on, which adds to them: {more}, or raise generator.candidates as well"
        ),
        "not calibrated": (
            "references that can be shaken: none could be (coevo status has the reasons), so extend the node by small cells of "
            "its elements, or set maturity.environment_signal: entropy"
            if metrics.get("environment_calibration")
            else f"go on, which calibrates the environments: {more}"
        ),
        "ceiling": (
            f"more environments per entropy estimate: {settings['environments']} are nearly all different, so raise "
            f"maturity.environments towards the number that the state has ({_environments(metrics)}), and go on: {more}"
        ),
        "noise": (
            f"a larger ruler: the median of {size} candidates is too uncertain for the tolerance, so raise maturity.ruler_size "
            "(it holds for the iterations to come)"
        ),
        "short": f"more iterations, to see whether the signals settle: {more}",
        "moving": f"more iterations, the {signal} signal still moves: {more}",
    }
    return sentences[cause]


def _refuted(metrics: Mapping[str, Any]) -> str:
    """What to look at where labels refuted what a parent's force field put on the hull; its child may have learned it."""
    if (metrics.get("population") or {}).get("refuted"):
        return 'labels refute phases that the force field puts on the hull: look at them (coevo query: hull_status="refuted")'
    return (
        "labels refuted phases that the force fields of earlier states put on the hull; the force field has learned it, no entry "
        "is refuted any more"
    )


def _environments(metrics: Mapping[str, Any]) -> int | str:
    entropy = metrics.get("entropy")
    return entropy["environments"] if entropy else "unknown"


def _generators(view: StateView) -> list[dict[str, Any]]:
    """Rows of the generators of a mixture over the branch; the states before are read only if there is one."""
    if not has_generators(view):
        return []
    return [row.to_dict() for row in generator_rows([*reversed(list(view.first_parents())), view])]


def studies_line(view: StateView) -> str:
    """Say which studies a state has; empty if it has none."""
    kinds = Counter(study.study for study in view.studies())
    words = ", ".join(f"{number} {kind}" if number > 1 else kind for kind, number in sorted(kinds.items()))
    return f"{words} (coevo study list {view.node})" if words else ""


def node_status(store: NodeStore, name: str) -> dict[str, Any]:
    """Return the status of a node as JSON."""
    node = store.node(name)
    campaigns = [
        campaign.model_dump(include={"id", "branch", "start", "iterations", "status", "created", "ended"})
        for campaign in store.campaigns(name)
    ]
    status: dict[str, Any] = {
        "node": name,
        "elements": list(node.elements),
        "branches": dict(node.branches),
        "campaigns": campaigns,
        "head": None,
    }
    if node.branches.get("main"):
        view = store.state(name)
        with readable(view):
            metrics = view.document["metrics"]
            status["head"] = {
                "id": view.id,
                "iteration": view.iteration,
                "counts": view.document["counts"],
                "population": metrics["population"],
                "reference_set": metrics["reference_set"],
                "references": reference_set_of(view.document),
                "audit": [{"what": name, "words": words} for name, words in audit_rows(metrics)],
                "second_opinion": opinion_words(metrics) if metrics.get("committee") else "",
                "sun": sun_count_words(metrics),
                "electron_excess": "".join(words for _, words in excess_rows(metrics)),
                "agreement": agreement_words(metrics),
                "calibration": calibration_words(metrics),
                "hull": hull_words(view),
                "phases_on_it": check_words(metrics),
                "label_scales": [words for _, words in (*label_scale_rows(view), *refused_scale_rows(view))],
                "scale": scale_words(metrics["population"]),
                "teacher": teacher_of(view.document),
                "environments": environment_words(metrics),
                "environments_of_a_probe": probe_words(store.backend, [view, *view.first_parents()]),
                "generators": _generators(view),
                "studies": studies_line(view),
                "maturity": metrics["maturity"],
                "ln_n": metrics["entropy"]["ln_n"] if metrics["entropy"] else None,
                "signals": [row.to_dict() for row in signal_rows(view)],
                "next": next_step(name, metrics, view.document["config"]),
            }
    return status
