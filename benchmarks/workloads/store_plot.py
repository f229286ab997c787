"""The plot of the benchmark of the node store: CPU seconds and peak memory against the number of structures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

SERIES = {
    "commit": ("commit", "o", "#0072b2"),
    "import": ("import", "s", "#d55e00"),
    "verify": ("verify", "D", "#009e73"),
    "export": ("export", "^", "#cc79a7"),
    "open": ("open", "v", "#e69f00"),
    "query_repeated": ("filtered query, once open", "x", "#56b4e9"),
}
"""Row, label, marker and colour (Okabe and Ito's palette)."""


def draw(report: dict[str, Any], path: Path) -> None:
    """Draw CPU seconds of each backend, those of the server included, and peak memory."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    backends = report["backends"]
    figure, axes = plt.subplots(2, len(backends), figsize=(5.2 * len(backends), 7.2), sharex=True, sharey="row", squeeze=False)
    for column, found in enumerate(backends.values()):
        time, memory = axes[0][column], axes[1][column]
        for row, (label, marker, colour) in SERIES.items():
            points = [(int(n), numbers[row]) for n, numbers in found["sizes"].items() if row in numbers]
            sizes = [n for n, _ in points]
            style = {"marker": marker, "color": colour, "label": label, "linewidth": 1.5, "markersize": 5}
            time.plot(sizes, [max(1e-4, p["cpu_seconds"] + (p["server_cpu_seconds"] or 0.0)) for _, p in points], **style)
            if row != "query_repeated":  # in the process of open
                memory.plot(sizes, [p["peak_megabytes"] for _, p in points], **style)
        ends = [min(map(int, found["sizes"])), max(map(int, found["sizes"]))]
        start = found["sizes"][str(ends[0])]["commit"]
        guide = start["cpu_seconds"] + (start["server_cpu_seconds"] or 0.0)
        time.plot(ends, [6 * guide, 6 * guide * ends[1] / ends[0]], ":", color="0.5", label="linear")
        time.set_title("embedded" if found["server"] is None else f"MongoDB backend\n({found['server']})", fontsize=10)
        for axis in (time, memory):
            axis.set(xscale="log", yscale="log")
            axis.grid(visible=True, which="major", color="0.9")
            axis.spines[["top", "right"]].set_visible(False)
        memory.set_xlabel("structures")
    axes[0][0].set_ylabel("CPU seconds (process and server)")
    axes[1][0].set_ylabel("peak memory of the process, MB")
    axes[0][-1].legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    figure.tight_layout()
    figure.savefig(path, dpi=120, metadata={"Software": None})
    plt.close(figure)
