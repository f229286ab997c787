"""Opinions: what each member says of the stability of the population, how far they agree, and on whose word an entry is S.U.N."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from coevo.configs.tree import CurationConfig, ForceFieldConfig, LabellingConfig, NodeSection
from coevo.configs.uncertainty_section import UncertaintyConfig
from coevo.makers.committee.members import kinds_of, training_of
from coevo.makers.committee.teachers import sources_in, training_of_teacher
from coevo.makers.step import StepMaker, current_store, read_records, step, write_records

if TYPE_CHECKING:
    from collections.abc import Mapping

    from coevo.makers.outputs import Assessed, Calibrated, Checkpoint, MembersEvaluated, TrainedMember
    from coevo.makers.step import Document, ShardReference


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

    version: ClassVar[int] = 2
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
        from coevo.makers.committee.judging import judge_member, with_opinions
        from coevo.makers.committee.population import population_of

        store = current_store()
        documents = list(read_records(store, assessed["evaluations"]))
        population = population_of(documents, read_records(store, shards))
        energies = {name: population.energies(read_records(store, parts)) for name, parts in evaluated["members"].items()}
        others = kinds_of(self.uncertainty.others)
        sources, teachers = sources_in(self.node, parents, labels, self.labelling)
        taught = [training_of_teacher(teacher) for teacher in teachers.values()]
        judged = {}
        for name, member in sorted(members.items()):
            training = training_of(member, others.get(name), self.force_field, self.labelling, sources, taught)
            judged[name] = judge_member(population, energies.get(name), member, others.get(name), training, self.node)
        own = training_of(checkpoint, None, self.force_field, self.labelling, sources, taught)
        for name, fit in fits.items():
            judged[name].document["fit"] = _of_fit(fit)
        documents, agreement = with_opinions(documents, judged, own, self.curation.stable_threshold)
        committee = {
            "force_field": {
                "family": checkpoint["family"],
                "training": own.words,
                "functional": own.functional,
                "data": own.data,
                "teachers": sorted(each.words for each in own.taught_by),
            },
            "members": {name: each.document for name, each in judged.items()},
            "agreement": agreement,
            "calibration": calibrated["calibration"] if calibrated else None,
            "calibration_reason": calibrated["reason"] if calibrated else "",
        }
        return {**assessed, "evaluations": write_records(store, documents), "committee": committee}


def _of_fit(fit: Mapping[str, Any]) -> Document:
    """What a state records of the fit of a member: adopted or why not, and its errors on the state's test split."""
    after = (fit.get("test_after") if fit["adopted"] else fit.get("test_before")) or {}
    return {"adopted": fit["adopted"], "reason": fit["reason"], "frames": fit.get("frames"), "test": after.get("all")}
