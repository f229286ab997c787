"""How long the steps of a node's last iteration took, per item: what a plan of the next ones rests on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coevo.node_store.recorded import GENERATOR_STEPS, generator_seconds, step_seconds

if TYPE_CHECKING:
    from collections.abc import Mapping

    from coevo.node_store.views import StateView


def measured_rates(head: StateView) -> dict[str, float] | None:
    """Seconds per item of the node's last iteration on this node's machine, or None when it has none yet."""
    metrics = head.document["metrics"]
    seconds = step_seconds(head)
    if "iteration" not in metrics:
        return None
    counts, force_field = metrics["iteration"], metrics["force_field"]
    frames = sum(metrics["labels"]["status"].values())
    trained = force_field.get("fit", {}).get("epochs_run", 0) * force_field.get("frames", {}).get("train", 0)
    population = metrics["population"]
    items = {
        "generate": counts.get("drawn", counts["candidates"]),
        "race": counts.get("drawn", 0),
        "screen": counts["candidates"],
        "label": frames,
        "train-force-field": trained,
        "train-generator": _fitted(metrics["generator"]["report"]),
        "re-evaluate": population["entries"] + population["references"],
        "assess": population["entries"],
        "measure": population["entries"],
        **_measured_members(metrics, trained),
        **_measured_audit(metrics, head.parent()),
        **_measured_generators(metrics),
    }
    if metrics.get("generators"):  # what all families took together is the rate of none, should the mixture have been given up
        items = {step: n for step, n in items.items() if step not in GENERATOR_STEPS}
    for family, spent in generator_seconds(head).items():
        seconds |= {f"{step}/{family}": each for step, each in spent.items()}
    return {step: seconds[step] / n for step, n in items.items() if n and step in seconds}


def _fitted(report: Mapping[str, Any]) -> int:
    """Examples times epochs of a generator's fit; 0 where its report does not say."""
    return report["training"] * report["epochs_run"] if {"training", "epochs_run"} <= report.keys() else 0


def _drawn(counts: Mapping[str, Any]) -> int:
    """Draws of a generator: its candidates, and what a race left out of them."""
    return counts["candidates"] + counts.get("rejected_by_generator", {}).get("raced_out", 0)


def _measured_generators(metrics: Mapping[str, Any]) -> dict[str, int]:
    """Items of the steps of each generator of a mixture; empty of a node with one."""
    drawn = metrics["iteration"].get("generators") or {}
    fitted = metrics.get("generators") or {}
    return {
        **{f"generate/{family}": _drawn(counts) for family, counts in drawn.items()},
        **{f"train-generator/{family}": _fitted(told["report"]) for family, told in fitted.items()},
    }


def _measured_members(metrics: Mapping[str, Any], trained: int) -> dict[str, int]:
    """Items of the steps of a second opinion; empty without one."""
    told = metrics.get("committee")
    if not told:
        return {}
    population = metrics["population"]
    own = sum(1 for member in told["members"].values() if member["weights"] is None)
    speaking = sum(1 for member in told["members"].values() if not member["reason"])
    frames = sum(metrics.get("labels", {}).get("status", {}).values())
    return {
        "train-member": trained * own,
        "re-evaluate-member": (population["entries"] + population["references"]) * speaking,
        "calibrate": frames * (1 + speaking) if told["calibration"] else 0,
    }


def _measured_audit(metrics: Mapping[str, Any], parent: StateView | None) -> dict[str, int]:
    """Items of the steps of an audit, with the references that the first one looks at; empty without one."""
    told = metrics.get("audit")
    if not told:
        return {}
    is_first = parent is None or not parent.document["metrics"].get("audit")
    first = told["references"]["asked"] if is_first else 0
    step = "audit-label" if told["auditor"]["kind"] == "first_principles" else "audit"
    return {step: told["new"] + first, "judge-audit": metrics["population"]["entries"]}
