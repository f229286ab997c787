"""The embedded generator: random symmetric crystals, crystals built from units and variations of good parents."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, ClassVar

from coevo.configs.tree import GeneratorConfig
from coevo.errors import ModelError
from coevo.models.contracts import Candidate, Capabilities, Sample
from coevo.models.random_crystals.draws import in_order
from coevo.models.random_crystals.fitting import learn
from coevo.models.random_crystals.focus import choose
from coevo.models.random_crystals.knowledge import Knowledge, formula_key, read_knowledge

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from coevo.models.contracts import Conditions, Example, Progress

_DRAWS_PER_CANDIDATE = 4


class EmbeddedGenerator:
    """A crystal generator that learns distributions, with no weights, no GPU and no download.

    Parameters
    ----------
    knowledge : Knowledge
        What it has learned.
    """

    family: ClassVar[str] = "embedded"
    format: ClassVar[str] = "json"
    capabilities: ClassVar[Capabilities] = Capabilities()

    def __init__(self, knowledge: Knowledge):
        self.knowledge = knowledge

    @classmethod
    def initial(cls, settings: GeneratorConfig | None = None) -> EmbeddedGenerator:
        """A generator that has seen no example."""
        return cls(Knowledge(settings=settings or GeneratorConfig()))

    @classmethod
    def load(cls, path: Path, settings: GeneratorConfig | None = None) -> EmbeddedGenerator:
        """Read a checkpoint.

        Parameters
        ----------
        path : Path
        settings : GeneratorConfig, optional
            Take the place of those that the checkpoint was fitted with.

        Raises
        ------
        CheckpointError
            If the file is cut short, damaged, or of another family.
        """
        knowledge = read_knowledge(path)
        return cls(knowledge if settings is None else knowledge.model_copy(update={"settings": settings}))

    def save(self, path: Path) -> None:
        """Write the checkpoint: canonical JSON, the same generator writes the same bytes."""
        path.write_bytes(self.knowledge.to_bytes())

    def sample(self, n: int, conditions: Conditions, seed: int, *, progress: Progress | None = None, workers: int = 1) -> Sample:
        """Draw candidates.

        Parameters
        ----------
        n : int
            Candidates wanted; fewer come back when most draws are rejected (at most 4 n + 20 draws of 8 tries are made).
        conditions : Conditions
        seed : int
        progress : callable, optional
            Called with 1 for each candidate.
        workers : int
            Worker processes; each draw has random numbers of its own, so the result does not depend on it.

        Returns
        -------
        Sample
            Candidates in order of their draws, and the count of rejected draws by reason.

        Raises
        ------
        ModelError
            If ``n`` is negative or no element is given.
        """
        if n < 0 or not conditions.elements:
            raise ModelError(f"cannot sample {n} candidates of elements {list(conditions.elements)}: give n ≥ 0 and elements")
        candidates: list[Candidate] = []
        rejected: Counter[str] = Counter()
        for drawn in in_order(self.knowledge, conditions, seed, n, most=_DRAWS_PER_CANDIDATE * n + 20, workers=workers):
            rejected.update(drawn.rejected)
            if drawn.structure is not None:
                candidates.append(Candidate(drawn.structure, {"generator": self.family, "draw": drawn.number} | drawn.origin))
                if progress is not None:
                    progress(1)
        return Sample(candidates, dict(sorted(rejected.items())))

    def fit(self, examples: Sequence[Example], seed: int) -> tuple[EmbeddedGenerator, dict[str, Any]]:
        """Learn from all the examples; this generator is left as it is.

        Parameters
        ----------
        examples : sequence of Example
            All that the generator is to know (full replay).
        seed : int
            Not used: the fit counts and draws nothing. Part of the contract.

        Returns
        -------
        EmbeddedGenerator, dict
            The new generator and a report (JSON).
        """
        del seed
        knowledge, report = learn(self.knowledge, examples)
        return EmbeddedGenerator(knowledge), report

    def keep_focus(self, before: EmbeddedGenerator, conditions: Conditions) -> EmbeddedGenerator:
        """Return this generator with the formulas in focus that another has, whose draws are in all parts of an iteration."""
        names = tuple(formula_key(f.amounts) for f in choose(before.knowledge, conditions))
        return EmbeddedGenerator(self.knowledge.model_copy(update={"focus": names}))
