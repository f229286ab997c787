"""ASE's effective medium theory as a force field of coevo."""

from ase.calculators.emt import EMT
from ase.data import atomic_numbers

from coevo.models.ase_force_field import AseForceField
from effective_medium import FAMILY


class EffectiveMedium(AseForceField):
    """Effective medium theory: one set of parameters, nothing to train."""

    family = FAMILY.name
    cutoff = 5.8  # Å, as far as ASE's EMT looks for neighbours
    atomic_numbers = frozenset(atomic_numbers[symbol] for symbol in FAMILY.elements)
    element_energies = dict.fromkeys(FAMILY.elements, 0.0)  # eV; EMT counts energies from the fcc crystals

    @classmethod
    def make_calculator(cls, weights, device):
        """Make the calculator; ``weights`` is a name in the descriptor."""
        return EMT()
