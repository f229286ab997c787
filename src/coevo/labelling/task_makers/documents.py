"""Energy, forces and stress from the task documents of ASE and force-field Makers, and from the mapping that any Maker may give.

Units and signs differ. Task documents of ``atomate2.ase`` and ``atomate2.forcefields`` hold the stress as the Materials Project
does: in kbar, positive under pressure (:func:`atomate2.ase.schemas.convert_stress_from_voigt_to_symm`). A mapping of the minimal
contract holds it as ASE does, in eV/Å³ and positive under tension. Those of VASP are read by
:mod:`coevo.labelling.task_makers.vasp`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from coevo.errors import LabellingError

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from coevo.labelling.contract import FloatArray

ALLOWED = (
    "allowed: a task document of atomate2's VASP, ASE or force-field Makers, or a mapping with energy (eV, of the cell), forces "
    "(eV/Å, n by 3) and stress (eV/Å³, positive under tension, 3 by 3 or six of Voigt)"
)

SYMMETRY = 0.02
"""Of the largest component: what a stress may deviate from symmetry by rounding and numerical noise, as of imported labels."""

SMALL_STRESS = 1e-5
"""eV/Å³: below it a deviation is noise."""


@dataclass(frozen=True)
class Numbers:
    """What a document says.

    Attributes
    ----------
    energy : float
        eV, of the cell.
    forces : ndarray, shape (n_atoms, 3)
        eV/Å.
    stress : ndarray, shape (3, 3)
        eV/Å³, ASE's sign.
    structure : Structure or None
        What the numbers are of, if it says so.
    version : str
        Of the code; empty if it does not say it.
    """

    energy: float
    forces: FloatArray
    stress: FloatArray
    structure: Structure | None
    version: str


def get(document: Any, name: str) -> Any:
    """Field of a document: a key of a mapping, an attribute of an object; None if there is none."""
    return document.get(name) if isinstance(document, dict) else getattr(document, name, None)


def is_vasp_document(document: Any) -> bool:
    """Whether it is emmet's task document of VASP."""
    return bool(get(document, "calcs_reversed"))


def why_not_converged(document: Any, maker: str) -> str:
    """Say why the numbers of a document are not to be trusted; empty if it does not say so.

    Raises
    ------
    LabellingError
        If it says so in a way that cannot be read.
    """
    state = get(document, "state")
    state = getattr(state, "value", state)
    if state is not None and state != "successful":
        return f"the task document says: {state}"
    converged = get(document, "converged")
    if converged is not None and not isinstance(converged, bool | np.bool_ | int):
        raise LabellingError(
            f"{maker}: converged of its {type(document).__name__}: got {converged!r:.60}, allowed: true, false, or none at all"
        )
    return "the document says: not converged" if converged is not None and not converged else ""


def numbers_of(document: Any, atoms: int, maker: str) -> Numbers:
    """Read a document.

    Parameters
    ----------
    document : mapping or object
    atoms : int
        Of the frame.
    maker : str
        What the Maker is called in messages.

    Raises
    ------
    LabellingError
        If it is no document of a static calculation of a crystal with forces and stress: the Maker breaks the contract.
    """
    from_ase = get(document, "ase_calculator_name") is not None or get(document, "forcefield_name") is not None
    values = get(document, "output") if from_ase else document
    found = {name: get(values, name) for name in ("energy", "forces", "stress")}
    missing = [name for name, value in found.items() if value is None]
    if missing:
        raise LabellingError(f"{maker}: its {type(document).__name__} has no {' and no '.join(missing)}; {ALLOWED}")
    try:
        energy = float(found["energy"])
        forces, stress = np.array(found["forces"], dtype=float), np.array(found["stress"], dtype=float)
    except (TypeError, ValueError) as err:
        raise LabellingError(
            f"{maker}: energy, forces or stress of its {type(document).__name__} are no numbers: {err}; {ALLOWED}"
        ) from None
    if stress.shape == (6,):
        from ase.stress import voigt_6_to_full_3x3_stress

        stress = voigt_6_to_full_3x3_stress(stress)
    if forces.shape != (atoms, 3) or stress.shape != (3, 3):
        raise LabellingError(
            f"{maker}: its {type(document).__name__} has forces {forces.shape} and stress {stress.shape} for {atoms} atoms; "
            f"{ALLOWED}"
        )
    if from_ase:
        from ase.units import GPa  # by which it was divided

        stress = -0.1 * GPa * stress
        version = str(get(document, "forcefield_version") or "")
    else:
        version = str(get(document, "version") or "")
    if np.abs(stress - stress.T).max() > max(SYMMETRY * np.abs(stress).max(), SMALL_STRESS):
        raise LabellingError(
            f"{maker}: the stress of its {type(document).__name__} is not symmetric, so what its numbers are is not clear: got "
            f"{stress.tolist()}; {ALLOWED}"
        )
    structure = _structure_of(document, values if from_ase else None, maker)
    return Numbers(energy, forces, (stress + stress.T) / 2, structure, version)


def _structure_of(document: Any, output: Any, maker: str) -> Structure | None:
    """What was computed: in documents of ASE that of the last step, from which the numbers are."""
    from ase import Atoms
    from pymatgen.core import Structure
    from pymatgen.io.ase import AseAtomsAdaptor

    steps = get(output, "ionic_steps") if output is not None else None
    found = get(steps[-1], "mol_or_struct") if isinstance(steps, list) and steps else None
    found = get(document, "structure") if found is None else found
    try:
        if isinstance(found, dict):
            found = Structure.from_dict(found)
        elif isinstance(found, Atoms):
            found = AseAtomsAdaptor.get_structure(found)
    except Exception as err:  # noqa: BLE001  (whatever pymatgen raises on a mapping that is no structure)
        raise LabellingError(
            f"{maker}: the structure of its {type(document).__name__} cannot be read: {type(err).__name__}: {err}; allowed: "
            "pymatgen's Structure or its dictionary, ASE's Atoms, or none at all"
        ) from None
    if found is not None and not isinstance(found, Structure):
        raise LabellingError(
            f"{maker}: the structure of its {type(document).__name__} is a {type(found).__name__}, allowed: pymatgen's Structure "
            "or its dictionary, ASE's Atoms, or none at all"
        )
    return found
