"""Any force field as an ASE calculator, for molecular dynamics and checks with ASE's own tools."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ase.calculators.calculator import CalculationFailed, Calculator, all_changes
from ase.stress import full_3x3_to_voigt_6_stress
from pymatgen.io.ase import AseAtomsAdaptor

from coevo.models.contracts import Failure

if TYPE_CHECKING:
    from ase import Atoms

    from coevo.models.contracts import ForceField


class ForceFieldCalculator(Calculator):
    """ASE calculator of a :class:`~coevo.models.contracts.ForceField`; crystals are taken as periodic."""

    implemented_properties = ["energy", "free_energy", "forces", "stress"]  # noqa: RUF012 - ASE declares it so

    def __init__(self, force_field: ForceField, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.force_field = force_field

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: list[str] | None = None,
        system_changes: list[str] = all_changes,
    ) -> None:
        """Fill ``results``.

        Raises
        ------
        CalculationFailed
            If the crystal has no prediction.
        """
        super().calculate(atoms, properties, system_changes)
        assert self.atoms is not None
        if self.atoms.cell.rank < 3:
            raise CalculationFailed(
                f"{self.force_field.family}: not_periodic: the atoms have {self.atoms.cell.rank} cell vectors, and the force "
                "field is one of crystals; give them a cell, of a molecule atoms.center(vacuum=8)"
            )
        structure = AseAtomsAdaptor.get_structure(self.atoms)
        [found] = self.force_field.evaluate([structure])
        if isinstance(found, Failure):
            raise CalculationFailed(f"{self.force_field.family}: {found.reason}: {found.detail}")
        energy = found.energy * len(structure)
        self.results = {
            "energy": energy,
            "free_energy": energy,
            "forces": found.forces,
            "stress": full_3x3_to_voigt_6_stress(found.stress),
        }
