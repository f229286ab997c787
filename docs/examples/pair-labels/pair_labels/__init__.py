"""A labelling code of another package: any calculator of ASE would do in the place of the Lennard-Jones potential."""

from importlib.metadata import version

import numpy as np
from ase.calculators.calculator import CalculatorError
from ase.calculators.lj import LennardJones

from coevo.errors import LabellingError
from coevo.labelling.contract import Found, LabelResult, LabelSettings
from coevo.labelling.sanity import SanityLimits, check_geometry, judge

DEFAULTS = {"sigma": 2.2, "epsilon": 0.3, "rc": 6.0}  # Å, eV, Å


class PairLabeller:
    """Labels by a Lennard-Jones potential, with labelling.arguments of sigma, epsilon and rc."""

    code = "pair-potential"  # the name of the entry point
    first_principles = False  # no energy above hull is made of such labels
    core_seconds = 0.01  # for `coevo run --plan`

    def __init__(self, parameters, limits):
        self._parameters = parameters
        self._limits = limits

    @classmethod
    def for_node(cls, place):
        """Read the section of the node; what is wrong with it is told here, hours before the first label."""
        given = place.labelling.arguments
        unknown = sorted(set(given) - set(DEFAULTS))
        if unknown:
            raise LabellingError(f"labelling.arguments: got {', '.join(unknown)}, allowed: {', '.join(DEFAULTS)}")
        return cls({**DEFAULTS, **given}, SanityLimits.from_config(place.labelling))

    @classmethod
    def here(cls):
        """A line of `coevo doctor`."""
        return [Found("pair potential", "ok", f"ase {version('ase')}")]

    def settings(self):
        """Everything that changes a number; an executable would be looked for here."""
        return LabelSettings(self.code, f"ase {version('ase')}", "Lennard-Jones", False, dict(self._parameters))

    def label(self, frames, *, progress=None):
        """A frame that fails is a result; only the machine's faults are raised."""
        results = []
        for frame in frames:
            results.append(check_geometry(frame, self._limits) or self._single_point(frame))
            if progress is not None:
                progress(1)
        return results

    def _single_point(self, frame):
        atoms = frame.to_ase_atoms()
        atoms.calc = LennardJones(smooth=True, **self._parameters)
        try:
            energy, forces, stress = atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress(voigt=False)
        except CalculatorError as err:
            return LabelResult("failed", "calculator_error", detail=str(err))
        # eV/atom, eV/Å, and eV/Å³ with ASE's sign
        return judge(energy / len(frame), forces, np.asarray(stress), self._limits)
