"""From a finished VASP run to a label: what is admitted, and the word for what is not.

The energy is the free energy of the electrons, TOTEN (``e_fr_energy`` in vasprun.xml): with smearing, forces and stress are its
derivatives, and not those of the energy without entropy or of the extrapolation to zero smearing. The last one, which the
Materials Project tabulates, is told in ``detail``; the two are the same where there is a band gap.

VASP prints the stress in kbar, positive under pressure; ASE's sign is the other one.

A frame as VASP sees it, and its forces on the way back.

VASP wants the atoms of an element together, and pymatgen sorts them so. VASP stops at a left-handed cell, so pymatgen writes the
inverted vectors with the same fractional coordinates, which is the inverted crystal: energy and stress are the same, forces have
the other sign. Both happen on purpose here, and are undone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from coevo.labelling.contract import LabelResult
from coevo.labelling.sanity import judge

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pymatgen.core import Structure

    from coevo.labelling.contract import FloatArray
    from coevo.labelling.sanity import SanityLimits
    from coevo.labelling.vasp.running import VaspRun


SAME_LENGTH = 1e-4
"""Å; vasprun.xml has eight decimals of a lattice vector and of a fractional coordinate."""


@dataclass(frozen=True)
class PreparedFrame:
    """A frame in the order and handedness of VASP.

    Attributes
    ----------
    structure : Structure
        Elements without oxidation states or site properties, sorted, with a right-handed cell.
    order : ndarray of int, shape (n_atoms,)
        Site i of ``structure`` is site ``order[i]`` of the frame.
    sign : int
        −1 if the structure is the inverted frame.
    """

    structure: Structure
    order: NDArray[np.int64]
    sign: int

    def forces_on_frame(self, forces: FloatArray) -> FloatArray:
        """Bring forces, shape (n_atoms, 3), into the order and handedness of the frame."""
        restored = np.empty_like(forces)
        restored[self.order] = self.sign * forces
        return restored

    def deviation(self, other: Structure) -> float:
        """Return the largest difference of a lattice vector or position, Å; infinite if the atoms are others."""
        mine = self.structure
        if [site.specie.symbol for site in mine] != [site.specie.symbol for site in other]:
            return float("inf")
        shift = mine.frac_coords - other.frac_coords
        shift -= np.round(shift)
        vectors = np.abs(mine.lattice.matrix - other.lattice.matrix).max()
        return float(max(vectors, np.linalg.norm(shift @ mine.lattice.matrix, axis=1).max()))


def prepare(frame: Structure) -> PreparedFrame:
    """Bring a frame into the order and handedness that VASP is given."""
    from pymatgen.core import Element, Lattice, Structure

    symbols = [site.specie.symbol for site in frame]
    order = np.array(sorted(range(len(frame)), key=lambda index: (Element(symbols[index]).X, symbols[index])), dtype=np.int64)
    sign = 1 if np.linalg.det(frame.lattice.matrix) > 0 else -1
    structure = Structure(
        Lattice(sign * frame.lattice.matrix), [symbols[index] for index in order], frame.frac_coords[order], to_unit_cell=False
    )
    return PreparedFrame(structure, order, sign)


EV_PER_A3_PER_KBAR = 6.241509074460763e-4
"""1 kbar in eV/Å³ (CODATA 2018: 1 eV is 1.602176634e-19 J exactly)."""

_SETTING_TAGS = """
    ENCUT ENAUG PREC GGA METAGGA KSPACING KGAMMA ISMEAR SIGMA ISPIN MAGMOM NUPDOWN LASPH LREAL ADDGRID LDAU LDAUU LDAUJ LDAUL
    NELECT IVDW PSTRESS
"""
SETTING_TAGS = frozenset(_SETTING_TAGS.split())
"""INCAR tags that say what is computed; a correction that changes one makes a label of other settings."""

HANDLER_REASONS = {
    "UnconvergedErrorHandler": "not_converged",
    "NonConvergingErrorHandler": "not_converged",
    "WalltimeHandler": "walltime",
    "FrozenJobErrorHandler": "no_progress",
    "PositiveEnergyErrorHandler": "positive_energy",
    "PotimErrorHandler": "energy_jump",
    "MeshSymmetryErrorHandler": "k_mesh",
}
REJECTED_REASONS = frozenset({"not_converged", "positive_energy"})
"""VASP did finish, and its number is not to be trusted."""

DETAIL_LENGTH = 600


def label_of(run: VaspRun, frame: PreparedFrame, limits: SanityLimits, incar: dict[str, Any]) -> LabelResult:
    """Turn a run into a label.

    Parameters
    ----------
    run : VaspRun
    frame : PreparedFrame
        What VASP was given.
    limits : SanityLimits
    incar : dict
        The INCAR that VASP was given at first.

    Returns
    -------
    LabelResult
        Failed: the name of VASP's error as custodian calls it (``edddav``, ``brmix``, …), ``max_corrections``, ``walltime``,
        ``no_progress``, ``energy_jump``, ``k_mesh``, ``exit_code``, ``output_missing`` or ``unreadable_output``. Rejected:
        ``not_converged``, ``positive_energy``, ``settings_changed``, ``geometry_changed``, or a reason of
        :func:`coevo.labelling.sanity.judge`.
    """
    failure = _failure(run)
    if failure:
        return _without_numbers(failure, run)
    changed = changed_settings(run, incar)
    if changed:
        return _without_numbers("settings_changed", run, f"a correction set {changed}")
    return _numbers(run, frame, limits)


def changed_settings(run: VaspRun, incar: dict[str, Any]) -> str:
    """Name the corrections that made the run one of other settings (``KPOINTS``, ``ISMEAR = 2``); empty if there are none."""
    changed: dict[str, str] = {}
    for action in (action for correction in run.corrections for action in correction["actions"] or []):
        if action.get("dict") == "KPOINTS":
            changed["KPOINTS"] = "KPOINTS"
        if action.get("dict") != "INCAR":
            continue
        for tag, value in action["action"].get("_set", {}).items():
            changed.pop(tag, None)
            if tag in SETTING_TAGS and value != incar.get(tag):
                changed[tag] = f"{tag} = {value}"
        for tag in action["action"].get("_unset", {}):
            if tag in SETTING_TAGS and tag in incar:
                changed[tag] = f"no {tag}"
    return ", ".join(changed.values())


def _failure(run: VaspRun) -> str:
    """Return the reason why a run has no number; empty if it has one."""
    last = run.corrections[-1] if run.corrections else None
    if run.verdicts.get("handler") or any(not correction["actions"] for correction in run.corrections):
        # custodian ends some of these (a walltime) without an exception, and pymatgen takes a run that was stopped for converged.
        hopeless = next((correction for correction in run.corrections if not correction["actions"]), last)
        return _reason(hopeless, str(run.verdicts.get("handler", "")))
    if any(key.startswith("max_errors") for key in run.verdicts):
        reason = _reason(last, "")
        return reason if reason == "not_converged" else "max_corrections"
    if run.verdicts.get("nonzero_return_code"):
        return "exit_code"
    if run.verdicts.get("validator"):
        return "output_missing"
    if run.document is None:
        return "unreadable_output"
    if run.document.calcs_reversed[0].has_vasp_completed.value != "successful" or not run.reached_ediff:
        return "not_converged"
    return ""


def _reason(correction: dict[str, Any] | None, handler: str) -> str:
    if correction is None:
        return HANDLER_REASONS.get(handler, "vasp_error")
    known = HANDLER_REASONS.get(correction["handler"])
    if known:
        return known
    error = min(correction["errors"], default="vasp_error")
    return error.lower().replace(" ", "_")[:40]


def _without_numbers(reason: str, run: VaspRun, why: str = "") -> LabelResult:
    rejected = reason in REJECTED_REASONS or why
    return LabelResult("rejected" if rejected else "failed", reason, detail=_detail(run, why))


def _detail(run: VaspRun, why: str) -> str:
    parts = [why] if why else []
    if run.corrections:
        parts.append("custodian: " + _corrections(run))
    if run.verdicts:
        parts.append("ended with " + ", ".join(f"{key} {value}" for key, value in sorted(run.verdicts.items())))
    elif run.error:
        parts.append(run.error.split("\n", 1)[0])
    if run.stdout:
        parts.append(f"VASP printed: {run.stdout}")
    return "; ".join(parts)[:DETAIL_LENGTH]


def _corrections(run: VaspRun) -> str:
    return ", ".join(
        "+".join(sorted(correction["errors"])) + (" corrected" if correction["actions"] else " not corrected")
        for correction in run.corrections
    )


def _numbers(run: VaspRun, frame: PreparedFrame, limits: SanityLimits) -> LabelResult:
    assert run.document is not None
    output = run.document.calcs_reversed[0].output
    step = output.ionic_steps[-1]
    deviation = frame.deviation(step.structure)
    if deviation > SAME_LENGTH:
        return _without_numbers("geometry_changed", run, f"VASP computed a structure that is {deviation:.3g} Å off the frame")
    atoms = len(frame.structure)
    forces, stress = np.array(step.forces, dtype=float), np.array(step.stress, dtype=float)
    if forces.shape != (atoms, 3) or stress.shape != (3, 3) or step.e_fr_energy is None:
        return LabelResult("failed", "unreadable_output", detail="vasprun.xml lacks the energy, the forces or the stress")
    # The stress tensor of VASP is symmetric but for rounding.
    stress = -EV_PER_A3_PER_KBAR * (stress + stress.T) / 2
    label = judge(step.e_fr_energy / atoms, frame.forces_on_frame(forces), stress, limits)
    if label.status != "admitted":
        return label
    detail = f"free energy; extrapolated to no smearing {output.energy / atoms:.6f} eV/atom"
    if run.corrections:
        detail += f"; custodian: {_corrections(run)}"
    return LabelResult("admitted", energy=label.energy, forces=label.forces, stress=label.stress, detail=detail)
