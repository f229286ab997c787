"""The figure of a study of stability, by the words that an SVG has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from coevo.report.figures.stability import draw_stability

if TYPE_CHECKING:
    from pathlib import Path


def row(name: str, gibbs: list[list[float | None]]) -> dict[str, Any]:
    errors = [[None if value is None else 0.001 for value in line] for line in gibbs]
    return {"id": name, "name": name, "formula": "LiS", "energy": gibbs[0][0], "shift": 0.0, "gibbs": gibbs, "errors": errors}


def results(pressures: list[float]) -> dict[str, Any]:
    """At 0 GPa a gives way to b; at 1 GPa both are within the error of each other, and refused at the last temperature."""
    a, b = [[0.0, 0.0, 0.0], [0.0, 0.0, None]], [[0.01, 0.002, -0.01], [0.001, 0.001, None]]
    rows = [row("a", a[: len(pressures)]), row("b", b[: len(pressures)])]
    lowest = [["a", "a", "b"], ["a", "a", None]]
    lines = [{"pressure": p, "lowest": each, "transitions": []} for p, each in zip(pressures, lowest, strict=False)]
    polymorphs = [{"formula": "LiS", "phases": ["a", "b"], "pressures": lines}]
    return {
        "temperatures": [0.0, 300.0, 600.0],
        "pressures": pressures,
        "phases": rows,
        "static": None,
        "hulls": [],
        "polymorphs": polymorphs,
    }


@pytest.mark.parametrize("pressures", [[0.0], [0.0, 1.0]])
def test_polymorphs_have_bands_and_at_several_pressures_a_diagram(
    tmp_path: Path, pressures: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    from matplotlib.axes import Axes

    drawn: list[tuple[Any, Any]] = []
    scatter = Axes.scatter
    monkeypatch.setattr(
        Axes,
        "scatter",
        lambda self, x, y, **how: (drawn.append((list(zip(x, y, strict=True)), how["label"])), scatter(self, x, y, **how)),
    )
    draw_stability({"results": results(pressures)}, tmp_path / "figure.svg")
    assert (tmp_path / "figure.svg").stat().st_size > 1000
    if len(pressures) == 1:
        assert not drawn
        return
    places = {label.split()[-1] if "," not in label else "within": where for where, label in drawn}
    assert places == {
        "a": [(0.0, 0.0), (300.0, 0.0)],
        "b": [(600.0, 0.0)],
        "within": [(0.0, 1.0), (300.0, 1.0)],
    }
