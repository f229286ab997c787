"""Generate: one job draws one shard of candidates from the generator checkpoint."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from math import floor
from typing import TYPE_CHECKING, Any, ClassVar

from coevo.configs.electrons import has_electron_excess
from coevo.configs.element_lists import chemical_systems
from coevo.configs.tree import GeneratorConfig, NodeSection
from coevo.families import descriptor_of
from coevo.families.built_in import CRYSTAL_PACKAGES
from coevo.makers.checkpoints import load_generator
from coevo.makers.screen import family_of
from coevo.makers.step import StepMaker, current_store, step, versions_of_family, workers_of_family, write_records
from coevo.node_store.seeds import seed_for
from coevo.output.progress import task

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from coevo.makers.outputs import Checkpoint, Generated
    from coevo.models.contracts import Candidate, Conditions, Sample

_AGAIN = 3
"""Draws that are made in place of dropped candidates, at most, one after the other."""


def conditions_of(node: NodeSection, generator: GeneratorConfig) -> Conditions:
    """What a configuration asks a generator for."""
    from coevo.models.contracts import Conditions

    return Conditions(
        elements=node.elements,
        max_atoms=generator.max_atoms,
        chemical_systems=chemical_systems(node.elements, generator.subsystem_fraction),
        compositions=generator.compositions,
        energy_above_hull=generator.target_energy_above_hull,
        electron_excess_share=generator.electron_excess_share,
    )


def within_share(candidates: Sequence[Candidate], share: float | None) -> list[Candidate]:
    """The first candidates of which at most a share has more electrons than their elements can take, in their order.

    Parameters
    ----------
    candidates : sequence of Candidate
        Those without an excess are all kept.
    share : float or None
        In [0, 1], of those that are kept; None sets no limit.
    """
    from coevo.makers.populations.population import excess_of

    if share is None or share >= 1:
        return list(candidates)
    marks = [has_electron_excess(excess_of(candidate.structure)) for candidate in candidates]
    # With w within and k beyond, k <= share (w + k); the last term is for what rounding takes from a whole number.
    left = floor(share * marks.count(False) / (1 - share) + 1e-9)
    kept = []
    for candidate, mark in zip(candidates, marks, strict=True):
        if mark and not left:
            continue
        left -= mark
        kept.append(candidate)
    return kept


def sample_within_share(draw: Callable[[int, int], Sample], count: int, seeds: Sequence[int], share: float | None) -> Sample:
    """Draw candidates, drop what is beyond the share of electron excess, and draw again in its place.

    Parameters
    ----------
    draw : callable
        Number of candidates and seed to sample.
    count : int
    seeds : sequence of int
        Of the draws, one after the other, at most.
    share : float or None
        In [0, 1]; None sets no limit.

    Returns
    -------
    Sample
        The origin of each candidate has its ``seed``; what was dropped is counted as ``electron_excess``.
    """
    from coevo.models.contracts import Sample

    kept: list[Candidate] = []
    rejected: Counter[str] = Counter()
    for seed in seeds:
        sample = draw(count - len(kept), seed)
        drawn = [*kept, *(replace(c, origin={**c.origin, "seed": seed}) for c in sample.candidates)]
        kept = within_share(drawn, share)
        rejected.update(sample.rejected)
        if len(kept) == len(drawn):
            break
        rejected["electron_excess"] += len(drawn) - len(kept)
    return Sample(kept, dict(rejected))


@dataclass
class GenerateMaker(StepMaker):
    """Draw one shard of candidates.

    Attributes
    ----------
    node : NodeSection
    generator : GeneratorConfig
    purpose : str
        What the candidates are for: part of the seed, so that a probe has other draws than an iteration.
    """

    name: str = "generate"
    node: NodeSection = field(kw_only=True)
    generator: GeneratorConfig = field(default_factory=GeneratorConfig)
    purpose: str = "generate"

    packages: ClassVar[tuple[str, ...]] = CRYSTAL_PACKAGES
    later: ClassVar[Mapping[str, Any]] = {"purpose": "generate"}

    def versions(self, inputs: Mapping[str, Any]) -> dict[str, str]:
        """Those of the family of the generator."""
        return versions_of_family(self, "generator", family_of(inputs, self.generator.family))

    def workers_beside_others(self, inputs: Mapping[str, Any]) -> int:
        """Worker processes, where they do all the work of the family."""
        return workers_of_family(self, "generator", family_of(inputs, ""))

    @step
    def make(self, checkpoint: Checkpoint, iteration: int, shard: int, count: int) -> Generated:
        """Draw ``count`` candidates.

        Parameters
        ----------
        checkpoint : dict
            Generator checkpoint.
        iteration, shard : int
            From which the seed is derived.
        count : int

        Returns
        -------
        dict
            ``candidates`` (shard reference), ``rejected`` (reason to count).
        """
        from coevo.node_store.canonical import structure_document, structure_id

        store = current_store()
        generator = load_generator(store, checkpoint, self.generator)
        conditions = conditions_of(self.node, self.generator)
        steps = [self.purpose]
        if generator.capabilities.complete:  # others may be slow to start, and give few of what there is room for
            steps += [f"{self.purpose} again {number}" for number in range(1, _AGAIN + 1)]
        seeds = [seed_for(self.node, iteration, name, shard) for name in steps]
        with task("generating", count, "structures") as advance:
            options: dict[str, Any] = {"progress": advance}
            if descriptor_of(checkpoint["family"], "generator").in_workers:
                options["workers"] = self.usable_workers()  # which the contract does not ask of all families

            def draw(number: int, seed: int) -> Sample:
                return generator.sample(number, conditions, seed, **options)

            sample = sample_within_share(draw, count, seeds, self.generator.electron_excess_share)
        where = {"generator": checkpoint["sha256"], "iteration": iteration, "shard": shard}
        records = [
            {
                "id": structure_id(candidate.structure),
                "structure": structure_document(candidate.structure),
                "origin": {**candidate.origin, **where, "index": index},
            }
            for index, candidate in enumerate(sample.candidates)
        ]
        return {"candidates": write_records(store, records), "rejected": dict(sorted(sample.rejected.items()))}
