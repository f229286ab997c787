"""What members say of a population, one by one and together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from coevo.analysis.audit.draw import model_energy_above_hull
from coevo.analysis.signals.agreement import Training, agreed, agreement_table, independent_pairs, spread
from coevo.makers.committee.members import OWN

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from coevo.configs.tree import NodeSection
    from coevo.configs.uncertainty_section import OtherForceField
    from coevo.makers.committee.population import Population
    from coevo.makers.outputs import Checkpoint
    from coevo.makers.step import Document, Record


@dataclass
class Judged:
    """What one member says.

    Attributes
    ----------
    above : ndarray or None
        Energy above its own hull, eV/atom, NaN where it has none; None for a member that says nothing.
    document : dict
        What the state records of it.
    training : Training
    """

    above: Any
    document: Document
    training: Training


def judge_member(
    population: Population,
    energies: Any,
    checkpoint: Checkpoint | None,
    other: OtherForceField | None,
    training: Training,
    node: NodeSection,
) -> Judged:
    """Say what one member says.

    Parameters
    ----------
    population : Population
    energies : ndarray or None
        On the member's own scale, eV/atom, in the order of the population.
    checkpoint : dict or None
        None: it was never fitted.
    other : OtherForceField or None
        What it was published as; None for one of the node's own family.
    training : Training
    node : NodeSection
    """
    document: Document = {
        "family": training.family,
        "weights": other.weights if other else None,
        "training": training.words,
        "functional": training.functional,
        "data": training.data,
        "offsets": None,
        "reason": "",
    }
    if checkpoint is None or energies is None:
        return Judged(None, {**document, "reason": "not fitted yet"}, training)
    if other is not None:
        energies, document["offsets"], reason = population.on_scale(energies, other.told, node)
        if reason:
            reason = f"its energies cannot be brought to the scale of the node: {reason}"
            return Judged(None, {**document, "reason": reason}, training)
    above, reason = population.above_hull(energies, node.elements)
    return Judged(above, {**document, "evaluated": int(np.isfinite(energies).sum()), "reason": reason}, training)


def with_opinions(
    documents: Sequence[Record], judged: Mapping[str, Judged], own: Training, threshold: float
) -> tuple[list[Record], Document]:
    """Add what members say to evaluations, and sum it up over the entries that are no duplicates.

    Parameters
    ----------
    documents : sequence of dict
        Evaluations, in the order of the members' energies. The state's own force field says what it says, also of an entry that
        has the energy of a label.
    judged : mapping of str to Judged
    own : Training
        Of the state's own force field.
    threshold : float
        E_hull up to which a structure is stable, eV/atom.
    """
    speaking = [name for name, each in judged.items() if each.above is not None]
    trainings = [own, *(judged[name].training for name in speaking)]
    mine = np.array([model_energy_above_hull(d) for d in documents], dtype=float)
    above = np.column_stack([mine, *(judged[name].above for name in speaking)])
    stable = np.where(np.isfinite(above), (above <= threshold).astype(float), np.nan)
    deviations, agree = spread(above), agreed(stable, trainings)
    rows = []
    for index, document in enumerate(documents):
        values = {name: float(above[index, 1 + i]) for i, name in enumerate(speaking) if np.isfinite(above[index, 1 + i])}
        confident = None
        if document["kind"] == "entry" and agree[index] is not None:
            confident = bool(document["is_sun"] and agree[index])
        said = {
            "energy_above_hull_std": float(deviations[index]) if np.isfinite(deviations[index]) else None,
            "energies_above_hull": values,
            "is_confidently_sun": confident,
        }
        rows.append({**document, **said})
    live = [i for i, d in enumerate(documents) if d["kind"] == "entry" and d["duplicate_of"] is None]
    sun = [rows[i] for i in live if rows[i]["is_sun"]]
    heard = [row["is_confidently_sun"] for row in sun if row["is_confidently_sun"] is not None]
    spreads = deviations[live][np.isfinite(deviations[live])]
    return rows, {
        "voices": [OWN, *speaking],
        **agreement_table(stable[live]),
        "independent": bool(independent_pairs(trainings)),
        "sun": len(sun),
        "confidently_sun": sum(heard) if heard or (independent_pairs(trainings) and not sun) else None,
        "median_spread": float(np.median(spreads)) if len(spreads) else None,
    }
