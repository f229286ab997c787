"""One state transition as a jobflow Flow: generate, screen, curate, select, label, train, re-evaluate, measure, commit."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from jobflow import Flow, Maker

from coevo.errors import ConfigError
from coevo.flows import labelled_hull
from coevo.flows.audit import Audit
from coevo.flows.committee import Panel
from coevo.flows.environments import calibrating
from coevo.flows.generators import Generators
from coevo.makers.assess import AssessMaker
from coevo.makers.commit import CommitMaker
from coevo.makers.curate import CurateMaker
from coevo.makers.evaluate import EvaluateReferencesMaker, ReevaluateMaker
from coevo.makers.label import LabelMaker
from coevo.makers.measure import MeasureMaker
from coevo.makers.screen import ScreenMaker
from coevo.makers.select import SelectMaker
from coevo.makers.train_force_field import TrainForceFieldMaker

if TYPE_CHECKING:
    from coevo.configs.tree import NodeConfig
    from coevo.makers.outputs import Checkpoint, Checkpoints
    from coevo.makers.step import ShardReference


def _called(maker: Maker | None, name: str) -> Any:
    """Return a Maker of the user's under the name of the step; its settings are the user's."""
    if maker is None:
        return None
    named: Any = copy(maker)
    named.name = name
    return named


def _check_family(config: NodeConfig, force_field: Checkpoint) -> None:
    """Refuse a configuration that says another force field than the one that the state has."""
    said = config.screening.force_field.family
    has = force_field.get("family") if isinstance(force_field, dict) else said  # of a job that has not run
    if has not in (said, None):
        raise ConfigError(
            f"node {config.node.name}: screening.force_field.family: got {said}, allowed: {has}, that of the "
            "state's force field; for another one start a node from the state: coevo init NEW --from-state REF --set "
            f"screening.force_field.family={said}"
        )


@dataclass
class CoevolutionMaker(Maker):
    """One turn of the loop: the Flow that makes a new state of a node from its parent state.

    Attributes
    ----------
    name : str
    config : NodeConfig
    branch : str
        Moved to the new state by the last job.
    screen_maker : Maker or None
        Takes the place of :class:`~coevo.makers.screen.ScreenMaker`, shard by shard: ``make(candidates, checkpoint)`` gives a Job
        or Flow whose output has the fields of :class:`~coevo.makers.outputs.Screened`.
    label_maker : Maker or None
        Takes the place of :class:`~coevo.makers.label.LabelMaker`: ``make(selected, parent)`` gives a Job or Flow whose output
        has the fields of :class:`~coevo.makers.outputs.Labelled`. docs/labels.md has an example.
    """

    name: str = "coevolution"
    config: NodeConfig = field(kw_only=True)
    branch: str = "main"
    screen_maker: Maker | None = None
    label_maker: Maker | None = None

    def make(
        self,
        parent: str,
        iteration: int,
        force_field: Checkpoint,
        generator: Checkpoint,
        committee: Checkpoints | None = None,
        generators: Checkpoints | None = None,
    ) -> Flow:
        """Wire the transition.

        Parameters
        ----------
        parent : str
            Id of the parent state.
        iteration : int
            Of the new state.
        force_field, generator : dict
            Checkpoints of the parent state.
        committee : dict, optional
            Members of the second opinion by name (:func:`coevo.makers.committee.members.members_for`).
        generators : dict, optional
            Of a mixture, checkpoints of the other generators by family (:func:`coevo.makers.generators.further`).

        Returns
        -------
        Flow
            Its output is that of the commit: ``{"state": id}``.

        Raises
        ------
        ConfigError
            The configuration names another force field than that of the state, or models that the flow was not given.
        """
        config, node = self.config, self.config.node
        _check_family(config, force_field)
        prefix = f"{node.name}/{iteration}"
        workers = config.resources.workers
        panel = Panel(config, prefix, committee, force_field)
        drawing = Generators(config, prefix, generator, generators)

        generated: list[Any] = []
        screened: list[Any] = []
        for part in range(config.generator.generations):
            if part:
                drawing.breed([job.output for job in screened], parent, iteration, part)
            for candidates in drawing.draw(iteration, force_field, part=part):
                name = f"{prefix}/screen/{len(screened):04d}"
                screen = _called(self.screen_maker, name) or ScreenMaker(name, workers, list(node.elements), config.screening)
                generated.append(candidates)
                screened.append(screen.make(candidates.output["candidates"], force_field))
        outputs = {"generated": [j.output for j in generated], "screened": [j.output for j in screened]}

        curate = CurateMaker(
            f"{prefix}/curate",
            workers,
            config.curation,
            config.maturity,
            node=node,
            formulas=drawing.tells_formulas,
            **labelled_hull.judging(config),
        ).make(**outputs, checkpoint=force_field, parent=parent, iteration=iteration, **drawing.for_curation())
        select = SelectMaker(
            f"{prefix}/select",
            workers,
            config.selection,
            node=node,
            uncertainty=panel.asked_in_selection,
            **labelled_hull.selecting(config, labels_itself=self.label_maker is None),
        ).make(curate.output, parent, iteration, **panel.spread(curate.output["admitted"]))
        label_maker = _called(self.label_maker, f"{prefix}/label")
        own_label = LabelMaker(f"{prefix}/label", workers, config.labelling, config.maturity.stiffness, node=node)
        label = (label_maker or own_label).make(select.output, parent)
        matching = config.curation.of_matching()
        accept = config.labelling.accept_scale_mismatch
        train = TrainForceFieldMaker(f"{prefix}/train-force-field", workers, config.training, matching, accept, node=node).make(
            label.output, force_field, parent, iteration
        )
        panel.compare(train.output, parent)
        panel.train(train.output, [parent], iteration)
        evaluate = ReevaluateMaker(f"{prefix}/re-evaluate", workers, config.screening, node=node).make(
            curate.output, train.output, parent, iteration
        )
        assess = AssessMaker(f"{prefix}/assess", workers, config.curation, node=node, **labelled_hull.judging(config)).make(
            evaluate.output["shards"],
            [parent],
            train.output["labels"],
            **labelled_hull.on_scale(config, train.output["offsets"]),
        )
        shards, adopted = evaluate.output["shards"], train.output["checkpoint"]
        judged = panel.judge(assess, shards, adopted, [parent], train.output["labels"])
        examples = drawing.learns_from(assess.output, judged)
        audit = Audit(config, prefix)
        judged = audit.judge(judged, shards, curate.output, adopted, parent, iteration, train.output["labels"])
        drawing.train(examples, shards, iteration)
        steps = {"curated": curate.output, "selected": select.output, "labelled": label.output, "trained": train.output}
        model = {"force_field": train.output["checkpoint"], "parents": [parent]}
        model |= {name: train.output[name] for name in ("offsets", "labels", "splits")}
        environments, calibrations = calibrating(config, prefix, force_field, [parent])
        measure = MeasureMaker(f"{prefix}/measure", workers, config.maturity, node=node, **labelled_hull.measuring(config)).make(
            judged,
            shards,
            drawing.output,
            iteration,
            parent=parent,
            model=model,
            **steps,
            **environments,
            **drawing.for_measurement(),
        )
        commit = CommitMaker(f"{prefix}/commit", workers, self.branch, config=config).make(
            {
                "evaluated": evaluate.output,
                "assessed": judged,
                "generator": drawing.output,
                "force_field": adopted,
                "measured": measure.output,
                "iteration": iteration,
                "parent": parent,
                **outputs,
                **steps,
                **environments,
                **panel.for_commit(),
                **audit.for_commit(),
                **drawing.for_commit(),
            }
        )
        jobs = [
            *drawing.drawn,
            *generated,
            *screened,
            *drawing.bred,
            curate,
            select,
            label,
            train,
            evaluate,
            assess,
            *panel.jobs,
            *audit.jobs,
            *drawing.jobs,
            *calibrations,
            measure,
            commit,
        ]
        return Flow(jobs, output=commit.output, name=prefix)


@dataclass
class SeedMaker(Maker):
    """The Flow that makes the first state of a node: references evaluated by the published force field.

    Attributes
    ----------
    name : str
    config : NodeConfig
    branch : str
    """

    name: str = "seed"
    config: NodeConfig = field(kw_only=True)
    branch: str = "main"

    def make(
        self,
        references: ShardReference,
        force_field: Checkpoint,
        generator: Checkpoint,
        committee: Checkpoints | None = None,
        generators: Checkpoints | None = None,
    ) -> Flow:
        """Wire the first state.

        Parameters
        ----------
        references : dict
            Shard reference of reference documents.
        force_field, generator : dict
            Checkpoints to start from.
        committee : dict, optional
            Published members of the second opinion by name.
        generators : dict, optional
            Of a mixture, checkpoints of the other generators by family.
        """
        config, node = self.config, self.config.node
        prefix = f"{node.name}/0"
        workers = config.resources.workers
        panel = Panel(config, prefix, committee, force_field)
        drawing = Generators(config, prefix, generator, generators)
        evaluate = EvaluateReferencesMaker(f"{prefix}/evaluate-references", workers, config.screening, node=node).make(
            references, force_field
        )
        assess = AssessMaker(f"{prefix}/assess", workers, config.curation, node=node, **labelled_hull.judging(config)).make(
            evaluate.output["shards"]
        )
        judged = panel.judge(assess, evaluate.output["shards"], force_field)
        drawing.train(assess.output, evaluate.output["shards"], 0)
        environments, calibrations = calibrating(config, prefix, force_field, [], evaluate.output["shards"])
        measure = MeasureMaker(f"{prefix}/measure", workers, config.maturity, node=node, **labelled_hull.measuring(config)).make(
            judged,
            evaluate.output["shards"],
            drawing.output,
            0,
            model={"force_field": force_field, "parents": [], "references": references},
            **environments,
            **drawing.for_measurement(),
        )
        commit = CommitMaker(f"{prefix}/commit", workers, self.branch, config=config).make(
            {
                "evaluated": evaluate.output,
                "assessed": judged,
                "generator": drawing.output,
                "force_field": force_field,
                "measured": measure.output,
                "iteration": 0,
                "references": references,
                **environments,
                **panel.for_commit(),
                **drawing.for_commit(),
            }
        )
        jobs = [evaluate, assess, *panel.jobs, *drawing.jobs, *calibrations, measure, commit]
        return Flow(jobs, output=commit.output, name=prefix)
