"""The plot of the benchmark of orchestration: what a job costs against the number of jobs, and who takes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

SERIES = {
    "single": ("an allocation each", "o", "#d55e00"),
    "packed 1": ("packed, 1 at once", "s", "#0072b2"),
    "packed 2": ("packed, 2 at once", "D", "#56b4e9"),
    "packed 4": ("packed, 4 at once", "^", "#009e73"),
    "one workflow": ("packed, all in one workflow", "X", "#000000"),
    "qlaunch": ("FireWorks: qlaunch + rlaunch singleshot", "P", "#e69f00"),
    "rlaunch": ("FireWorks: rlaunch rapidfire", "v", "#cc79a7"),
}
"""Label, marker and colour (Okabe and Ito's palette)."""
PARTS = {
    "worker": ("job scripts: Python, imports, the job", "#d55e00"),
    "server": ("database server", "#0072b2"),
    "launcher": ("launcher", "#009e73"),
    "programs": ("sbatch, squeue", "#e69f00"),
    "slurm": ("SLURM's daemons", "#cc79a7"),
}


def rows_of(report: dict[str, Any]) -> dict[str, dict[int, dict[str, Any]]]:
    """The runs of each series, by number of jobs; a series that was not measured is empty."""
    parts = {name: part["found"] for name, part in report["parts"].items()}
    rows: dict[str, dict[str, Any]] = {name: {} for name in SERIES}
    peers = parts.get("peers", {})
    for ours, name, theirs in (("single", "single", "qlaunch"), ("packed", "packed 1", "rlaunch")):
        if ours in peers:  # our runs in turns with them are runs like all others
            for row, found in ((name, peers[ours]["coevo"]), (theirs, peers[ours][theirs])):
                rows[row] = {str(found["jobs"]): found}
    rows["single"] |= parts.get("single", {})
    for at_once, found in parts.get("packed", {}).items():
        rows[f"packed {at_once}"] |= found
    rows["one workflow"] = parts.get("one_workflow", {})
    return {name: {int(n): found[n] for n in sorted(found, key=int)} for name, found in rows.items()}


def draw(report: dict[str, Any], path: Path) -> None:
    """Draw CPU and wall seconds per job, and the parts of the former at the largest numbers of jobs."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    rows = rows_of(report)
    figure, (cpu, wall, parts) = plt.subplots(1, 3, figsize=(15.0, 4.4), width_ratios=[1, 1, 0.9])
    for name, (label, marker, colour) in SERIES.items():
        sizes = list(rows[name])
        style = {"marker": marker, "color": colour, "label": label, "linewidth": 1.5, "markersize": 6}
        if sizes:
            cpu.plot(sizes, [found["cpu_seconds"]["total"] for found in rows[name].values()], **style)
            wall.plot(sizes, [found["wall_seconds"] for found in rows[name].values()], **style)
    for axis, title in ((cpu, "CPU seconds per job, all processes"), (wall, "wall seconds per job, on a shared machine")):
        axis.set(xscale="log", yscale="log", xlabel="jobs", title=title)
        axis.grid(visible=True, which="both", color="0.92")
    bars = [(name, max(found), found[max(found)]) for name, found in rows.items() if found]
    left = [0.0] * len(bars)
    labels = [SERIES[name][0].replace(": ", ":\n").replace("packed, all", "packed,\nall") + f", {size}" for name, size, _ in bars]
    for part, (label, colour) in PARTS.items():
        widths = [found["cpu_seconds"][part] for _, _, found in bars]
        parts.barh(labels, widths, left=left, color=colour, label=label)
        left = [start + width for start, width in zip(left, widths, strict=True)]
    parts.invert_yaxis()
    parts.set(xlabel="CPU seconds per job", title="who takes them")
    for axis in (cpu, wall, parts):
        axis.spines[["top", "right"]].set_visible(False)
        axis.title.set_fontsize(10)
    below = {"fontsize": 7, "frameon": False, "loc": "upper center"}
    wall.legend(**below, bbox_to_anchor=(-0.15, -0.16), ncol=3).set_in_layout(False)
    parts.legend(**below, bbox_to_anchor=(0.2, -0.16), ncol=2).set_in_layout(False)
    figure.tight_layout()
    figure.subplots_adjust(bottom=0.28)
    figure.savefig(path, dpi=120, metadata={"Software": None})
    plt.close(figure)
