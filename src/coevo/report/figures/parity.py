"""Parity plots: energies and forces by the force field against those of labels that it has not been trained on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from coevo.report.figures.plots import GREY, STYLES, DataTable, Plot, padded

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from coevo.report.figures.plots import Part
    from coevo.report.parity import Parity

ENERGY_COLUMNS = ("label", "formula", "energy by label (eV/atom)", "energy by force field (eV/atom)")
FORCE_COLUMNS = ("element", "atoms", "RMSE of force components (meV/angstrom)", "MAE of force components (meV/angstrom)")
_COMPONENTS = ("label", "element", "component", "force by label (eV/angstrom)", "force by force field (eV/angstrom)")
_MOST_MARKERS = 3000
"""From which on markers are drawn as pixels in the SVG."""


def parity_plots(parity: Parity, labelled_by: str) -> list[Plot]:
    """Return the plots of energies and of forces; ``labelled_by`` says who made the labels."""
    some = "" if parity.labels == len(parity.ids) else f" of {parity.labels}"
    what = f"{len(parity.ids)}{some} frames of the test split, which the force field has not seen, labelled by {labelled_by}."
    failed = f" {parity.failed} could not be evaluated." if parity.failed else ""
    missing = "" if parity.ids else "the state has no admitted label in its test split"
    error = 1000 * float(np.sqrt(np.mean(np.square(np.diff(parity.energies))))) if parity.ids else 0.0
    by_element = element_errors(parity)
    told = ", ".join(f"{symbol} {rmse:.0f}" for symbol, _, rmse, _ in by_element)
    energies = [
        (identifier, formula, float(label), float(model))
        for identifier, formula, (label, model) in zip(parity.ids, parity.formulas, parity.energies, strict=True)
    ]
    components = [
        (parity.ids[frame], symbol, "xyz"[axis], float(force[axis, 0]), float(force[axis, 1]))
        for frame, symbol, force in zip(parity.frames, parity.symbols, parity.forces, strict=True)
        for axis in range(3)
    ]
    return [
        Plot(
            name="parity-energy",
            title="Energies against labels",
            caption=f"{what}{failed} Labels are on the scale of the force field. RMSE {error:.1f} meV/atom. Line: equal.",
            alt=missing or f"Scatter plot of {len(parity.ids)} energies by force field against label, RMSE {error:.1f} meV/atom.",
            tables={"parity-energy": DataTable(ENERGY_COLUMNS, energies)},
            draw=lambda figure: _draw_energies(figure, parity),
            missing=missing,
        ),
        Plot(
            name="parity-force",
            title="Forces against labels, by element",
            caption=f"Components of the forces on the atoms of the same frames. RMSE in meV/Å: {told}. Line: equal.",
            alt=missing or f"Scatter plot of {3 * len(parity.symbols)} force components; RMSE in meV/Å by element: {told}.",
            tables={
                "parity-force": DataTable(_COMPONENTS, components),
                "parity-force-by-element": DataTable(FORCE_COLUMNS, by_element),
            },
            draw=lambda figure: _draw_forces(figure, parity),
            missing=missing,
        ),
    ]


def element_errors(parity: Parity) -> list[tuple[Any, ...]]:
    """Errors of the components of forces, by the element of the atom and of all; columns as :data:`FORCE_COLUMNS`."""
    if not parity.symbols:
        return []
    symbols = np.array(parity.symbols)
    off = 1000 * (parity.forces[:, :, 1] - parity.forces[:, :, 0])
    groups = [(symbol, symbols == symbol) for symbol in sorted(set(parity.symbols))] + [("all", symbols != "")]
    return [
        (name, int(chosen.sum()), float(np.sqrt(np.mean(off[chosen] ** 2))), float(np.mean(np.abs(off[chosen]))))
        for name, chosen in groups
    ]


def _draw_energies(figure: Part, parity: Parity) -> None:
    axes = figure.subplots()
    _equal(axes, parity.energies)
    many = len(parity.ids) > _MOST_MARKERS
    label, model = parity.energies.T
    axes.scatter(label, model, s=9, color=STYLES[1]["color"], edgecolors="white", linewidths=0.3, rasterized=many)
    axes.set_xlabel("label (eV/atom)")
    axes.set_ylabel("force field (eV/atom)")


def _draw_forces(figure: Part, parity: Parity) -> None:
    axes = figure.subplots()
    _equal(axes, parity.forces.reshape(-1, 2))
    symbols = np.array(parity.symbols)
    many = 3 * len(symbols) > _MOST_MARKERS
    for symbol, style in zip(sorted(set(parity.symbols)), STYLES * 20, strict=False):
        label, model = parity.forces[symbols == symbol].reshape(-1, 2).T
        more = {"color": style["color"], "marker": style["marker"], "label": symbol, "rasterized": many}
        axes.scatter(label, model, s=5, alpha=0.6, linewidths=0, **more)
    axes.set_xlabel("label (eV/Å)")
    axes.set_ylabel("force field (eV/Å)")
    axes.legend(markerscale=2)


def _equal(axes: Axes, values: Any) -> None:
    """Draw the line of equal values, and make both axes alike."""
    low, high = padded(float(values.min()), float(values.max()))
    axes.plot([low, high], [low, high], color=GREY, linewidth=0.8, zorder=1)
    axes.set_xlim(low, high)
    axes.set_ylim(low, high)
    axes.set_aspect("equal")
