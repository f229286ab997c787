"""Screen: one job checks and relaxes one shard of candidates with the force field; every failure keeps its reason."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from coevo.configs.tree import ScreeningConfig
from coevo.families import DEFAULT_FORCE_FIELD
from coevo.makers.checkpoints import load_force_field
from coevo.makers.step import StepMaker, current_store, read_records, step, versions_of_family, workers_of_family, write_records
from coevo.output.progress import task

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pymatgen.core import Structure

    from coevo.makers.outputs import Checkpoint, Screened
    from coevo.makers.step import Record, ShardReference
    from coevo.models.contracts import RelaxationSettings

FIRST_PACKAGES = DEFAULT_FORCE_FIELD.packages
"""Distributions whose versions are in the keys of all steps with a force field that earlier versions stored."""


def family_of(inputs: Mapping[str, Any], otherwise: str) -> str:
    """Family of the checkpoint among the inputs of a job."""
    checkpoint = inputs.get("checkpoint")
    return str(checkpoint["family"]) if isinstance(checkpoint, dict) and "family" in checkpoint else otherwise


def relaxation_settings(screening: ScreeningConfig, *, path_frames: int = 0) -> RelaxationSettings:
    """Return the force field's relaxation settings for a screening configuration."""
    from coevo.models.contracts import RelaxationSettings

    return RelaxationSettings(
        fmax=screening.fmax,
        max_steps=screening.max_steps,
        optimiser=screening.optimiser,
        batch_size=screening.batch_size,
        path_frames=path_frames,
    )


def reason_against(structure: Structure, elements: Sequence[str], screening: ScreeningConfig) -> str | None:
    """Why a structure is refused before and after its relaxation; None if it is not."""
    from coevo.analysis.sanity import check_structure

    return check_structure(
        structure,
        elements,
        min_distance=screening.min_distance,
        min_volume_per_atom=screening.min_volume_per_atom,
        max_volume_per_atom=screening.max_volume_per_atom,
        max_length_ratio=screening.max_length_ratio,
    )


@dataclass
class ScreenMaker(StepMaker):
    """Relax one shard of candidates.

    Attributes
    ----------
    elements : list of str
    screening : ScreeningConfig
    """

    name: str = "screen"
    elements: list[str] = field(default_factory=list)
    screening: ScreeningConfig = field(default_factory=ScreeningConfig)

    packages: ClassVar[tuple[str, ...]] = FIRST_PACKAGES

    def versions(self, inputs: Mapping[str, Any]) -> dict[str, str]:
        """Those of the family of the checkpoint."""
        return versions_of_family(self, "force_field", family_of(inputs, self.screening.force_field.family))

    def workers_beside_others(self, inputs: Mapping[str, Any]) -> int:
        """Worker processes, where they do all the work of the family."""
        return workers_of_family(self, "force_field", family_of(inputs, ""))

    @step
    def make(self, candidates: ShardReference, checkpoint: Checkpoint) -> Screened:
        """Relax candidates.

        Parameters
        ----------
        candidates : dict
            Shard reference of generated candidates.
        checkpoint : dict
            Force-field checkpoint.

        Returns
        -------
        dict
            ``relaxed`` and ``failed`` (shard references), ``rejected`` (reason to count), ``steps`` (relaxation steps in all).
        """
        from coevo.models.contracts import Failure
        from coevo.node_store.canonical import structure_document, structure_from_document, structure_id

        store = current_store()
        passed: list[Record] = []
        failed: list[Record] = []
        for record in read_records(store, candidates):
            reason = reason_against(structure_from_document(record["structure"]), self.elements, self.screening)
            if reason:
                failed.append({**record, "reason": reason, "detail": "before relaxation"})
            else:
                passed.append(record)
        force_field = load_force_field(store, checkpoint)
        structures = [structure_from_document(record["structure"]) for record in passed]
        settings = relaxation_settings(self.screening, path_frames=self.screening.path_frames)
        with task("relaxing", len(structures), "structures") as advance:
            results = force_field.relax(structures, settings, workers=self.usable_workers(), progress=advance)
        relaxed, steps = [], 0
        for record, result in zip(passed, results, strict=True):
            if isinstance(result, Failure):
                failed.append({**record, "reason": result.reason, "detail": result.detail})
                continue
            steps += result.steps
            reason = reason_against(result.structure, self.elements, self.screening)
            if reason:
                failed.append({**record, "reason": reason, "detail": "after relaxation"})
                continue
            relaxed.append(
                {
                    "id": structure_id(result.structure),
                    "structure": structure_document(result.structure),
                    "energy_per_atom": result.prediction.energy,
                    "fmax": result.prediction.fmax,
                    "steps": result.steps,
                    "origin": record["origin"],
                    "path": [structure_document(frame) for frame in result.path],
                }
            )
        reasons = Counter(record["reason"] for record in failed)
        return {
            "relaxed": write_records(store, relaxed),
            "failed": write_records(store, failed),
            "rejected": dict(sorted(reasons.items())),
            "steps": steps,
        }
