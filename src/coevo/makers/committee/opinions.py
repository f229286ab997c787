"""Opinions: what each member says of the stability of the population, how far they agree, and on whose word an entry is S.U.N."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from coevo.configs.tree import CurationConfig, ForceFieldConfig, LabellingConfig, NodeSection
from coevo.configs.uncertainty_section import OtherForceField, UncertaintyConfig
from coevo.makers.committee.members import OWN, kinds_of, training_of_own, training_of_published
from coevo.makers.step import StepMaker, current_store, read_records, step, write_records

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from coevo.analysis.signals.agreement import Training
    from coevo.makers.committee.population import Population
    from coevo.makers.outputs import Assessed, Calibrated, Checkpoint, MembersEvaluated, TrainedMember
    from coevo.makers.step import Document, Record, ShardReference


@dataclass
class Judged:
    """What one member says.

    Attributes
    ----------
    above : ndarray or None
        Energy above its own hull, eV/atom, NaN where it has none; None for a member that says nothing.
    document : dict
        What the state records of it.
    """

    above: Any
    document: Document


@dataclass
class OpinionsMaker(StepMaker):
    """Add what the members say to the evaluations of a state.

    Attributes
    ----------
    node : NodeSection
    curation : CurationConfig
    uncertainty : UncertaintyConfig
    labelling : LabellingConfig
        Whose labels the node's own family is fitted on.
    force_field : ForceFieldConfig
        What the node's own force field was published as.
    """

    name: str = "opinions"
    node: NodeSection = field(kw_only=True)
    curation: CurationConfig = field(default_factory=CurationConfig)
    uncertainty: UncertaintyConfig = field(default_factory=UncertaintyConfig)
    labelling: LabellingConfig = field(default_factory=LabellingConfig)
    force_field: ForceFieldConfig = field(default_factory=ForceFieldConfig)

    packages: ClassVar[tuple[str, ...]] = ("numpy", "scipy", "pymatgen-core")

    @step
    def make(
        self,
        assessed: Assessed,
        shards: list[ShardReference],
        evaluated: MembersEvaluated,
        members: dict[str, Checkpoint | None],
        checkpoint: Checkpoint,
        fits: dict[str, TrainedMember],
        parents: list[str],
        labels: ShardReference | None = None,
        calibrated: Calibrated | None = None,
    ) -> Assessed:
        """Judge.

        Parameters
        ----------
        assessed : dict
            Output of the assess job.
        shards : list of dict
            Shard references of evaluated records, with the geometries.
        evaluated : dict
            Energies by member.
        members : dict
            Checkpoints by name; None for one that was never fitted.
        checkpoint : dict
            Of the state's own force field.
        fits : dict
            Outputs of the train-member jobs of this iteration by name.
        parents : list of str
            Ids of the parent states, which have labels.
        labels : dict or None
            Shard reference of labels that are new in the state.
        calibrated : dict or None
            Output of the calibrate job.

        Returns
        -------
        dict
            As the assess job; ``evaluations`` hold what the members say, and ``committee`` what the state records of them.
        """
        from coevo.makers.committee.population import population_of

        store = current_store()
        documents = list(read_records(store, assessed["evaluations"]))
        population = population_of(documents, read_records(store, shards))
        energies = {name: population.energies(read_records(store, parts)) for name, parts in evaluated["members"].items()}
        own = self._own_training(checkpoint, parents, labels)
        others = kinds_of(self.uncertainty.others)
        judged = {
            name: judge_member(population, energies.get(name), members[name], others.get(name), own, self.node)
            for name in sorted(members)
        }
        for name, fit in fits.items():
            judged[name].document["fit"] = _of_fit(fit)
        documents, agreement = with_opinions(documents, judged, own, self.curation.stable_threshold)
        committee = {
            "force_field": {"family": checkpoint["family"], "training": own.words, "functional": own.functional, "data": own.data},
            "members": {name: each.document for name, each in judged.items()},
            "agreement": agreement,
            "calibration": (calibrated or {}).get("calibration"),
            "calibration_reason": (calibrated or {}).get("reason", ""),
        }
        return {**assessed, "evaluations": write_records(store, documents), "committee": committee}

    def _own_training(self, checkpoint: Checkpoint, parents: Sequence[str], labels: ShardReference | None) -> Training:
        from coevo.makers.populations.population import open_state

        store = current_store()
        found: list[Record] = list(read_records(store, labels or []))
        for parent in parents:
            found += open_state(store, self.node.name, parent).labels()
        return training_of_own(checkpoint, self.force_field, self.labelling, found)


def judge_member(
    population: Population, energies: Any, checkpoint: Checkpoint | None, other: OtherForceField | None, own: Training, node: NodeSection
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
    own : Training
        Of the node's own family.
    node : NodeSection
    """
    training = own if other is None else training_of_published(other)
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
        return Judged(None, {**document, "reason": "not fitted yet"})
    if other is not None:
        energies, document["offsets"], reason = population.on_scale(energies, other.told, node)
        if reason:
            return Judged(None, {**document, "reason": f"its energies cannot be brought to the scale of the node: {reason}"})
    above, reason = population.above_hull(energies, node.elements)
    return Judged(above, {**document, "evaluated": int(np.isfinite(energies).sum()), "reason": reason})


def _of_fit(fit: Mapping[str, Any]) -> Document:
    """What a state records of the fit of a member: adopted or why not, and its errors on the state's test split."""
    after = (fit.get("test_after") if fit["adopted"] else fit.get("test_before")) or {}
    return {"adopted": fit["adopted"], "reason": fit["reason"], "frames": fit.get("frames"), "test": after.get("all")}


def with_opinions(
    documents: Sequence[Record], judged: Mapping[str, Judged], own: Training, threshold: float
) -> tuple[list[Record], Document]:
    """Add what members say to evaluations, and sum it up over the entries that are no duplicates.

    Parameters
    ----------
    documents : sequence of dict
        Evaluations, in the order of the members' energies.
    judged : mapping of str to Judged
    own : Training
        Of the state's own force field.
    threshold : float
        E_hull up to which a structure is stable, eV/atom.
    """
    from coevo.analysis.signals.agreement import Training, agreed, agreement_table, independent_pairs, spread

    speaking = [name for name, each in judged.items() if each.above is not None]
    trainings = [own, *(_training(judged[name].document, Training) for name in speaking)]
    mine = np.array([d["energy_above_hull"] for d in documents], dtype=float)
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


def _training(document: Mapping[str, Any], kind: type[Training]) -> Training:
    return kind(*(str(document[key]) for key in ("family", "functional", "data", "training")))
