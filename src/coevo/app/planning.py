"""What a campaign will take, before it starts: jobs, time and disk, re-evaluation included."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import ceil
from typing import TYPE_CHECKING, Any

from rich.table import Table

from coevo.app.state_summaries import step_seconds

if TYPE_CHECKING:
    from coevo.configs.tree import NodeConfig
    from coevo.node_store.views import StateView

DEFAULT_CORE_SECONDS = {
    "generate": 0.15,
    "screen": 0.6,
    "label": 0.03,
    "train-force-field": 0.05,
    "re-evaluate": 0.2,
    "measure": 0.01,
}
"""Core-seconds per candidate, candidate, frame, frame and epoch, structure, structure, for cells of about 12 atoms on one core
(docs/benchmarks.md); used until the node has an iteration of its own to measure."""

FAMILY_SECONDS = {"mattergen": {"generate": 7.2}}
"""What differs by the generator's family: MatterGen takes about 2 h for 1,000 structures on a V100 (its README)."""

BYTES_PER_STRUCTURE = 4_000
BYTES_PER_CHECKPOINT = 1_700_000


@dataclass(frozen=True)
class PlannedStep:
    """One line of a plan.

    Attributes
    ----------
    iteration : int
    step : str
    jobs : int
    items : int
        Structures, frames or epochs.
    seconds : float
        Expected, on the workers at hand.
    megabytes : float
        Expected to be written.
    """

    iteration: int
    step: str
    jobs: int
    items: int
    seconds: float
    megabytes: float


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
        "generate": counts["candidates"],
        "screen": counts["candidates"],
        "label": frames,
        "train-force-field": trained,
        "re-evaluate": population["entries"] + population["references"],
        "measure": population["entries"],
    }
    return {step: seconds[step] / n for step, n in items.items() if n and step in seconds}


def plan(config: NodeConfig, head: StateView, iterations: int, workers: int) -> list[PlannedStep]:
    """Plan a campaign.

    Parameters
    ----------
    config : NodeConfig
    head : StateView
        State that the campaign starts from.
    iterations, workers : int
    """
    measured = measured_rates(head) or {}
    default = DEFAULT_CORE_SECONDS | FAMILY_SECONDS.get(config.generator.family, {})
    serial = {"generate", "train-force-field", "measure"}
    metrics = head.document["metrics"]
    population = metrics["population"]["entries"] + metrics["population"]["references"]
    admitted = metrics["iteration"]["admitted"] / metrics["iteration"]["candidates"] if "iteration" in metrics else 0.5
    selection = config.selection
    frames = selection.structures * (1 + selection.rattled + selection.strained + selection.path)
    shards = ceil(config.generator.candidates / config.generator.shard_size)
    rows = []
    labelled = head.document["counts"].get("labels", 0)
    for number in range(iterations):
        iteration = head.iteration + 1 + number
        population += round(admitted * config.generator.candidates)
        samples = config.maturity.ruler_size * iteration
        training = min(labelled, config.training.replay) + frames
        labelled += frames
        steps = {
            "generate": (shards, config.generator.candidates, BYTES_PER_STRUCTURE / 4),
            "screen": (shards, config.generator.candidates, BYTES_PER_STRUCTURE),
            "label": (ceil(frames / config.labelling.frames_per_job), frames, BYTES_PER_STRUCTURE),
            "train-force-field": (1, training * config.training.epochs, 0.0),
            "re-evaluate": (ceil((population + samples) / 500), population + samples, BYTES_PER_STRUCTURE),
            "measure": (6, population, 0.0),
        }
        for step, (jobs, items, size) in steps.items():
            per_item = measured.get(step) or default[step] / (1 if step in serial else workers)
            megabytes = (items * size + BYTES_PER_CHECKPOINT * (step == "train-force-field")) / 1e6
            rows.append(PlannedStep(iteration, step, jobs, items, items * per_item, megabytes))
    return rows


def plan_table(rows: list[PlannedStep], *, measured: bool) -> Table:
    """Return a plan as a table."""
    source = "rates measured in this node's last iteration" if measured else "default rates; no iteration of this node yet"
    table = Table(title=f"plan ({source})", title_justify="left", show_footer=True)
    hours = sum(row.seconds for row in rows) / 3600
    table.add_column("iteration", "total", justify="right")
    table.add_column("step")
    table.add_column("jobs", str(sum(row.jobs for row in rows)), justify="right")
    table.add_column("items", justify="right")
    table.add_column("expected time", f"{hours:.1f} h" if hours >= 1 else f"{hours * 60:.1f} min", justify="right")
    table.add_column("disk", f"{sum(row.megabytes for row in rows):.0f} MB", justify="right")
    for row in rows:
        time = f"{row.seconds / 3600:.1f} h" if row.seconds >= 3600 else f"{row.seconds / 60:.1f} min"
        table.add_row(str(row.iteration), row.step, str(row.jobs), str(row.items), time, f"{row.megabytes:.1f} MB")
    return table


def plan_json(rows: list[PlannedStep]) -> dict[str, Any]:
    """Return a plan as JSON."""
    return {
        "steps": [asdict(row) for row in rows],
        "jobs": sum(row.jobs for row in rows),
        "hours": sum(row.seconds for row in rows) / 3600,
        "megabytes": sum(row.megabytes for row in rows),
    }
