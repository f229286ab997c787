"""Breed: a fit of the embedded generator within an iteration, on the parent state and on what was relaxed so far.

Its generator draws the next part of the iteration and goes into no state; that of the new state is fitted after curation.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from coevo.configs.tree import CurationConfig, GeneratorConfig, NodeSection
from coevo.families.built_in import CRYSTAL_PACKAGES
from coevo.makers.checkpoints import load_generator, save_checkpoint
from coevo.makers.generate import conditions_of
from coevo.makers.screen import family_of
from coevo.makers.step import StepMaker, current_store, read_records, step, versions_of_family, write_records
from coevo.node_store.seeds import seed_for

if TYPE_CHECKING:
    from collections.abc import Mapping

    from coevo.makers.outputs import Checkpoint, Screened, TrainedGenerator
    from coevo.models.contracts import Example
    from coevo.node_store.views import StateView


@dataclass
class BreedMaker(StepMaker):
    """Fit the generator between two parts of an iteration.

    Attributes
    ----------
    node : NodeSection
    generator : GeneratorConfig
    curation : CurationConfig
        What of the candidates would become entries.
    """

    name: str = "breed"
    node: NodeSection = field(kw_only=True)
    generator: GeneratorConfig = field(default_factory=GeneratorConfig)
    curation: CurationConfig = field(default_factory=CurationConfig)

    packages: ClassVar[tuple[str, ...]] = CRYSTAL_PACKAGES

    def versions(self, inputs: Mapping[str, Any]) -> dict[str, str]:
        """Those of the family of the generator."""
        return versions_of_family(self, "generator", family_of(inputs, self.generator.family))

    @step
    def make(self, checkpoint: Checkpoint, screened: list[Screened], parent: str, iteration: int, part: int) -> TrainedGenerator:
        """Train.

        Parameters
        ----------
        checkpoint : dict
            Generator checkpoint of the parent state.
        screened : list of dict
            Outputs of the screen jobs of all parts before.
        parent : str
            Id of the parent state.
        iteration, part : int
            For whose draws the generator is fitted; parts count from 0.

        Returns
        -------
        dict
            As the train-generator job; the report has ``bred_from``, how many of the examples are this iteration's candidates.
        """
        from coevo.makers.outputs import SCREENED, check_own
        from coevo.makers.populations.parents import is_example
        from coevo.makers.populations.population import members, open_state
        from coevo.models.contracts import Example
        from coevo.models.random_crystals.generator import EmbeddedGenerator

        for output in screened:
            check_own(output, SCREENED, "output of the screen step")
        store = current_store()
        view = open_state(store, self.node.name, parent)
        known = [
            Example(m.id, m.structure, m.document["energy_above_hull"], known=kind == "reference")
            for kind in ("reference", "entry")
            for m in members(view, kind)
            if is_example(m.document, safe=True)
        ]
        fresh = self._fresh(view, screened)
        examples = sorted([*known, *fresh], key=lambda example: example.id)
        generator = load_generator(store, checkpoint, self.generator)
        fitted, report = generator.fit(examples, seed_for(self.node, iteration, f"breed {part}"))
        report = {**report, "bred_from": len(fresh)}
        if report.get("fitted") is False:
            return {"checkpoint": checkpoint, "fitted": False, "report": report}
        if isinstance(generator, EmbeddedGenerator) and isinstance(fitted, EmbeddedGenerator):
            fitted = fitted.keep_focus(generator, conditions_of(self.node, self.generator))
            report.pop("focus", None)  # that of the next iteration, had it begun
        training_set = write_records(store, [{"id": e.id, "energy_above_hull": e.energy_above_hull} for e in examples])
        saved = save_checkpoint(store, fitted, parent=checkpoint, training_set=training_set["sha256"])
        return {"checkpoint": saved, "fitted": True, "report": report}

    def _fresh(self, view: StateView, screened: list[Screened]) -> list[Example]:
        """Candidates that would become entries by the parent's hull, without an electron excess."""
        from coevo.analysis.comparison.uniqueness import Item, find_representatives
        from coevo.analysis.composition import fractions
        from coevo.configs.electrons import has_electron_excess
        from coevo.makers.outputs import RELAXED, check_own
        from coevo.makers.populations.fingerprints import fingerprint_table
        from coevo.makers.populations.hull_members import state_hull
        from coevo.makers.populations.population import excess_of, matching_of, members
        from coevo.models.contracts import Example
        from coevo.node_store.canonical import structure_from_document

        found: dict[str, Item] = {}
        for record in read_records(current_store(), [output["relaxed"] for output in screened]):
            check_own(record, RELAXED, "structure that the screen step relaxed")
            item = Item(record["id"], structure_from_document(record["structure"]), record["energy_per_atom"])
            if not has_electron_excess(excess_of(item.structure)):
                found[item.id] = item
        items = [item for _, item in sorted(found.items())]
        if not items:
            return []
        known = [*members(view, "reference"), *members(view, "entry")]
        workers = self.usable_workers()
        table = fingerprint_table([*items, *(m.item for m in known)], [view.id], workers)
        # with a reference or entry, what matches it is no example of its own
        same = find_representatives(items, [m.item for m in known], matching_of(self.curation), known=table, workers=workers)
        taken = {m.id for m in known}
        above = state_hull(view, self.node.elements).energy_above_hull(
            fractions([item.structure for item in items], self.node.elements), [item.energy_per_atom for item in items]
        )
        return [
            Example(item.id, item.structure, max(0.0, float(e_hull)))  # below the parent's hull is on that of the new state
            for item, e_hull in zip(items, above, strict=True)
            if same[item.id] == item.id and item.id not in taken and e_hull <= self.curation.max_e_hull
        ]
