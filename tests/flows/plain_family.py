"""A force field to which all atoms are alike; its weights have the same energies, and each says another scale of them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from ase.calculators.lj import LennardJones
from ase.data import atomic_numbers

from coevo.families import Family, Loader, Weights
from coevo.models.ase_force_field import AseForceField

if TYPE_CHECKING:
    from ase.calculators.calculator import Calculator

HERE = Path(__file__).parent
SCALES = {"raw": "pbe", "alike": "pbe", "corrected": "mp2020", "meta": "r2scan", "omat": "omat24"}

FAMILY = Family(
    Loader("plain", "force_field", "json", "plain_family:PlainForceField", runs_code=False),
    title="plain",
    packages=("ase",),
    weights={name: Weights(energy_scale=scale) for name, scale in SCALES.items()},
    default_weights="raw",
    elements=frozenset({"Li", "P", "S", "O"}),
    capabilities=frozenset({"relax", "stress"}),
)


class PlainForceField(AseForceField):
    """Lennard-Jones."""

    family: ClassVar[str] = FAMILY.name
    cutoff: ClassVar[float] = 6.0
    atomic_numbers: ClassVar[frozenset[int]] = frozenset(atomic_numbers[symbol] for symbol in FAMILY.elements)
    element_energies: ClassVar[dict[str, float]] = {}

    @classmethod
    def make_calculator(cls, weights: str, device: str) -> Calculator:
        return LennardJones(sigma=2.2, epsilon=0.05, rc=6.0, smooth=True)


def install_plain(directory: Path) -> str:
    """Make what pip would make of a package with this family; return a ``PYTHONPATH`` with it."""
    information = directory / "coevo_plain-1.0.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: coevo-plain\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text("[coevo.force_fields]\nplain = plain_family:FAMILY\n")
    return os.pathsep.join([str(directory), str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])])
