"""Race: one job looks at all draws of a shard with the force field and keeps the best of each formula for full relaxation.

How many of a formula are kept is what its share of the draws gives, so a formula whose energy is easily lowered takes no place of
another. What is kept is screened from the geometry that was drawn: a race changes who is relaxed, and nothing of how.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

from coevo.configs.tree import ScreeningConfig
from coevo.makers.checkpoints import load_force_field
from coevo.makers.screen import FIRST_PACKAGES, family_of, reason_against, relaxation_settings
from coevo.makers.step import StepMaker, current_store, read_records, step, versions_of_family, workers_of_family, write_records
from coevo.output.progress import task

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pymatgen.core import Structure

    from coevo.makers.outputs import Checkpoint, Generated, Raced

RACED_OUT = "raced_out"
"""Reason of a draw that was looked at and not kept."""


def places(formulas: Sequence[str], count: int) -> dict[str, int]:
    """Say how many of each formula are kept: by its share of the draws, what is left to the largest remainders.

    Parameters
    ----------
    formulas : sequence of str
        Of the draws, in their order.
    count : int
        To keep.

    Returns
    -------
    dict
        Together ``count``, or all draws if there are fewer. Of equal remainders the formula that was drawn first goes before.
    """
    drawn, kept = Counter(formulas), min(count, len(formulas))
    if not kept:
        return dict.fromkeys(drawn, 0)
    found = {formula: number * kept // len(formulas) for formula, number in drawn.items()}
    remainders = {formula: number * kept % len(formulas) for formula, number in drawn.items()}
    for formula in sorted(remainders, key=lambda name: -remainders[name])[: kept - sum(found.values())]:  # stable
        found[formula] += 1
    return found


def winners(formulas: Sequence[str], energies: Sequence[float], count: int) -> list[int]:
    """Return the numbers of the draws that are kept, in the order of the draws.

    Parameters
    ----------
    formulas : sequence of str
    energies : sequence of float
        By the first look, eV/atom; inf of one that could not be looked at, which goes last. Of equal ones the first drawn wins.
    count : int
        To keep.
    """
    left = places(formulas, count)
    kept = []
    for index in sorted(range(len(formulas)), key=lambda k: energies[k]):  # stable
        if left[formulas[index]]:
            left[formulas[index]] -= 1
            kept.append(index)
    return sorted(kept)


@dataclass
class RaceMaker(StepMaker):
    """Keep the best draws of one shard.

    Attributes
    ----------
    elements : list of str
    screening : ScreeningConfig
    steps : int
        Of relaxation before the look; 0 looks at the draws as they are.
    """

    name: str = "race"
    elements: list[str] = field(default_factory=list)
    screening: ScreeningConfig = field(default_factory=ScreeningConfig)
    steps: int = 0

    packages: ClassVar[tuple[str, ...]] = FIRST_PACKAGES

    def versions(self, inputs: Mapping[str, Any]) -> dict[str, str]:
        """Those of the family of the checkpoint."""
        return versions_of_family(self, "force_field", family_of(inputs, self.screening.force_field.family))

    def workers_beside_others(self, inputs: Mapping[str, Any]) -> int:
        """Worker processes, where they do all the work of the family."""
        return workers_of_family(self, "force_field", family_of(inputs, ""))

    @step
    def make(self, generated: Generated, checkpoint: Checkpoint, count: int) -> Raced:
        """Look at the draws of a shard and keep ``count``.

        Parameters
        ----------
        generated : dict
            Output of the generate job.
        checkpoint : dict
            Force-field checkpoint.
        count : int
            Candidates to keep.

        Returns
        -------
        dict
            As the generate job, with ``candidates`` kept and ``raced_out`` among ``rejected``; ``drawn`` (number of draws),
            ``steps`` (relaxation steps of the look in all).
        """
        from coevo.models.contracts import Failure
        from coevo.node_store.canonical import structure_from_document

        store = current_store()
        records = list(read_records(store, generated["candidates"]))
        structures = [structure_from_document(record["structure"]) for record in records]
        energies = [math.inf] * len(records)
        steps = 0
        # what screening would refuse is not looked at; it is kept only where its formula has nothing better
        sound = [index for index, each in enumerate(structures) if reason_against(each, self.elements, self.screening) is None]
        if len(records) > count:
            force_field = load_force_field(store, checkpoint)
            seen: Sequence[Structure] = [structures[index] for index in sound]
            with task("racing", len(seen), "structures") as advance:
                if self.steps:
                    settings = replace(relaxation_settings(self.screening), max_steps=self.steps, keep_unconverged=True)
                    for index, found in zip(
                        sound, force_field.relax(seen, settings, workers=self.usable_workers(), progress=advance), strict=True
                    ):
                        if not isinstance(found, Failure):
                            energies[index] = found.prediction.energy
                            steps += found.steps
                else:
                    for index, said in zip(
                        sound, force_field.evaluate(seen, workers=self.usable_workers(), progress=advance), strict=True
                    ):
                        if not isinstance(said, Failure):
                            energies[index] = said.energy
        kept = winners([each.composition.reduced_formula for each in structures], energies, count)
        rejected = Counter(generated["rejected"])
        if len(kept) < len(records):
            rejected[RACED_OUT] += len(records) - len(kept)
        return {
            "candidates": write_records(store, [records[index] for index in kept]),
            "rejected": dict(sorted(rejected.items())),
            "drawn": len(records),
            "steps": steps,
        }
