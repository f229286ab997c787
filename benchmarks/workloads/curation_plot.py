"""The plot of the benchmark of curation: CPU seconds and peak memory against the number of structures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

STEPS: dict[str, tuple[str, str, str]] = {
    "fingerprints": ("fingerprints", "o", "#0072b2"),
    "groups": ("groups (StructureMatcher)", "s", "#d55e00"),
    "groups_with_fragment_veto": ("groups with fragment veto", "D", "#cc79a7"),
    "descriptors": ("environments' descriptors", "v", "#009e73"),
    "fractions": ("compositions", "^", "#e69f00"),
    "hull": ("hull and E_hull", "x", "#56b4e9"),
}
"""Row, label, marker and colour (Okabe and Ito's palette)."""


def draw(report: dict[str, Any], path: Path) -> None:
    """Draw our cost of each step with pymatgen's where it was measured, and peak memory."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt
    from matplotlib.ticker import NullFormatter

    figure, (time, memory) = plt.subplots(1, 2, figsize=(10.5, 4.4))
    growth = report["growth"]
    sizes = sorted(map(int, growth))
    for row, (label, marker, colour) in STEPS.items():
        have = [n for n in sizes if row in growth[str(n)]]
        values = [max(1e-3, growth[str(n)][row]["wall_seconds"]) for n in have]
        time.plot(have, values, marker=marker, color=colour, label=label, linewidth=1.5, markersize=5)
    peers = report.get("peers", {})
    for what, label, of in (
        ("groups", "pymatgen group_structures", lambda row: row["pymatgen"]["cpu_seconds"]),
        ("hull", "pymatgen PhaseDiagram", lambda row: row["pymatgen_cpu_seconds"]),
    ):
        _draw_peer(time, peers.get(what, {}), label, of)
    memory.plot(sizes, [growth[str(n)]["peak_gb"] for n in sizes], marker="o", color="#0072b2", linewidth=1.5, markersize=5)
    for axis, label in ((time, "wall seconds, two cores (pymatgen: one)"), (memory, "peak memory, all processes, GB")):
        axis.set(xscale="log", yscale="log", xlabel="structures", ylabel=label)
        axis.grid(visible=True, which="major", color="0.9")
        axis.spines[["top", "right"]].set_visible(False)
    memory.set_yscale("linear")
    memory.set_ylim(bottom=0)
    for axis in (time, memory):
        axis.xaxis.set_minor_formatter(NullFormatter())
    time.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    figure.tight_layout()
    figure.savefig(path, dpi=120, metadata={"Software": None})
    plt.close(figure)


def _draw_peer(axis: Any, rows: dict[str, Any], label: str, of: Callable[[dict[str, Any]], float]) -> None:
    sizes = sorted(map(int, rows))
    if sizes:
        line = "--" if "group" in label else ":"
        axis.plot(sizes, [of(rows[str(n)]) for n in sizes], line, color="0.35", label=label, linewidth=1.5)
