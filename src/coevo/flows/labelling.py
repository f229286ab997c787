"""Labels outside a full iteration as a jobflow Flow: the models stay, labels and what they say of stability are added."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from jobflow import Flow, Maker

from coevo.flows import labelled_hull
from coevo.flows.audit import Audit
from coevo.flows.environments import calibrating
from coevo.flows.lineage import assessed, started
from coevo.makers.choose_for_labels import ChooseForLabelsMaker
from coevo.makers.commit_union import CommitUnionMaker
from coevo.makers.label import LabelMaker
from coevo.makers.measure import MeasureMaker
from coevo.makers.train_force_field import TrainForceFieldMaker
from coevo.makers.unite import UniteMaker

if TYPE_CHECKING:
    from coevo.configs.tree import LabellingConfig, NodeConfig
    from coevo.makers.outputs import Checkpoints, LabelPacket


@dataclass
class LabelFlowMaker(Maker):
    """The Flow that labels the most stable entries of a state and commits a state with the labels.

    Attributes
    ----------
    name : str
    config : NodeConfig
        Its labelling section says by which code.
    branch : str
    judged_by : LabellingConfig or None
        The node's own labelling section, where the code is another for once: it says whether a teacher's labels count.
    """

    name: str = "label"
    config: NodeConfig = field(kw_only=True)
    branch: str = "main"
    judged_by: LabellingConfig | None = None

    def make(
        self,
        parent: str,
        iteration: int,
        checkpoints: Checkpoints,
        *,
        limit: int,
        competing: bool,
        message: str,
    ) -> Flow:
        """Wire the labels.

        Parameters
        ----------
        parent : str
            Id of the state, the head of the branch.
        iteration : int
            Of the new state.
        checkpoints : dict
            ``force_field``, generators by slot and members of the parent; they stay.
        limit : int
            Entries to label, at most.
        competing : bool
            Label also the phases on the hull that they compete with.
        message : str
        """
        config, node = self.config, self.config.node
        prefix, workers = f"{node.name}/{iteration}", config.resources.workers
        choose = ChooseForLabelsMaker(f"{prefix}/choose", workers, config.labelling, node=node).make(parent, limit, competing)
        # a few entries are asked for here, maybe by a slower code than the node's: no more references than that needs
        labelling = config.labelling.model_copy(update={"references": "needed"})
        label = LabelMaker(f"{prefix}/label", workers, labelling, config.maturity.stiffness, node=node).make(
            choose.output, parent
        )
        rest, commit = self._committed(label.output, parent, iteration, checkpoints, message)
        return Flow([choose, label, *rest, commit], output=commit.output, name=f"{prefix}/label")

    def add(self, packets: list[LabelPacket], parent: str, iteration: int, checkpoints: Checkpoints, message: str) -> Flow:
        """Wire a state with labels that are there already, as packets (see :func:`coevo.makers.label.packet_of`)."""
        rest, commit = self._committed({"packets": packets}, parent, iteration, checkpoints, message)
        return Flow([*rest, commit], output=commit.output, name=f"{self.config.node.name}/{iteration}/add")

    def _committed(
        self, labelled: Any, parent: str, iteration: int, checkpoints: Checkpoints, message: str
    ) -> tuple[list[Any], Any]:
        """Jobs from labels to the commit of a state that has them."""
        config, node = self.config, self.config.node
        prefix, workers = f"{node.name}/{iteration}", config.resources.workers
        force_field, drawing, panel = started(config, prefix, checkpoints)
        # the errors of the present model on the new labels, their splits and offsets; the model stays
        training = config.training.model_copy(update={"enabled": False})
        matching = config.curation.of_matching()
        accept = config.labelling.accept_scale_mismatch
        train = TrainForceFieldMaker(f"{prefix}/train-force-field", workers, training, matching, accept, node=node).make(
            labelled, force_field, parent, iteration
        )
        unite = UniteMaker(f"{prefix}/unite", workers, config.curation, node=node).make([parent], parent, iteration)
        panel.compare(train.output, parent)
        audit, new = Audit(config, prefix), train.output
        evaluate, judged, rest = assessed(
            config,
            prefix,
            unite,
            force_field,
            [parent],
            panel,
            audit,
            iteration,
            new["labels"],
            offsets=new["offsets"],
            judged_by=self.judged_by,
        )
        environments, calibrations = calibrating(config, prefix, force_field, [parent])
        measure = MeasureMaker(f"{prefix}/measure", workers, config.maturity, node=node, **labelled_hull.measuring(config)).make(
            judged,
            evaluate.output["shards"],
            drawing.output,
            iteration,
            parent=parent,
            trained=train.output,
            labelled=labelled,
            model={
                "force_field": force_field,
                "parents": [parent],
                **{name: train.output[name] for name in ("offsets", "labels", "splits")},
            },
            **environments,
            **drawing.for_measurement(),
        )
        commit = CommitUnionMaker(f"{prefix}/commit", workers, self.branch, config=config).make(
            {
                "united": unite.output,
                "evaluated": evaluate.output,
                "assessed": judged,
                "force_field": force_field,
                "generator": drawing.checkpoint,
                "measured": measure.output,
                "iteration": iteration,
                "parents": [parent],
                "expected": parent,
                "message": message,
                "trained": train.output,
                **environments,
                **panel.for_commit(),
                **audit.for_commit(),
                **drawing.for_commit(),
            }
        )
        return [train, unite, *rest, *calibrations, measure], commit
