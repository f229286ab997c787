"""Force fields of another family for the second opinion: CHGNet with other weights, under names that say another training.

``raw`` has the energies of CHGNet 0.2.0 without the correction of MP2020, so that its scale is ``pbe``, and says that it was
trained on what CHGNet was; ``elsewhere`` has them on a scale of its own, and says that it was trained on something else;
``silent`` has none of phosphorus alone.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from ase.calculators.calculator import Calculator, all_changes
from ase.data import atomic_numbers

from coevo.families import Family, Loader, Weights
from coevo.models.ase_force_field import AseForceField

if TYPE_CHECKING:
    from ase import Atoms

HERE = Path(__file__).parent
SHIFT = {"Li": 0.4, "P": -0.3, "S": 1.7}
"""eV an atom, by which the scale of the witness lies elsewhere."""

FAMILY = Family(
    Loader("witness", "force_field", "json", "second_family:WitnessForceField", runs_code=False),
    title="witness",
    packages=("ase",),
    weights={
        "raw": Weights(energy_scale="pbe", functional="PBE", data="MPtrj"),
        "elsewhere": Weights(energy_scale="elsewhere", functional="r2SCAN", data="other crystals"),
        "silent": Weights(energy_scale="elsewhere", functional="r2SCAN", data="other crystals"),
    },
    default_weights="raw",
    elements=frozenset(SHIFT),
    capabilities=frozenset({"relax", "stress"}),
)


class Shifted(Calculator):
    """CHGNet 0.2.0 with its energies on another scale."""

    implemented_properties: ClassVar[list[str]] = ["energy", "forces", "stress"]

    def __init__(self, weights: str):
        super().__init__()
        from coevo.models.chgnet.force_field import ChgnetForceField

        self._force_field, self._weights = ChgnetForceField.published("0.2.0"), weights

    def calculate(self, atoms: Atoms | None = None, properties: Any = ("energy",), system_changes: Any = all_changes) -> None:
        from ase.calculators.calculator import CalculationFailed
        from pymatgen.io.ase import AseAtomsAdaptor

        super().calculate(atoms, properties, system_changes)
        assert atoms is not None
        symbols = atoms.get_chemical_symbols()
        if self._weights == "silent" and set(symbols) == {"P"}:
            raise CalculationFailed("it does not speak of phosphorus alone")
        structure = AseAtomsAdaptor.get_structure(atoms)
        [found] = self._force_field.evaluate([structure])
        energy = found.energy * len(atoms) + sum(SHIFT[symbol] for symbol in symbols)
        if self._weights == "raw":
            from coevo.analysis.hull.energy_scale import anion_correction

            energy -= anion_correction(structure) * len(atoms)
        voigt = np.array([found.stress[i, j] for i, j in ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))])
        self.results = {"energy": energy, "forces": found.forces, "stress": voigt}


class WitnessForceField(AseForceField):
    """The calculator as a force field."""

    family: ClassVar[str] = FAMILY.name
    cutoff: ClassVar[float] = 6.0
    atomic_numbers: ClassVar[frozenset[int]] = frozenset(atomic_numbers[symbol] for symbol in SHIFT)
    element_energies: ClassVar[dict[str, float]] = {}

    @classmethod
    def make_calculator(cls, weights: str, device: str) -> Calculator:
        return Shifted(weights)


def install_witness(directory: Path) -> str:
    """Make what pip would make of a package with this family; return a ``PYTHONPATH`` with it."""
    information = directory / "coevo_witness-1.0.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: coevo-witness\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text("[coevo.force_fields]\nwitness = second_family:FAMILY\n")
    return os.pathsep.join([str(directory), str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])])
