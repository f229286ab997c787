"""Energies of members on the energy scale of the node: the MP2020 correction where it is needed, then an offset per element.

A member of the node's own family is on that scale. Another force field is brought there by offsets fitted on the references, as
labels are; what the correction does to compounds against elements is the same for both (:mod:`coevo.analysis.hull.energy_scale`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from coevo.analysis.composition import fractions
from coevo.analysis.hull.energy_scale import (
    Offsets,
    anion_correction,
    fit_offsets,
    holds_foreign_correction,
    needs_anion_correction,
)
from coevo.errors import AnalysisError
from coevo.node_store.bundles.documents import LARGEST

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    from pymatgen.core import Structure

    from coevo.families import Weights

    FloatArray = NDArray[np.float64]


@dataclass
class Corrections:
    """MP2020 anion corrections of structures, each computed once and only if a member needs it.

    Attributes
    ----------
    structures : sequence of Structure
    """

    structures: Sequence[Structure]
    _found: FloatArray | None = field(default=None, repr=False)

    def of(self, weights: Weights, energy_scale: str) -> FloatArray | float:
        """What is added to energies of these weights on the way to the scale of the node, eV/atom; NaN where pymatgen refuses."""
        sign = correction_sign(weights, energy_scale)
        if not sign:
            return 0.0
        if self._found is None:
            self._found = np.array([_correction(structure) for structure in self.structures])
        return sign * self._found


def correction_sign(weights: Weights, energy_scale: str) -> int:
    """Whether the MP2020 correction is added (1), taken away (-1) or left alone (0) on the way to a scale."""
    told: dict[str, Any] = {"anion_corrected": weights.anion_corrected, "energy_scale": energy_scale}
    if needs_anion_correction(weights.functional, **told):
        return 1
    return -1 if holds_foreign_correction(weights.functional, **told) else 0


def _correction(structure: Structure) -> float:
    try:
        return anion_correction(structure)
    except AnalysisError:
        return float("nan")


def offsets_on_references(
    elements: Sequence[str], structures: Sequence[Structure], member: FloatArray, own: FloatArray
) -> tuple[Offsets | None, str]:
    """Fit offsets that bring a member's energies of references to those of the state's own force field.

    Parameters
    ----------
    elements : sequence of str
        Of the node.
    structures : sequence of Structure, length n
        References.
    member, own : ndarray, shape (n,)
        eV/atom; of the member after the correction, NaN where it has none.

    Returns
    -------
    offsets : Offsets or None
    reason : str
        Why there are none.
    """
    there = np.flatnonzero(np.isfinite(member) & np.isfinite(own))
    kept = [structures[i] for i in there.tolist()]
    alone = np.array([len(structure.composition) == 1 for structure in kept], dtype=bool)
    shares = fractions(kept, elements) if kept else np.empty((0, len(elements)))
    found, reason = fit_offsets(shares, own[there], member[there], elements, alone)
    return found, reason.replace("no labelled elemental reference of", "it has no energy of an elemental reference of").replace(
        "; label one of each element", ""
    ).replace("labelled compositions", "compositions that it has energies of")


def shifted(
    energies: FloatArray, structures: Sequence[Structure], correction: FloatArray | float, offsets: Offsets
) -> FloatArray:
    """Energies of a member on the scale of the node, eV/atom."""
    if not len(structures):
        return energies
    shares = fractions(list(structures), offsets.elements)
    return offsets.apply(shares, energies + correction)


def stored_offsets(members: Mapping[str, Mapping[str, Any]], name: str, elements: Sequence[str]) -> Offsets | None:
    """Offsets that a state records of one of its members; None if it has none that can be used.

    Parameters
    ----------
    members : mapping
        As :func:`coevo.node_store.recorded.recorded_members` gives them.
    name : str
    elements : sequence of str
        Of the node: there must be an offset of each, in bounds (:data:`coevo.node_store.bundles.documents.LARGEST`).
    """
    told = members.get(name, {}).get("offsets")
    if not isinstance(told, dict):
        return None
    try:
        found = Offsets.from_dict(told)
        usable = (
            set(elements) <= set(found.elements)
            and len(found.values) == len(found.elements) == len(set(found.elements))
            and all(isinstance(element, str) for element in found.elements)
            and all(abs(value) <= LARGEST for value in found.values)
        )
    except (LookupError, ArithmeticError, TypeError, ValueError):
        return None
    return found if usable else None
