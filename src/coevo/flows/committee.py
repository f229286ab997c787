"""How the second opinion is wired into a flow: members are fitted, evaluate the population, and judge.

A flow asks its :class:`Panel` at a few places, and a panel without members hands back what it was given.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coevo.configs.uncertainty_section import UncertaintyConfig
from coevo.errors import ConfigError
from coevo.makers.committee.calibrate import CalibrateMaker
from coevo.makers.committee.evaluate_members import EvaluateMembersMaker
from coevo.makers.committee.members import wanted_names
from coevo.makers.committee.opinions import OpinionsMaker
from coevo.makers.committee.train_member import TrainMemberMaker

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from coevo.configs.tree import NodeConfig
    from coevo.makers.outputs import Checkpoint


class Panel:
    """The second opinion within one flow.

    Parameters
    ----------
    config : NodeConfig
    prefix : str
        How names of jobs begin: ``NODE/ITERATION``.
    members : mapping of str to dict, or None
        Checkpoints that the flow starts with, as :func:`coevo.makers.committee.members.members_for` gives them.
    force_field : dict
        Checkpoint of the state that is continued.

    Attributes
    ----------
    jobs : list
        That it added to the flow.

    Raises
    ------
    ConfigError
        The configuration wants published members, and the flow was not given them.
    """

    def __init__(self, config: NodeConfig, prefix: str, members: Mapping[str, Checkpoint] | None, force_field: Any):
        self._config, self._prefix = config, prefix
        self._workers = config.resources.workers
        self._before = dict(members or {}) if config.uncertainty.in_use else {}
        self._force_field = force_field
        lacking = [other.name for other in config.uncertainty.others if other.name not in self._before]
        if lacking:
            raise ConfigError(
                f"node {config.node.name}: uncertainty.families wants {', '.join(lacking)}, and the flow was not given their "
                "checkpoints; pass committee=coevo.makers.committee.members.members_for(config, checkpoints)"
            )
        self._members: dict[str, Any] = {name: self._before.get(name) for name in wanted_names(config)}
        self._fits: dict[str, Any] = {}
        self._calibrated: Any = None
        self._steps: list[Any] = []
        self._evaluated: Any = None
        self.jobs: list[Any] = []

    @property
    def _in_use(self) -> bool:
        return self._config.uncertainty.in_use

    @property
    def asked_in_selection(self) -> UncertaintyConfig:
        """The section, as far as selection depends on it."""
        return self._config.uncertainty if self._config.selection.uncertainty_fraction else UncertaintyConfig()

    def spread(self, admitted: Any) -> dict[str, Any]:
        """Have the parent's members evaluate admitted candidates; returns what the select job is given in addition."""
        if not self._config.selection.uncertainty_fraction or not self._before:
            return {}
        job = EvaluateMembersMaker(f"{self._prefix}/spread", self._workers).make(admitted, self._before)
        self.jobs.append(job)
        return {"spread": job.output}

    def compare(self, trained: Any, parent: str) -> None:
        """Compare the errors of the parent's force field on new labels with the spread of its members."""
        if not self._before:
            return
        calibrate = CalibrateMaker(
            f"{self._prefix}/calibrate", self._workers, node=self._config.node, uncertainty=self._config.uncertainty
        ).make(trained, self._force_field, self._before, parent)
        self._calibrated = calibrate.output
        self.jobs.append(calibrate)
        self._steps.append(calibrate.output)

    def train(self, trained: Any, parents: Sequence[str], iteration: int, start: str = "") -> None:
        """Fit the members of the node's own family on the labels of the new state.

        Parameters
        ----------
        trained : reference
            To the output of the train-force-field job.
        parents : sequence of str
            Ids of the states with older labels.
        iteration : int
        start : str
            Of several parents the one that is continued.
        """
        if not self._in_use:
            return
        config = self._config
        own = config.uncertainty.own_names(config.screening.force_field.family)
        for number, name in enumerate(own, start=1):
            maker = TrainMemberMaker(
                f"{self._prefix}/train-member/{name}", self._workers, config.training, node=config.node, number=number
            )
            before = self._before.get(name)
            job = maker.make(trained, before or self._force_field, list(parents), iteration, first=before is None, start=start)
            self._members[name] = job.output["checkpoint"]
            self._fits[name] = job.output
            self._steps.append(job.output)
            self.jobs.append(job)

    def judge(self, assess: Any, shards: Any, force_field: Any, parents: Sequence[str] = (), labels: Any = None) -> Any:
        """Have the members judge; returns the output to use in place of that of the assess job.

        Parameters
        ----------
        assess : Job
        shards : reference
            To the evaluated shards.
        force_field : dict or reference
            Checkpoint of the new state.
        parents : sequence of str
            Ids of the states with older labels.
        labels : reference, optional
            To the shard of new labels.
        """
        if not self._in_use:
            return assess.output
        config = self._config
        evaluate = EvaluateMembersMaker(f"{self._prefix}/re-evaluate-member", self._workers).make(shards, self._members)
        opinions = OpinionsMaker(
            f"{self._prefix}/opinions",
            self._workers,
            node=config.node,
            curation=config.curation,
            uncertainty=config.uncertainty,
            labelling=config.labelling,
            force_field=config.screening.force_field,
        ).make(
            assess.output,
            shards,
            evaluate.output,
            self._members,
            force_field,
            self._fits,
            list(parents),
            labels=labels,
            calibrated=self._calibrated,
        )
        self.jobs += [evaluate, opinions]
        self._steps.append(assess.output)
        self._evaluated = evaluate.output
        return opinions.output

    def for_commit(self) -> dict[str, Any]:
        """What the commit is told in addition."""
        if not self._in_use:
            return {}
        return {"committee": {"checkpoints": self._members, "steps": self._steps, "evaluated": self._evaluated}}
