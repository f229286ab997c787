"""Phonons of a packet of phases by a force field: which are dynamically stable, and what the unstable ones come down to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from coevo.configs.studies.phonons import PhononSettings
from coevo.makers.checkpoints import load_force_field
from coevo.makers.screen import FIRST_PACKAGES, family_of
from coevo.makers.step import (
    StepMaker,
    current_store,
    installed_versions,
    read_records,
    step,
    versions_of_family,
    workers_of_family,
    write_records,
)
from coevo.makers.studies.lattice_dynamics import FAILED, HARMONIC, Followed, follow, relax_tightly

if TYPE_CHECKING:
    from collections.abc import Mapping

    from coevo.makers.outputs import Checkpoint
    from coevo.makers.step import Record, ShardReference
    from coevo.models.contracts import ForceField

PHONON_PACKAGES = ("phonopy", "spglib")


def phonon_versions(maker: StepMaker, inputs: Mapping[str, Any]) -> dict[str, str]:
    """Versions of the family of the checkpoint, and of phonopy and spglib; raises ConfigError if phonopy is not here."""
    from coevo.analysis.phonons.supercells import require_phonopy

    require_phonopy()
    return versions_of_family(maker, "force_field", family_of(inputs, "")) | installed_versions(PHONON_PACKAGES)


@dataclass
class PhononMaker(StepMaker):
    """Relax phases, find their phonons, and follow unstable modes.

    Attributes
    ----------
    settings : PhononSettings
    """

    name: str = "phonons"
    settings: PhononSettings = field(default_factory=PhononSettings)

    packages: ClassVar[tuple[str, ...]] = FIRST_PACKAGES

    def versions(self, inputs: Mapping[str, Any]) -> dict[str, str]:
        """Those of the family of the checkpoint, and of phonopy and spglib."""
        return phonon_versions(self, inputs)

    def workers_beside_others(self, inputs: Mapping[str, Any]) -> int:
        """Worker processes, where they do all the work of the family."""
        return workers_of_family(self, "force_field", family_of(inputs, ""))

    @step
    def make(self, phases: ShardReference, checkpoint: Checkpoint, first: int, count: int) -> dict[str, Any]:
        """Find phonons.

        Parameters
        ----------
        phases : dict
            Shard reference of ``{id, structure}``.
        checkpoint : dict
            Force-field checkpoint.
        first, count : int
            Which of the phases are this job's packet.

        Returns
        -------
        dict
            ``phases`` (shard reference): of each phase what :func:`phonons_of_phases` says.
        """
        store = current_store()
        force_field = load_force_field(store, checkpoint)
        records = list(read_records(store, phases))[first : first + count]
        return {"phases": write_records(store, phonons_of_phases(force_field, records, self.settings, self.usable_workers()))}


def phonons_of_phases(force_field: ForceField, records: list[Record], settings: PhononSettings, workers: int) -> list[Record]:
    """Return the phonons of phases.

    Parameters
    ----------
    force_field : ForceField
    records : list of dict
        ``id`` and ``structure`` (a document).
    settings : PhononSettings
    workers : int

    Returns
    -------
    list of dict
        ``id``, ``status`` (harmonic, followed, unstable, failed), ``reason``; ``given_energy`` by the force field where it was,
        and ``energy`` of the last crystal looked at (eV/atom), whose conventional cell is ``structure``; ``dynamically_stable``
        of the phase itself (None if it failed); ``path``, the crystals looked at
        (:class:`~coevo.makers.studies.lattice_dynamics.Followed`); ``supercell_atoms``, ``supercells``; and ``frequencies`` (THz)
        with ``q_points``.
    """
    from coevo.analysis.phonons.supercells import symmetrised
    from coevo.models.contracts import Failure, Prediction
    from coevo.node_store.canonical import structure_document, structure_from_document

    structures = [structure_from_document(record["structure"]) for record in records]
    given = force_field.evaluate(structures, workers=workers)
    relaxed = relax_tightly(force_field, structures, settings, workers)
    starts: list[Followed] = []
    for structure, result in zip(structures, relaxed, strict=True):
        if isinstance(result, Failure):
            starts.append(Followed(structure, 0.0, FAILED, f"{result.reason}: {result.detail}"))
        else:
            starts.append(Followed(result.structure, result.prediction.energy))
    follow(force_field, [one for one in starts if not one.status], settings, workers)
    rows = []
    for record, prediction, one in zip(records, given, starts, strict=True):
        row: Record = {"id": record["id"], "status": one.status, "reason": one.reason, "path": one.path}
        row["given_energy"] = prediction.energy if isinstance(prediction, Prediction) else None
        row["dynamically_stable"] = None if one.status == FAILED else one.status == HARMONIC
        if one.dynamics is not None:
            found = one.dynamics
            row |= {
                "energy": one.energy,
                "structure": structure_document(symmetrised(one.structure).cell),
                "supercell_atoms": len(found.phonopy.supercell),
                "supercells": len(found.phonopy.supercells_with_displacements),
                "q_points": found.q_points.tolist(),
                "frequencies": found.frequencies.tolist(),
            }
        rows.append(row)
    return rows
