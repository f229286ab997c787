"""Generate: one job draws one shard of candidates from the generator checkpoint."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from coevo.configs.tree import GeneratorConfig, NodeSection
from coevo.families import descriptor_of
from coevo.families.built_in import CRYSTAL_PACKAGES
from coevo.makers.checkpoints import load_generator
from coevo.makers.screen import family_of
from coevo.makers.step import StepMaker, current_store, step, versions_of_family, workers_of_family, write_records
from coevo.node_store.seeds import seed_for
from coevo.output.progress import task

if TYPE_CHECKING:
    from collections.abc import Mapping

    from coevo.makers.outputs import Checkpoint, Generated

if TYPE_CHECKING:
    from coevo.models.contracts import Conditions


def chemical_systems(elements: tuple[str, ...], subsystem_fraction: float) -> dict[str, float]:
    """Weights of the chemical system and its proper sub-systems of two and more elements, which share ``subsystem_fraction``."""
    from itertools import combinations

    whole = "-".join(sorted(elements))
    proper = ["-".join(c) for size in range(2, len(elements)) for c in combinations(sorted(elements), size)]
    if not proper:
        return {whole: 1.0}
    return {whole: 1.0 - subsystem_fraction, **{name: subsystem_fraction / len(proper) for name in proper}}


def conditions_of(node: NodeSection, generator: GeneratorConfig) -> Conditions:
    """What a configuration asks a generator for."""
    from coevo.models.contracts import Conditions

    return Conditions(
        elements=node.elements,
        max_atoms=generator.max_atoms,
        chemical_systems=chemical_systems(node.elements, generator.subsystem_fraction),
        compositions=generator.compositions,
        energy_above_hull=generator.target_energy_above_hull,
    )


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
        seed = seed_for(self.node, iteration, self.purpose, shard)
        conditions = conditions_of(self.node, self.generator)
        with task("generating", count, "structures") as advance:
            if descriptor_of(checkpoint["family"], "generator").in_workers:
                spread: Any = generator  # its sample takes ``workers``, which the contract does not ask of all families
                sample = spread.sample(count, conditions, seed, progress=advance, workers=self.usable_workers())
            else:
                sample = generator.sample(count, conditions, seed, progress=advance)
        where = {"generator": checkpoint["sha256"], "iteration": iteration, "shard": shard, "seed": seed}
        records = [
            {
                "id": structure_id(candidate.structure),
                "structure": structure_document(candidate.structure),
                "origin": {**candidate.origin, **where, "index": index},
            }
            for index, candidate in enumerate(sample.candidates)
        ]
        return {"candidates": write_records(store, records), "rejected": dict(sorted(sample.rejected.items()))}
