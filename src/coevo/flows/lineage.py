"""Merge, extend and start from a state as jobflow Flows: transitions that generate nothing and bring populations together."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from jobflow import Flow, Maker

from coevo.flows import labelled_hull
from coevo.flows.audit import Audit
from coevo.flows.committee import Panel
from coevo.flows.environments import calibrating
from coevo.flows.generators import Generators
from coevo.makers.assess import AssessMaker
from coevo.makers.commit_start import CommitStartMaker
from coevo.makers.commit_union import CommitUnionMaker
from coevo.makers.evaluate import ReevaluateUnionMaker
from coevo.makers.fit_offsets import FitOffsetsMaker
from coevo.makers.generators import further, is_generator
from coevo.makers.measure import MeasureMaker
from coevo.makers.train_on_union import TrainOnUnionMaker
from coevo.makers.unite import UniteMaker

if TYPE_CHECKING:
    from coevo.configs.tree import LabellingConfig, NodeConfig
    from coevo.makers.outputs import Checkpoint, Checkpoints, Start
    from coevo.makers.step import ShardReference


@dataclass
class MergeMaker(Maker):
    """The Flow that makes one state of two.

    Attributes
    ----------
    name : str
    config : NodeConfig
        Of the node that gets the new state; its elements are those of both.
    branch : str
    train : bool
        Fine-tune the force field on the labels of both and refit the generators; otherwise all stay those of the start.
    """

    name: str = "merge"
    config: NodeConfig = field(kw_only=True)
    branch: str = "main"
    train: bool = True

    def make(
        self, parents: list[str], start: str, expected: str | None, iteration: int, checkpoints: Checkpoints, message: str
    ) -> Flow:
        """Wire the merge.

        Parameters
        ----------
        parents : list of str
            Ids of two states of the node, the one that is continued first.
        start : str
            The parent whose force field and generator the new state starts from.
        expected : str or None
            Head of the branch now.
        iteration : int
            Of the new state.
        checkpoints : dict
            ``force_field``, generators by slot (:func:`coevo.makers.generators.generators_for`) and members
            (:func:`coevo.makers.committee.members.members_for`) of the start.
        message : str
            What the state says of itself.
        """
        config, node = self.config, self.config.node
        prefix, workers = f"{node.name}/{iteration}", config.resources.workers
        force_field, drawing, panel = started(config, prefix, checkpoints)
        unite = UniteMaker(f"{prefix}/unite", workers, config.curation, node=node).make(parents, start, iteration)
        train = None
        if self.train:
            accept = config.labelling.accept_scale_mismatch
            train = TrainOnUnionMaker(
                f"{prefix}/train-force-field", workers, config.training, accept_scale_mismatch=accept, node=node
            ).make(unite.output, force_field, parents, start, iteration)
            force_field = train.output["checkpoint"]
            panel.train(train.output, parents, iteration, start)
        offsets = (train or unite).output["offsets"]
        audit = Audit(config, prefix)
        evaluate, judged, rest = assessed(config, prefix, unite, force_field, parents, panel, audit, iteration, offsets=offsets)
        if self.train:
            drawing.train(judged, evaluate.output["shards"], iteration)
            rest += drawing.jobs
        trained = {"trained": train.output} if train else {}
        environments, calibrations = calibrating(config, prefix, force_field, parents, evaluate.output["shards"])
        measure = MeasureMaker(f"{prefix}/measure", workers, config.maturity, node=node, **labelled_hull.measuring(config)).make(
            judged,
            evaluate.output["shards"],
            drawing.output,
            iteration,
            parent=parents[0],
            united=unite.output,
            model={
                "force_field": force_field,
                "parents": sorted(parents, key=lambda parent: parent != start),
                "offsets": offsets,
                "splits": unite.output["splits"],
            },
            **trained,
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
                "parents": parents,
                "expected": expected,
                "message": message,
                **trained,
                **environments,
                **panel.for_commit(),
                **audit.for_commit(),
                **drawing.for_merge(),
            }
        )
        jobs = [unite, *([train] if train else []), *rest, *calibrations, measure, commit]
        return Flow(jobs, output=commit.output, name=f"{prefix}/merge")


@dataclass
class ExtendMaker(Maker):
    """The Flow that adds references to a state: those of further elements in a new node, or more of the same elements.

    Attributes
    ----------
    name : str
    config : NodeConfig
        Of the node that gets the new state.
    branch : str
    """

    name: str = "extend"
    config: NodeConfig = field(kw_only=True)
    branch: str = "main"

    def make(
        self,
        parent: str,
        iteration: int,
        references: ShardReference,
        checkpoints: Checkpoints,
        message: str,
        expected: str | None = None,
    ) -> Flow:
        """Wire the extension.

        Parameters
        ----------
        parent : str
            Id of the state that is extended, in that node.
        iteration : int
            Of the new state.
        references : dict
            Shard reference of the references to add.
        checkpoints : dict
            ``force_field``, generators by slot and members of the parent; they stay.
        message : str
        expected : str or None
            Head of the branch now.
        """
        config, node = self.config, self.config.node
        prefix, workers = f"{node.name}/{iteration}", config.resources.workers
        force_field, drawing, panel = started(config, prefix, checkpoints)
        unite = UniteMaker(f"{prefix}/unite", workers, config.curation, node=node).make([parent], parent, iteration, references)
        audit = Audit(config, prefix)
        evaluate, judged, rest = assessed(
            config, prefix, unite, force_field, [parent], panel, audit, iteration, offsets=unite.output["offsets"]
        )
        environments, calibrations = calibrating(config, prefix, force_field, [parent], evaluate.output["shards"])
        measure = MeasureMaker(f"{prefix}/measure", workers, config.maturity, node=node, **labelled_hull.measuring(config)).make(
            judged,
            evaluate.output["shards"],
            drawing.output,
            iteration,
            parent=parent,
            united=unite.output,
            model={
                "force_field": force_field,
                "parents": [parent],
                **{name: unite.output[name] for name in ("offsets", "splits", "references")},
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
                "expected": expected,
                "message": message,
                **environments,
                **panel.for_commit(),
                **audit.for_commit(),
                **drawing.for_commit(),
            }
        )
        return Flow([unite, *rest, *calibrations, measure, commit], output=commit.output, name=f"{prefix}/extend")


@dataclass
class StartMaker(Maker):
    """The Flow that makes the first state of a node from what it takes along of a state of another one.

    Attributes
    ----------
    name : str
    config : NodeConfig
        Of the new node.
    branch : str
    """

    name: str = "start"
    config: NodeConfig = field(kw_only=True)
    branch: str = "main"

    def make(
        self,
        start: Start,
        force_field: Checkpoint,
        generator: Checkpoint,
        started_from: dict[str, str],
        *,
        offsets: dict[str, Any],
        fit_generator: bool,
        labels: bool,
        held_out: list[str] | None = None,
        committee: Checkpoints | None = None,
        generators: Checkpoints | None = None,
    ) -> Flow:
        """Wire the first state.

        Parameters
        ----------
        start : dict
            What is taken along.
        force_field, generator : dict
            Checkpoints that the node starts with.
        started_from : dict
            ``node`` and ``state``.
        offsets : dict
            Energy offsets of labels that lead to this force field already.
        fit_generator : bool
            Fit the generator on the population; it has learned nothing yet.
        labels : bool
            Whether there are labels.
        held_out : list of str or None
            Labels that a force field that goes on was never trained on; all of the test split if None.
        committee : dict, optional
            Members of the second opinion by name.
        generators : dict, optional
            Of a mixture, checkpoints of the other generators by family; one without a parent has learned nothing yet.
        """
        config, node = self.config, self.config.node
        prefix, workers = f"{node.name}/0", config.resources.workers
        panel = Panel(config, prefix, committee, force_field)
        drawing = Generators(config, prefix, generator, generators)
        jobs: list[Any] = []
        trained: dict[str, Any] = {}
        if labels:
            training = config.training.model_copy(update={"enabled": False})
            accept = config.labelling.accept_scale_mismatch
            fit = FitOffsetsMaker(f"{prefix}/fit-offsets", workers, training, accept_scale_mismatch=accept, node=node).make(
                start["labels"], start["splits"], force_field, offsets
            )
            jobs, trained = [fit], {"trained": fit.output}
        evaluate = ReevaluateUnionMaker(f"{prefix}/re-evaluate", workers, config.screening, node=node).make(
            {"population": start["population"], "samples": {}}, force_field
        )
        assess = AssessMaker(f"{prefix}/assess", workers, config.curation, node=node, **labelled_hull.judging(config)).make(
            evaluate.output["shards"],
            None,
            start["labels"] if labels else None,
            **(labelled_hull.on_scale(config, trained["trained"]["offsets"]) if labels else {}),
        )
        judged = panel.judge(assess, evaluate.output["shards"], force_field, labels=start["labels"] if labels else None)
        examples = drawing.learns_from(assess.output, judged)
        drawing.train(examples, evaluate.output["shards"], 0, only=drawing.unfitted(main=fit_generator))
        jobs += [evaluate, assess, *panel.jobs, *drawing.jobs]
        model: dict[str, Any] = {"force_field": force_field, "parents": [], "references": start["references"]}
        if labels:
            model |= {"offsets": trained["trained"]["offsets"], "labels": start["labels"], "splits": start["splits"]}
            model |= {"held_out": held_out}
        environments, calibrations = calibrating(config, prefix, force_field, [], evaluate.output["shards"])
        measure = MeasureMaker(f"{prefix}/measure", workers, config.maturity, node=node, **labelled_hull.measuring(config)).make(
            judged,
            evaluate.output["shards"],
            drawing.output,
            0,
            model=model,
            **trained,
            **environments,
            **drawing.for_measurement(),
        )
        commit = CommitStartMaker(f"{prefix}/commit", workers, self.branch, config=config).make(
            {
                "start": start,
                "evaluated": evaluate.output,
                "assessed": judged,
                "force_field": force_field,
                "generator": drawing.output,
                "measured": measure.output,
                "started_from": started_from,
                **trained,
                **environments,
                **panel.for_commit(),
                **drawing.for_commit(),
            }
        )
        return Flow([*jobs, *calibrations, measure, commit], output=commit.output, name=f"{prefix}/start")


def started(config: NodeConfig, prefix: str, checkpoints: Checkpoints) -> tuple[Checkpoint, Generators, Panel]:
    """Force field, generators and second opinion that a flow starts with: models and generators by slot, members by name."""
    members = {name: each for name, each in checkpoints.items() if name != "force_field" and not is_generator(name)}
    drawing = Generators(config, prefix, checkpoints["generator"], further(checkpoints))
    return checkpoints["force_field"], drawing, Panel(config, prefix, members, checkpoints["force_field"])


def assessed(
    config: NodeConfig,
    prefix: str,
    unite: Any,
    force_field: Any,
    parents: list[str],
    panel: Panel,
    audit: Audit,
    iteration: int,
    labels: Any = None,
    *,
    offsets: Any,
    judged_by: LabellingConfig | None = None,
) -> tuple[Any, Any, list[Any]]:
    """Evaluate a united population by one force field and assess it, with the energy offsets of the new state.

    Who judges a hull of labelled phases is :func:`coevo.flows.labelled_hull.judging`.

    Returns
    -------
    evaluate : Job
    judged : reference
        To what was assessed, with the second opinion and the audit of a node that has them.
    jobs : list
        All that it took.
    """
    node, workers = config.node, config.resources.workers
    evaluate = ReevaluateUnionMaker(f"{prefix}/re-evaluate", workers, config.screening, node=node).make(unite.output, force_field)
    judging = labelled_hull.judging(config, judged_by)
    assess = AssessMaker(f"{prefix}/assess", workers, config.curation, node=node, **judging).make(
        evaluate.output["shards"], parents, labels, **labelled_hull.on_scale(config, offsets)
    )
    judged = panel.judge(assess, evaluate.output["shards"], force_field, parents, labels)
    judged = audit.judge_again(
        judged, evaluate.output["shards"], force_field, parents, iteration, labels, unite.output["references"]
    )
    return evaluate, judged, [evaluate, assess, *panel.jobs, *audit.jobs]
