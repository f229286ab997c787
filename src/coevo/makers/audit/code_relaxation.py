"""A first-principles code as an auditor that relaxes: a few steps of its own, from where a force field got to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from coevo.configs.tree import LabellingConfig, ScreeningConfig
from coevo.errors import LabellingError
from coevo.makers.checkpoints import load_force_field
from coevo.makers.screen import family_of, relaxation_settings
from coevo.makers.step import StepMaker, current_store, read_records, step, versions_of_family, write_records
from coevo.output.progress import task

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pymatgen.core import Structure

    from coevo.labelling.contract import RelaxedFrame
    from coevo.makers.outputs import AuditPacket, Checkpoint
    from coevo.makers.step import Record, ShardReference


@dataclass
class CodeRelaxationMaker(StepMaker):
    """Relax structures by the code that audits.

    Attributes
    ----------
    labelling : LabellingConfig
        With the section of the code.
    elements : tuple of str
        Elements of the node.
    settings_digest : str
        Digest of the settings that the code must have on the worker.
    steps : int
        Of the code with one structure, at most.
    screening : ScreeningConfig
        ``fmax`` of a relaxed structure; and how the force field relaxes before, where there is one.
    """

    name: str = "audit-label"
    labelling: LabellingConfig = field(default_factory=LabellingConfig)
    elements: tuple[str, ...] = ()
    settings_digest: str = ""
    steps: int = 5
    screening: ScreeningConfig = field(default_factory=ScreeningConfig)

    packages: ClassVar[tuple[str, ...]] = ("numpy", "pymatgen-core", "ase")

    def versions(self, inputs: Mapping[str, Any]) -> dict[str, str]:
        """Those of the family that relaxes first; the code is named, with its version, by the digest of its settings."""
        family = family_of(inputs, "")
        return versions_of_family(self, "force_field", family) if family else {}

    @step
    def make(self, structures: ShardReference, checkpoint: Checkpoint | None = None) -> AuditPacket:
        """Relax.

        A structure that does not converge gets the energy of the last geometry, which is an upper bound of that of the phase.

        Parameters
        ----------
        structures : dict
            Shard reference of ``{id, structure}``.
        checkpoint : dict or None
            Of a force field from whose minima the code starts. Where that does not converge, and without one, it starts from the
            geometries as they are.

        Returns
        -------
        dict
            ``audited`` (shard reference of ``{id, energy_per_atom, is_bound, reason, status, steps}``; eV/atom by the code, None
            where it failed or its numbers were rejected).
        """
        from coevo.labelling.digest import settings_digest
        from coevo.makers.labels.settings import labeller_for
        from coevo.node_store.canonical import structure_from_document

        store = current_store()
        labeller: Any = labeller_for(self.labelling, elements=self.elements, workers=self.usable_workers())
        digest = settings_digest(labeller.settings())
        if self.settings_digest not in {"", digest}:
            raise LabellingError(
                f"{self.labelling.code}: the settings of this machine have the digest {digest[:12]}, and the audit must have "
                f"{self.settings_digest[:12]}; install the same potentials and versions on every worker"
            )
        records = list(read_records(store, structures))
        crystals = [structure_from_document(record["structure"]) for record in records]
        if checkpoint is not None:
            crystals = self._moved(crystals, checkpoint)
        with task("auditing", len(crystals), "structures") as advance:
            found = labeller.relax(crystals, self.steps, self.screening.fmax, progress=advance)
        rows = [_row(record, result) for record, result in zip(records, found, strict=True)]
        return {"audited": write_records(store, rows)}

    def _moved(self, crystals: Sequence[Structure], checkpoint: Checkpoint) -> list[Structure]:
        """Geometries to which a force field relaxes crystals, those as they were where it fails."""
        from coevo.models.contracts import Failure

        force_field = load_force_field(current_store(), checkpoint)
        with task("relaxing", len(crystals), "structures") as advance:
            found = force_field.relax(
                crystals, relaxation_settings(self.screening), workers=self.usable_workers(), progress=advance
            )
        return [
            crystal if isinstance(result, Failure) else result.structure for crystal, result in zip(crystals, found, strict=True)
        ]


def _row(record: Record, found: RelaxedFrame) -> Record:
    admitted = found.label.status == "admitted"
    row = {"id": record["id"], "energy_per_atom": found.label.energy if admitted else None, "status": found.label.status}
    if not admitted:
        return {**row, "is_bound": False, "reason": found.label.reason, "steps": 0}
    reason = "" if found.converged else "not_converged"
    return {**row, "is_bound": not found.converged, "reason": reason, "steps": found.steps}
