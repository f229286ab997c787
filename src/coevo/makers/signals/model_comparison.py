"""Errors on the held-out set and stiffness of a state, computed again from its labels, references and force field."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coevo.makers.signals.comparison import Comparison
from coevo.makers.signals.held_out import held_out_errors, held_out_of
from coevo.makers.signals.stiffness import stiffness_metrics

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from coevo.configs.tree import NodeConfig
    from coevo.models.contracts import ForceField
    from coevo.node_store.views import StateView

ERROR_TOLERANCE = 1e-3
"""Relative; of errors on the held-out set."""
STIFFNESS_TOLERANCE = 0.01
"""Relative. Energies in single precision differ in the last digits between processors, and curvatures by much more."""
ERRORS = {
    "energy_rmse_mev_per_atom": ("RMSE, energy", "meV/atom"),
    "energy_mae_mev_per_atom": ("MAE, energy", "meV/atom"),
    "force_rmse_mev_per_angstrom": ("RMSE, force", "meV/Å"),
    "stress_rmse_gpa": ("RMSE, stress", "GPa"),
}


def compare_model(view: StateView, force_field: ForceField, config: NodeConfig, workers: int) -> Iterator[Comparison]:
    """Yield what a state records of its model where it matters, and the same computed again.

    Of a state that records no errors on the held-out set, because it was made by an earlier version, they are computed only.
    """
    yield from _held_out(view, force_field, workers)
    stored = view.document["metrics"].get("stiffness")
    if stored is not None:
        found = stiffness_metrics(view.references(), view.labels(), force_field, config.maturity.stiffness, workers)
        yield from _stiffness(stored, found)


def _held_out(view: StateView, force_field: ForceField, workers: int) -> Iterator[Comparison]:
    stored = view.document["metrics"].get("held_out")
    held_out, offsets = held_out_of(view), view.manifest.get("offsets", {})
    if held_out is not None and held_out.labels[0]["settings_digest"] not in offsets:
        held_out = None
    if stored is None and held_out is None:
        return
    found = held_out_errors(force_field, held_out, offsets, workers) if held_out else {}
    recorded = (stored or {}).get("errors", {})
    frames = len(held_out.labels) if held_out else 0
    yield Comparison("held-out set, frames", "", (stored or {}).get("frames"), frames, 0.0, stored is not None)
    for key, (name, unit) in ERRORS.items():
        value = recorded.get(key)
        yield Comparison(f"held-out {name}", unit, value, found.get(key), ERROR_TOLERANCE * abs(value or 1.0), stored is not None)


def _stiffness(stored: Mapping[str, Any], found: Mapping[str, Any]) -> Iterator[Comparison]:
    again = {row["id"]: row for row in found["compounds"]}
    for row in stored["compounds"]:
        other = again.get(row["id"], {})
        for whose in ("model", "labels"):
            one, two = row[whose], other.get(whose)
            if one is None and two is None:
                continue
            name, modulus = f"{row['formula']} by the {whose}", (one or {}).get("bulk_modulus_gpa")
            yield _close(f"bulk modulus of {name}", "GPa", modulus, (two or {}).get("bulk_modulus_gpa"))
            pairs = [(x or {}).get("frequencies_cm1") or [None] for x in (one, two)]
            for which, place in (("lowest", 0), ("highest", -1)):
                yield _close(f"{which} frequency of {name}", "cm⁻¹", pairs[0][place], pairs[1][place])


def _close(name: str, unit: str, stored: float | None, found: float | None) -> Comparison:
    return Comparison(name, unit, stored, found, STIFFNESS_TOLERANCE * abs(stored or 1.0))
