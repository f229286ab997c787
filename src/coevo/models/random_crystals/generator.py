"""The embedded generator: random symmetric crystals, crystals built from units and variations of good parents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from coevo.configs.tree import GeneratorConfig
from coevo.errors import ModelError
from coevo.models.contracts import Candidate, Capabilities, Sample
from coevo.models.random_crystals.context import SamplingContext, SystemContexts
from coevo.models.random_crystals.fitting import learn
from coevo.models.random_crystals.geometry import RejectedDrawError
from coevo.models.random_crystals.knowledge import Knowledge, read_knowledge

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from pymatgen.core import Structure

    from coevo.models.contracts import Conditions, Example, Progress

_DRAWS_PER_CANDIDATE = 4
_REPEATS = 8
_OCCUPATION_SHARE = 0.3
"""Share of the random symmetric crystals that reuse the Wyckoff positions of good examples."""


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

    def sample(self, n: int, conditions: Conditions, seed: int, *, progress: Progress | None = None) -> Sample:
        """Draw candidates.

        Parameters
        ----------
        n : int
            Candidates wanted; fewer come back when most draws are rejected (at most 4 n + 20 draws of 8 tries are made).
        conditions : Conditions
        seed : int
        progress : callable, optional
            Called with 1 for each candidate.

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
        systems = SystemContexts(self.knowledge, conditions)
        candidates: list[Candidate] = []
        rejected: dict[str, int] = {}
        for draw in range(_DRAWS_PER_CANDIDATE * n + 20):
            if len(candidates) >= n:
                break
            rng = np.random.default_rng([seed, draw])
            context = systems.draw(rng)
            if context is None:
                rejected["no_composition"] = rejected.get("no_composition", 0) + 1
                continue
            operator = self._operator(context, rng)
            # A failed draw is repeated in the same system with the same operator: the mix is that asked for, not the easy one.
            for _ in range(_REPEATS):
                try:
                    structure, origin = operator(context, rng)
                    context.check(structure)
                except RejectedDrawError as err:
                    rejected[err.reason] = rejected.get(err.reason, 0) + 1
                else:
                    candidates.append(Candidate(structure, {"generator": self.family, "draw": draw} | origin))
                    if progress is not None:
                        progress(1)
                    break
        return Sample(candidates, dict(sorted(rejected.items())))

    def _operator(
        self, context: SamplingContext, rng: np.random.Generator
    ) -> Callable[[SamplingContext, np.random.Generator], tuple[Structure, dict[str, Any]]]:
        from coevo.models.random_crystals.packing import draw_packing
        from coevo.models.random_crystals.symmetric import draw_occupation, draw_symmetric
        from coevo.models.random_crystals.variation import draw_variation

        settings = self.knowledge.settings
        small = any(len(p.species) <= context.conditions.max_atoms for p, _ in context.parents)
        if small and rng.random() < settings.variation_fraction:
            return draw_variation
        if context.units and rng.random() < settings.unit_fraction:
            return draw_packing
        if self.knowledge.occupations and rng.random() < _OCCUPATION_SHARE:
            return draw_occupation
        return draw_symmetric

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
