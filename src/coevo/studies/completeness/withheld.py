"""Which of the phases that a node withholds, or of others, a probe met, and the node itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coevo.analysis.comparison.rediscovery import match_targets
from coevo.analysis.comparison.uniqueness import Item
from coevo.analysis.intervals import clopper_pearson
from coevo.configs.loading import config_from_dict
from coevo.flows.probe import can_draw
from coevo.studies.completeness.minima import primitive_atoms
from coevo.studies.rediscovery import load_targets, rediscover, withheld_targets

if TYPE_CHECKING:
    from collections.abc import Sequence

    from coevo.analysis.comparison.matching import Matching
    from coevo.configs.references import ReferenceStructure
    from coevo.flows.probe import Probe
    from coevo.node_store.views import StateView
    from coevo.studies.completeness.minima import Draw

    Document = dict[str, Any]


def phases_to_meet(view: StateView, spec: str | None = None) -> list[ReferenceStructure] | None:
    """Load the phases that a probe may meet, before the work.

    Parameters
    ----------
    view : StateView
    spec : str or None
        A bundled set or a file; by default the phases that the node withholds.

    Returns
    -------
    list of ReferenceStructure or None
        None if the node withholds none, and no others are given.

    Raises
    ------
    ReferenceDataError
        If they cannot be read.
    """
    config = config_from_dict(view.document["config"], f"configuration of {view.node}@{view.id[:12]}")
    if spec is not None:
        return load_targets(spec, config.node.elements)[0]
    return withheld_targets(view) if config.references.exclude else None


def met_phases(
    view: StateView,
    probe: Probe,
    draws: Sequence[Draw],
    phases: Sequence[ReferenceStructure],
    matching: Matching,
    workers: int,
) -> Document:
    """Say which of some phases the probe met, and the node.

    Those that the probe cannot draw, and those that are references of the state, are named and do not count. All relaxed draws
    are compared, whatever their energy, with the phases as they were given.
    """
    reach: list[ReferenceStructure] = []
    out: list[ReferenceStructure] = []
    for phase in phases:
        formula, atoms = phase.structure.composition.reduced_formula, primitive_atoms(phase.structure)
        (reach if can_draw(probe.config, formula, atoms) else out).append(phase)
    looked = rediscover(view, reach, motifs=False, workers=workers) if reach else []
    rows = [(phase, row) for phase, row in zip(reach, looked, strict=True) if row.reference is None]
    items = [Item(f"phase {number}", phase.structure, 0.0) for number, (phase, _) in enumerate(rows)]
    alike = [draw for draw in draws if draw.formula in {row.formula for _, row in rows}]
    found = match_targets(items, [draw.item for draw in alike], matching, workers=workers) if items else {}
    batch_of = {draw.item.id: draw.batch for draw in alike}
    told: list[Document] = [
        {
            "name": phase.name,
            "formula": row.formula,
            "probe_draws": len(found[item.id]),
            "probe_batches": len({batch_of[name] for name in found[item.id]}),
            "node_entries": row.matches,
        }
        for item, (phase, row) in zip(items, rows, strict=True)
    ]
    return {
        "phases": told,
        "out_of_reach": [phase.name for phase in out],
        "references": [row.name for row in looked if row.reference is not None],
        "probe": _counted(sum(row["probe_draws"] > 0 for row in told), len(told)),
        "node": _counted(sum(row["node_entries"] > 0 for row in told), len(told)),
    }


def _counted(k: int, m: int) -> Document:
    return {"k": k, "m": m, "interval_95": list(clopper_pearson(k, m)) if m else None}
