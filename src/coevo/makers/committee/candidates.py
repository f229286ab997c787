"""Where the members of the parent differ most over the candidates of an iteration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from coevo.makers.committee.members import kinds_of
from coevo.makers.committee.scales import Corrections, shifted, stored_offsets
from coevo.makers.step import current_store, read_records
from coevo.node_store.recorded import recorded_members

if TYPE_CHECKING:
    from collections.abc import Mapping

    from coevo.configs.tree import NodeSection
    from coevo.configs.uncertainty_section import UncertaintyConfig
    from coevo.makers.outputs import MembersEvaluated
    from coevo.node_store.views import StateView

NO_MEMBERS = "the state before it has no members that say something yet, so the share of uncertainty went to the others"


def candidate_spreads(
    rows: Mapping[str, Mapping[str, Any]],
    evaluated: MembersEvaluated,
    view: StateView,
    node: NodeSection,
    uncertainty: UncertaintyConfig,
) -> dict[str, float]:
    """Standard deviation of the energies of candidates over the parent's force field and its members, on one scale.

    Parameters
    ----------
    rows : mapping
        Screened candidates by id, with ``structure`` and ``energy_per_atom``.
    evaluated : dict
        Energies by member.
    view : StateView
        The parent, which records the offsets of its members.
    node : NodeSection
    uncertainty : UncertaintyConfig

    Returns
    -------
    dict
        Id to eV/atom; empty if no member says something.
    """
    from coevo.analysis.signals.agreement import spread
    from coevo.node_store.canonical import structure_from_document

    recorded = recorded_members(view)
    by_member: dict[str, dict[str, Any]] = {
        name: {row["id"]: row["energy_per_atom"] for row in read_records(current_store(), parts)}
        for name, parts in evaluated["members"].items()
    }
    ids = sorted(set().union(*by_member.values())) if by_member else []
    structures = [structure_from_document(rows[i]["structure"]) for i in ids]
    corrections, others = Corrections(structures), kinds_of(uncertainty.others)
    columns = [np.array([rows[i]["energy_per_atom"] for i in ids], dtype=float)]
    for name, found in sorted(by_member.items()):
        energies = np.array([np.nan if found.get(i) is None else found[i] for i in ids], dtype=float)
        if name in others:
            offsets = stored_offsets(recorded, name, node.elements)
            if offsets is None:
                continue
            energies = shifted(energies, structures, corrections.of(others[name].told, node.energy_scale), offsets)
        columns.append(energies)
    values = spread(np.column_stack(columns)) if ids else np.empty(0)
    return {i: float(value) for i, value in zip(ids, values, strict=True) if np.isfinite(value)}
