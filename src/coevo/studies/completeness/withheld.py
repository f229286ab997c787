"""Which of the phases that a node withholds its probe met, and the node itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coevo.analysis.comparison.rediscovery import match_targets
from coevo.analysis.comparison.uniqueness import Item
from coevo.analysis.intervals import clopper_pearson
from coevo.configs.loading import config_from_dict
from coevo.flows.probe import can_draw
from coevo.studies.completeness.minima import primitive_atoms
from coevo.studies.rediscovery import rediscover, withheld_targets

if TYPE_CHECKING:
    from collections.abc import Sequence

    from coevo.analysis.comparison.matching import Matching
    from coevo.flows.probe import Probe
    from coevo.node_store.views import StateView
    from coevo.studies.completeness.minima import Draw

    Document = dict[str, Any]


def withheld_phases(view: StateView, probe: Probe, draws: Sequence[Draw], matching: Matching, workers: int) -> Document | None:
    """Say which of the phases that the node withholds the probe met, and the node; None if it withholds none.

    Those that the probe cannot draw are named and do not count; all relaxed draws are compared, whatever their energy, with the
    phases as they were given.
    """
    if not config_from_dict(view.document["config"], "configuration").references.exclude:
        return None
    targets = withheld_targets(view)
    reach = [t for t in targets if can_draw(probe.config, t.structure.composition.reduced_formula, primitive_atoms(t.structure))]
    formulas = {t.structure.composition.reduced_formula for t in reach}
    alike = [draw for draw in draws if draw.formula in formulas]
    items = [Item(f"target {number}", t.structure, 0.0) for number, t in enumerate(reach)]
    found = match_targets(items, [draw.item for draw in alike], matching, workers=workers) if items else {}
    batch_of = {draw.item.id: draw.batch for draw in alike}
    entries = rediscover(view, reach, motifs=False, workers=workers) if reach else []
    rows = [
        {
            "name": target.name,
            "formula": row.formula,
            "probe_draws": len(found[item.id]),
            "probe_batches": len({batch_of[name] for name in found[item.id]}),
            "node_entries": row.matches,
        }
        for target, item, row in zip(reach, items, entries, strict=True)
    ]
    return {
        "phases": rows,
        "out_of_reach": [t.name for t in targets if t not in reach],
        "probe": _counted(sum(row["probe_draws"] > 0 for row in rows), len(rows)),
        "node": _counted(sum(row["node_entries"] > 0 for row in rows), len(rows)),
    }


def _counted(k: int, m: int) -> Document:
    return {"k": k, "m": m, "interval_95": list(clopper_pearson(k, m)) if m else None}
