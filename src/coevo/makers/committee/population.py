"""The population as members see it: geometries in the order of the evaluations, and a member's energies, scale and hull."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from coevo.analysis.composition import fractions
from coevo.analysis.hull.hull import Hull
from coevo.errors import AnalysisError
from coevo.makers.committee.scales import Corrections, offsets_on_references, shifted
from coevo.makers.populations.hull_members import is_counted
from coevo.makers.populations.population import model_energy

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray
    from pymatgen.core import Structure

    from coevo.configs.tree import NodeSection
    from coevo.families import Weights

    FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Population:
    """References and entries of a state.

    Attributes
    ----------
    ids : list of str
    structures : list of Structure
    own : ndarray, shape (n,)
        Energies by the state's own force field, eV/atom.
    is_reference : ndarray of bool, shape (n,)
    is_counted : ndarray of bool, shape (n,), or None
        What makes the hull of the state, and so that of a member; None: all of it.
    """

    ids: list[str]
    structures: list[Structure]
    own: FloatArray
    is_reference: NDArray[np.bool_]
    is_counted: NDArray[np.bool_] | None = None

    @cached_property
    def _corrections(self) -> Corrections:
        return Corrections(self.structures)

    def energies(self, rows: Iterable[Mapping[str, Any]]) -> FloatArray:
        """Energies of a member in the order of the population, on its own scale; NaN where it has none."""
        found = {row["id"]: row["energy_per_atom"] for row in rows}
        return np.array([np.nan if found.get(i) is None else found[i] for i in self.ids], dtype=float)

    def on_scale(
        self, energies: FloatArray, weights: Weights, node: NodeSection
    ) -> tuple[FloatArray, dict[str, Any] | None, str]:
        """Bring a member's energies to the scale of the node; returns them, the offsets, and why there are none."""
        correction = self._corrections.of(weights, node.energy_scale)
        corrected = energies + correction
        rows = np.flatnonzero(self.is_reference)
        offsets, reason = offsets_on_references(
            node.elements, [self.structures[i] for i in rows], corrected[rows], self.own[rows]
        )
        if offsets is None:
            return energies, None, reason
        return shifted(energies, self.structures, correction, offsets), offsets.to_dict(), ""

    def above_hull(self, energies: FloatArray, elements: Sequence[str]) -> tuple[FloatArray | None, str]:
        """Energies above the member's own hull, eV/atom, NaN where it has no energy; and why there is no hull."""
        there = np.flatnonzero(np.isfinite(energies))
        if not len(there):
            return None, "it has no energy of any structure"
        shares = fractions([self.structures[i] for i in there], elements)
        counted = np.ones(len(there), dtype=bool) if self.is_counted is None else self.is_counted[there]
        try:
            hull = Hull.from_points(elements, shares[counted], energies[there][counted])
        except AnalysisError as err:
            return None, str(err)
        above = np.full(len(energies), np.nan)
        above[there] = hull.energy_above_hull(shares, energies[there])
        return above, ""


def population_of(documents: Sequence[Mapping[str, Any]], records: Iterable[Mapping[str, Any]]) -> Population:
    """Join evaluations with the geometries that they are of."""
    from coevo.node_store.canonical import structure_from_document

    geometries = {(r["kind"], r["id"]): r["structure"] for r in records if r["kind"] != "sample"}
    return Population(
        [d["structure_id"] for d in documents],
        [structure_from_document(geometries[d["kind"], d["structure_id"]]) for d in documents],
        np.array([model_energy(d) for d in documents], dtype=float),
        np.array([d["kind"] == "reference" for d in documents], dtype=bool),
        np.array([is_counted(d) for d in documents], dtype=bool),
    )
