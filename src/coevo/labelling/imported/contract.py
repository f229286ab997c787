"""What a reader of a file of calculations hands over: frames with their numbers, and the settings that they share."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from coevo.labelling.contract import LabelResult
from coevo.labelling.sanity import check_geometry, judge

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from coevo.labelling.contract import FloatArray, LabelSettings
    from coevo.labelling.sanity import SanityLimits

CODE = "imported"
EV_PER_A3_PER_KBAR = 6.241509074460763e-4
"""1 kbar in eV/Å³ (CODATA 2018)."""


@dataclass(frozen=True)
class ImportedFrame:
    """One frame of a file.

    Attributes
    ----------
    structure : Structure
    energy : float or None
        eV/atom.
    forces : ndarray, shape (n_atoms, 3), or None
        eV/Å.
    stress : ndarray, shape (3, 3), or None
        eV/Å³, ASE sign.
    converged : bool
        Whether the electrons did, as far as the file says.
    free_atoms : float or None
        Energy of the free atoms on the scale of the file, eV/atom, relative to which the energy must be in the range that is
        allowed: 0 where the code gives energies relative to atoms, as VASP does. None where the energy is that of valence
        electrons and cores on a scale that the file does not hold: then it must be negative, and more is not asked.
    reason, detail : str
        Why the reader itself does not admit the frame (``not_periodic``, ``not_finite``, …) and the sentence to it; else empty.
    """

    structure: Structure
    energy: float | None
    forces: FloatArray | None
    stress: FloatArray | None
    converged: bool = True
    reason: str = ""
    detail: str = ""
    free_atoms: float | None = 0.0

    def label(self, limits: SanityLimits) -> LabelResult:
        """Admit or reject the frame: the reader's reason, ``not_converged``, ``missing_…``, or a word of the sanity checks."""
        if self.reason:
            return LabelResult("rejected", self.reason, detail=self.detail)
        if not self.converged:
            return LabelResult("rejected", "not_converged", detail="the file says that the electrons did not converge")
        for name in ("energy", "forces", "stress"):
            if getattr(self, name) is None:
                return LabelResult("rejected", f"missing_{name}", detail=f"the file has no {name} of this frame")
        assert self.energy is not None
        assert self.forces is not None
        assert self.stress is not None
        if self.forces.shape != (len(self.structure), 3):
            return LabelResult(
                "rejected", "missing_forces", detail=f"forces of {len(self.forces)} of {len(self.structure)} atoms"
            )
        if self.stress.shape != (3, 3):
            return LabelResult("rejected", "missing_stress", detail=f"a stress of shape {self.stress.shape}, expected (3, 3)")
        return check_geometry(self.structure, limits) or self._judge(self.energy, self.forces, self.stress, limits)

    def _judge(self, energy: float, forces: FloatArray, stress: FloatArray, limits: SanityLimits) -> LabelResult:
        """Hold the numbers against the limits, the energy relative to the free atoms."""
        if self.free_atoms is None:
            # without a zero of energy only this is certain: electrons in the field of nuclei have a negative energy
            limits = replace(limits, energy_range=(float("-inf"), 0.0))
        judged = judge(energy - (self.free_atoms or 0.0), forces, stress, limits)
        return replace(judged, energy=energy) if judged.status == "admitted" else judged


@dataclass(frozen=True)
class LabelKeys:
    """Keys of a file that a user names, where a file holds several numbers of a kind: ``--energy-key REF_energy`` and the like.

    None: the reader finds them by its table (docs/labels.md).
    """

    energy: str | None = None
    forces: str | None = None
    stress: str | None = None
    virial: str | None = None


@dataclass(frozen=True)
class FileContents:
    """What a reader takes from one file.

    Attributes
    ----------
    frames : list of ImportedFrame
        Every frame of the file in its order, those that are not admitted too, each with its reason.
    functional : str or None
        As the file states it, in the field's words (``PBE``, ``r2SCAN``, ``HSE06``, ``PBE+D3``, ``PBE+U``); None if it does not.
    parameters : dict
        JSON. Whatever else changes the numbers, in a form that depends neither on composition nor on cell (k-point spacing, not
        mesh; charge, not number of electrons; U by species). It enters the digest of the settings.
    potentials : dict
        Element to the hash or name of its potential, of the elements in the file. Labels are of one scale as long as no element
        has two, which is settled where labels meet and not in a file.
    recorded : dict
        JSON that is kept with the labels and does not enter the digest: version of the code, smearing, k-point mesh.
    taken : dict
        What was taken to the place in the file that it was taken from, for people: ``{"energy": "free_energy", …}``.
    notes : list of str
        Sentences that the user should read.
    functional_begins, functional_open : str
        Where the file states no more than the beginning of the functional: ``PBE+``, and the sentence how one knows that there is
        more. ``functional`` is None then, and the user must name it.
    left_out : list of tuple of str
        Reason and sentence of each frame that is in the file and of which there is no geometry to keep (no cell, broken lines);
        they count as rejected.
    """

    frames: list[ImportedFrame]
    functional: str | None = None
    parameters: dict[str, Any] = field(default_factory=dict)
    potentials: dict[str, str] = field(default_factory=dict)
    recorded: dict[str, Any] = field(default_factory=dict)
    taken: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    functional_begins: str = ""
    functional_open: str = ""
    left_out: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True)
class ImportedFile:
    """Frames of one file and the settings that they share; the other attributes as in :class:`FileContents`."""

    frames: list[ImportedFrame]
    settings: LabelSettings
    potentials: dict[str, str] = field(default_factory=dict)
    recorded: dict[str, Any] = field(default_factory=dict)
    taken: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)


def as_array(value: Any) -> FloatArray | None:
    """Return numbers as an array; None stays None."""
    return None if value is None else np.asarray(value, dtype=float)
