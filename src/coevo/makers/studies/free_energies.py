"""Vibrational free energies of a packet of phases at several volumes, from which G(T, p) follows without any model."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from coevo.configs.studies.phonons import PhononSettings
from coevo.makers.checkpoints import load_force_field
from coevo.makers.screen import FIRST_PACKAGES, family_of
from coevo.makers.step import StepMaker, current_store, read_records, step, workers_of_family, write_records
from coevo.makers.studies.lattice_dynamics import FOLLOWED, HARMONIC, dynamics_of, relax_tightly
from coevo.makers.studies.phonons import phonon_versions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pymatgen.core import Structure

    from coevo.makers.outputs import Checkpoint
    from coevo.makers.step import Record
    from coevo.models.contracts import ForceField

STEP = 0.03
"""Volumes are not further apart than this part of the relaxed one, with a few more below what the pressure makes of it."""
MARGIN = 0.03
SMALLEST = 0.5
"""Part of the relaxed volume below which no volume is."""


@dataclass
class FreeEnergyMaker(StepMaker):
    """Find vibrational free energies over the volume.

    Attributes
    ----------
    settings : PhononSettings
    temperatures : list of float
        K.
    pressure : float
        GPa; the highest that volumes are to reach.
    volumes : int
        At least.
    compression, expansion : float
        Of the smallest volume, before any pressure, and of the largest, as parts of the relaxed one.
    mesh : float
        Å.
    zero_point : bool
    """

    name: str = "free-energies"
    settings: PhononSettings = field(default_factory=PhononSettings)
    temperatures: list[float] = field(default_factory=list)
    pressure: float = 0.0
    volumes: int = 9
    compression: float = 0.04
    expansion: float = 0.12
    mesh: float = 60.0
    zero_point: bool = True

    packages: ClassVar[tuple[str, ...]] = FIRST_PACKAGES

    def versions(self, inputs: Mapping[str, Any]) -> dict[str, str]:
        """Those of the family of the checkpoint, and of phonopy and spglib."""
        return phonon_versions(self, inputs)

    def workers_beside_others(self, inputs: Mapping[str, Any]) -> int:
        """Worker processes, where they do all the work of the family."""
        return workers_of_family(self, "force_field", family_of(inputs, ""))

    @step
    def make(self, phonons: dict[str, Any], checkpoint: Checkpoint) -> dict[str, Any]:
        """Find vibrational free energies.

        Parameters
        ----------
        phonons : dict
            Output of :class:`~coevo.makers.studies.phonons.PhononMaker`.
        checkpoint : dict
            Force-field checkpoint.

        Returns
        -------
        dict
            ``phases`` (shard reference): the records of the phonons. Those of phases without an unstable mode have ``volumes``
            (Å³/atom), ``energies`` (eV/atom), ``free_energies``, ``entropies`` (eV/K/atom), ``heat_capacities`` and ``noise``, of
            each volume at each of the ``temperatures``; and ``left_out``, volumes with an unstable mode or without phonons, each
            with its reason.
        """
        store = current_store()
        records = list(read_records(store, phonons["phases"]))
        chosen = [record for record in records if record["status"] in (HARMONIC, FOLLOWED)]
        if chosen:
            self.add_free_energies(load_force_field(store, checkpoint), chosen)
        return {"phases": write_records(store, records)}

    def add_free_energies(self, force_field: ForceField, records: Sequence[Record]) -> None:
        """Add to records, in place, what :meth:`make` says of phases without an unstable mode."""
        from coevo.analysis.phonons.dynamics import Dynamics
        from coevo.models.contracts import Relaxation
        from coevo.node_store.canonical import structure_from_document

        workers = self.usable_workers()
        cells = [structure_from_document(record["structure"]) for record in records]
        strained = [
            (place, volume)
            for place, smallest in enumerate(self._smallest(force_field, cells, workers))
            for volume in self.relative_volumes(smallest)
        ]
        starts = [scaled(cells[place], volume) for place, volume in strained]
        relaxed = relax_tightly(force_field, starts, self.settings, workers, fixed_volume=True)
        good = [number for number, result in enumerate(relaxed) if isinstance(result, Relaxation)]
        structures = [result.structure for result in relaxed if isinstance(result, Relaxation)]
        found = dict(zip(good, dynamics_of(force_field, structures, self.settings, workers), strict=True))
        rows: list[list[Record]] = [[] for _ in records]
        left_out: list[list[Record]] = [[] for _ in records]
        for number, ((place, volume), result) in enumerate(zip(strained, relaxed, strict=True)):
            per_atom = cells[place].volume * volume / len(cells[place])
            dynamics = found.get(number, "")
            if not isinstance(result, Relaxation):
                left_out[place].append({"volume": per_atom, "reason": f"{result.reason}: {result.detail}"})
            elif not isinstance(dynamics, Dynamics):
                left_out[place].append({"volume": per_atom, "reason": dynamics})
            elif not dynamics.is_stable:
                left_out[place].append({"volume": per_atom, "reason": f"a mode at {dynamics.lowest:.2f} THz"})
            else:
                rows[place].append(self._row(result, dynamics))
        for record, mine, others in zip(records, rows, left_out, strict=True):
            kept, beyond = without_gaps(mine, [other["volume"] for other in others])
            record |= {name: [row[name] for row in kept] for name in COLUMNS}
            left = [*others, *({"volume": row["volumes"], "reason": "beyond a volume that is left out"} for row in beyond)]
            record |= {"temperatures": list(self.temperatures), "left_out": sorted(left, key=lambda each: each["volume"])}

    def _row(self, result: Any, dynamics: Any) -> Record:
        found = dynamics.thermodynamics(self.temperatures, mesh=self.mesh, zero_point=self.zero_point)
        return {
            "volumes": result.structure.volume / len(result.structure),
            "energies": result.prediction.energy,
            "free_energies": found.free_energy.tolist(),
            "entropies": found.entropy.tolist(),
            "heat_capacities": found.heat_capacity.tolist(),
            "noise": found.noise.tolist(),
        }

    def _smallest(self, force_field: ForceField, cells: Sequence[Structure], workers: int) -> list[float]:
        """Relative volume that the highest pressure makes of each crystal at rest, less a margin; without pressure, 1."""
        from coevo.analysis.phonons.quasi_harmonic import GPA
        from coevo.models.contracts import Relaxation

        if not self.pressure:
            return [1.0] * len(cells)
        pressed = relax_tightly(force_field, cells, self.settings, workers, pressure=self.pressure / GPA)
        return [
            max(SMALLEST, result.structure.volume / cell.volume - MARGIN) if isinstance(result, Relaxation) else 1.0
            for cell, result in zip(cells, pressed, strict=True)
        ]

    def relative_volumes(self, smallest: float) -> list[float]:
        """Volumes as parts of the relaxed one, evenly spaced, ascending."""
        low, high = min(1.0 - self.compression, smallest), 1.0 + self.expansion
        count = max(self.volumes, math.ceil((high - low) / STEP) + 1)
        return [low + (high - low) * number / (count - 1) for number in range(count)]


def without_gaps(rows: Sequence[Record], gaps: Sequence[float]) -> tuple[list[Record], list[Record]]:
    """Part volumes into those around the least static energy and those beyond a gap, over which nothing is to be interpolated.

    Parameters
    ----------
    rows : sequence of dict
        ``volumes`` (Å³/atom) and ``energies`` of each volume.
    gaps : sequence of float
        Volumes without free energies.
    """
    if not rows:
        return [], []
    least = min(rows, key=lambda row: row["energies"])["volumes"]
    low = max((gap for gap in gaps if gap < least), default=0.0)
    high = min((gap for gap in gaps if gap > least), default=math.inf)
    return [row for row in rows if low < row["volumes"] < high], [row for row in rows if not low < row["volumes"] < high]


COLUMNS = ("volumes", "energies", "free_energies", "entropies", "heat_capacities", "noise")


def scaled(structure: Structure, volume: float) -> Structure:
    """Return a crystal with its volume times a number; fractional coordinates stay."""
    from pymatgen.core import Lattice, Structure

    lattice = Lattice(structure.lattice.matrix * volume ** (1.0 / 3.0))
    return Structure(lattice, [site.specie.symbol for site in structure], structure.frac_coords)
