"""How the generators of a node are wired into a flow: each draws its share of the candidates and is fitted on the same examples.

A flow asks its :class:`Generators` at a few places. With one generator they wire what a node always had, under the same names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coevo.errors import ConfigError
from coevo.makers.breed import BreedMaker
from coevo.makers.generate import GenerateMaker
from coevo.makers.race import RaceMaker
from coevo.makers.train_generator import TrainGeneratorMaker

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from coevo.configs.tree import GeneratorConfig, NodeConfig
    from coevo.makers.generators import DrawnBy
    from coevo.makers.outputs import Checkpoint


def shard_counts(total: int, shard_size: int) -> list[int]:
    """Cut ``total`` candidates into shards of at most ``shard_size``."""
    return [min(shard_size, total - start) for start in range(0, total, shard_size)]


class Generators:
    """The generators within one flow.

    Parameters
    ----------
    config : NodeConfig
    prefix : str
        How names of jobs begin: ``NODE/ITERATION``.
    generator : dict
        Checkpoint in the slot ``generator`` that the flow starts with.
    further : mapping of str to dict, optional
        Those of the other families of a mixture, as :func:`coevo.makers.generators.further` gives them.

    Attributes
    ----------
    jobs : list
        Of the fits that were added.
    drawn : list
        Jobs whose draws raced; empty without a race.
    bred : list
        Jobs of the fits between the parts of an iteration.

    Raises
    ------
    ConfigError
        The configuration has a mixture, and the flow was not given the checkpoints of all its families.
    """

    def __init__(self, config: NodeConfig, prefix: str, generator: Checkpoint, further: Mapping[str, Checkpoint] | None = None):
        self._config, self._prefix = config, prefix
        main, *others = config.generator.families
        given = dict(further or {})
        if lacking := [family for family in others if family not in given]:
            raise ConfigError(
                f"node {config.node.name}: generator.mixture has {', '.join(lacking)}, and the flow was not given their "
                "checkpoints; pass generators=coevo.makers.generators.further(coevo.makers.generators.generators_for(config, "
                "checkpoints))"
            )
        self._main = main
        self._before: dict[str, Checkpoint] = {main: generator, **{family: given[family] for family in others}}
        self._after: dict[str, Any] = {
            family: {"checkpoint": checkpoint, "fitted": False, "report": {}} for family, checkpoint in self._before.items()
        }
        self.drawn_by: list[DrawnBy] = []
        self.jobs: list[Any] = []
        self.drawn: list[Any] = []
        self.bred: list[Any] = []
        self._drawing: dict[str, Any] = dict(self._before)

    @property
    def _mixed(self) -> bool:
        return bool(self._config.generator.mixture)

    def _section(self, family: str) -> GeneratorConfig:
        section = self._config.generator
        return section.of_family(family) if self._mixed else section

    def _name(self, step: str, family: str) -> str:
        return f"{self._prefix}/{step}/{family}" if self._mixed else f"{self._prefix}/{step}"

    def draw(self, iteration: int, force_field: Any, *, part: int = 0) -> list[Any]:
        """Return the jobs that give the candidates of a part of an iteration, shards numbered through all families and parts.

        Parameters
        ----------
        iteration : int
        force_field : dict
            Checkpoint that looks at the draws of a race.
        part : int
            Of ``generator.generations``.

        Returns
        -------
        list of Job
            Outputs have ``candidates``; with a race they are its jobs, and those that draw are in ``drawn``.
        """
        config, section = self._config, self._config.generator
        workers, jobs = config.resources.workers, []
        for family, share in section.shares().items():
            asked = share * (part + 1) // section.generations - share * part // section.generations
            for count in shard_counts(asked, section.shard_size):
                shard = len(self.drawn_by)
                name = f"{self._name('generate', family)}/{shard:04d}"
                maker = GenerateMaker(name, workers, self._section(family), node=config.node)
                self.drawn_by.append({"family": family, "asked": count})
                job = maker.make(self._drawing[family], iteration, shard, count * section.racing)
                if section.racing > 1:
                    self.drawn.append(job)
                    race = RaceMaker(
                        f"{self._prefix}/race/{shard:04d}",
                        workers,
                        list(config.node.elements),
                        config.screening,
                        section.racing_steps,
                    )
                    job = race.make(job.output, force_field, count)
                jobs.append(job)
        return jobs

    def breed(self, screened: list[Any], parent: str, iteration: int, part: int) -> None:
        """Fit the generator on what was relaxed so far; it draws from then on.

        Parameters
        ----------
        screened : list of reference
            To the outputs of the screen jobs of all parts before.
        parent : str
            Id of the parent state.
        iteration, part : int
            That it draws next.
        """
        config, family = self._config, self._main
        job = BreedMaker(
            f"{self._prefix}/breed/{part:04d}", config.resources.workers, config.generator, config.curation, node=config.node
        ).make(self._before[family], screened, parent, iteration, part)
        self._drawing[family] = job.output["checkpoint"]
        self.bred.append(job)

    @property
    def tells_formulas(self) -> bool:
        """Whether curation says over how many formulas candidates are spread: where a race or breeding could narrow it."""
        return self._config.generator.racing > 1 or self._config.generator.generations > 1

    def learns_from(self, assessed: Any, judged: Any) -> Any:
        """Which evaluations the fits are given: those with a second opinion, where what is disputed is no parent."""
        return judged if self._config.generator.safe_parents else assessed

    def for_curation(self) -> dict[str, Any]:
        """What the curate job is told in addition: who drew each shard."""
        return {"drawn_by": self.drawn_by} if self._mixed else {}

    def train(self, assessed: Any, shards: Any, iteration: int, *, only: Collection[str] | None = None) -> None:
        """Fit each generator on the population of the new state; one whose weight is 0 stays as it is.

        Parameters
        ----------
        assessed : reference
            To the output of the assess job.
        shards : reference
            To the evaluated shards.
        iteration : int
        only : collection of str, optional
            Families to fit; all by default.
        """
        config = self._config
        for family, before in self._before.items():
            if only is not None and family not in only:
                continue
            if self._mixed and not config.generator.mixture[family]:
                self._after[family]["report"] = {"reason": "its weight in generator.mixture is 0"}
                continue
            job = TrainGeneratorMaker(
                self._name("train-generator", family), config.resources.workers, self._section(family), node=config.node
            ).make(assessed, shards, before, iteration)
            self._after[family] = job.output
            self.jobs.append(job)

    def unfitted(self, *, main: bool) -> list[str]:
        """Families that have learned nothing yet; ``main`` says so of that in the slot ``generator``."""
        further = [family for family, before in self._before.items() if family != self._main and not before.get("parent")]
        return [*([self._main] if main else []), *further]

    @property
    def output(self) -> Any:
        """What became of that in the slot ``generator``."""
        return self._after[self._main]

    @property
    def checkpoint(self) -> Any:
        """Checkpoint of the new state in the slot ``generator``."""
        return self.output["checkpoint"]

    def for_measurement(self) -> dict[str, Any]:
        """What the measure job is told in addition."""
        return {"generators": dict(self._after)} if self._mixed else {}

    def for_merge(self) -> dict[str, Any]:
        """What the commit of a merge is told in addition: of a mixture, the fit of that in the slot ``generator`` too."""
        return {"fitted_generator": self.output, **self.for_commit()} if self._mixed else {}

    def for_commit(self) -> dict[str, Any]:
        """What the commit is told in addition: the generators beside that in the slot ``generator``, by family, and draws."""
        told: dict[str, Any] = {}
        if self.drawn:
            told["drawn"] = [job.output for job in self.drawn]
        if self.bred:
            told["bred"] = [job.output for job in self.bred]
        if self._mixed:
            told["generators"] = {name: each for name, each in self._after.items() if name != self._main}
        return told
