"""Train the generator on all entries and references of the new state, stratified by E_hull through its own weights."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from coevo.configs.tree import GeneratorConfig, NodeSection
from coevo.families.built_in import CRYSTAL_PACKAGES
from coevo.makers.checkpoints import load_generator, save_checkpoint
from coevo.makers.screen import family_of
from coevo.makers.step import StepMaker, current_store, read_records, step, versions_of_family, write_records
from coevo.node_store.seeds import seed_for

if TYPE_CHECKING:
    from collections.abc import Mapping

    from coevo.makers.outputs import Assessed, Checkpoint, TrainedGenerator
    from coevo.makers.step import ShardReference


@dataclass
class TrainGeneratorMaker(StepMaker):
    """Refit the generator.

    Attributes
    ----------
    node : NodeSection
    generator : GeneratorConfig
    """

    name: str = "train-generator"
    node: NodeSection = field(kw_only=True)
    generator: GeneratorConfig = field(default_factory=GeneratorConfig)

    packages: ClassVar[tuple[str, ...]] = CRYSTAL_PACKAGES

    def versions(self, inputs: Mapping[str, Any]) -> dict[str, str]:
        """Those of the family of the generator."""
        return versions_of_family(self, "generator", family_of(inputs, self.generator.family))

    @step
    def make(self, assessed: Assessed, sources: list[ShardReference], checkpoint: Checkpoint, iteration: int) -> TrainedGenerator:
        """Train.

        Parameters
        ----------
        assessed : dict
            Output of the assess job.
        sources : list of dict
            Shard references in which the geometries stand (``id``, ``structure``), the last one of an id counts.
        checkpoint : dict
            Generator checkpoint of the parent state.
        iteration : int

        Returns
        -------
        dict
            ``checkpoint``, ``fitted``, ``report``. ``fitted`` is False, and the checkpoint the parent's, if fits are switched off
            or the family could not fit (the report has the ``reason``: say, no example fell into the validation part).
        """
        from coevo.makers.populations.parents import is_example
        from coevo.models.contracts import Example
        from coevo.node_store.canonical import structure_from_document

        store = current_store()
        if not self.generator.fit:
            return {"checkpoint": checkpoint, "fitted": False, "report": {"reason": "fits are switched off (generator.fit)"}}
        geometries = {r["id"]: r["structure"] for r in read_records(store, sources) if r["kind"] != "sample"}
        documents = [d for d in read_records(store, assessed["evaluations"]) if is_example(d, safe=self.generator.safe_parents)]
        examples = [
            Example(
                d["structure_id"],
                structure_from_document(geometries[d["structure_id"]]),
                d["energy_above_hull"],
                known=d.get("kind") == "reference",
            )
            for d in sorted(documents, key=lambda d: d["structure_id"])
        ]
        generator = load_generator(store, checkpoint, self.generator)
        seed = seed_for(self.node, iteration, "train-generator")
        fitted, report = generator.fit(examples, seed)
        if report.get("fitted") is False:
            return {"checkpoint": checkpoint, "fitted": False, "report": report}
        training_set = write_records(store, [{"id": e.id, "energy_above_hull": e.energy_above_hull} for e in examples])
        saved = save_checkpoint(store, fitted, parent=checkpoint, training_set=training_set["sha256"])
        return {"checkpoint": saved, "fitted": True, "report": report}
