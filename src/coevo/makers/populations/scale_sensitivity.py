"""Phases whose place on the hull hangs on the MP2020 anion correction: those with bonds between the anions that it acts on.

The correction is fitted to compounds whose anions are mostly apart, and repairs what PBE gets wrong of them against the element
(Wang et al., Sci. Rep. 11, 15496 (2021)). In S-S bonds sulphur is much as in S8, which gets nothing, while the compound gets
-0.503 eV for every S: so such a phase can be on the hull by the correction alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from coevo.analysis.cell_reduction import Crystal
from coevo.analysis.composition import fractions
from coevo.analysis.hull.energy_scale import corrected_anions
from coevo.analysis.hull.hull import Hull
from coevo.analysis.motifs.bonds import bonds_of, symbol_of
from coevo.errors import AnalysisError
from coevo.output.progress import task

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from numpy.typing import NDArray
    from pymatgen.core import Structure

    Document = dict[str, Any]


def with_scale_sensitivity(
    documents: Sequence[Document],
    structures: Sequence[Structure],
    elements: Sequence[str],
    in_hull: Sequence[bool] | None = None,
) -> list[Document]:
    """Add ``scale_sensitive`` and ``energy_above_hull_uncorrected`` to the evaluation documents of a node on the MP2020 scale.

    Parameters
    ----------
    documents : sequence of dict, length n
        Of all references and entries.
    structures : sequence of Structure, length n
        Their present geometries.
    elements : sequence of str
        Of the node.
    in_hull : sequence of bool, length n, optional
        Which of them the hull is made of; all by default. Those of no known correction are in no hull without it.

    Returns
    -------
    list of dict
        ``energy_above_hull_uncorrected`` in eV/atom: the energy without the correction above the hull of energies without it.
        Both are None where pymatgen knows no correction; the energy also where the hull that is left lacks an element.
    """
    corrections = np.full(len(structures), np.nan)
    sensitive: list[bool | None] = [None] * len(structures)
    with task("finding what hangs on corrections", len(structures), "structures") as advance:
        for index, structure in enumerate(structures):
            try:
                corrected = corrected_anions(structure)
            except AnalysisError:  # says nothing of the others
                continue
            finally:
                advance(1)
            corrections[index] = sum(corrected.values())
            sensitive[index] = _are_bonded(structure, corrected)
    above = _above_hull(
        fractions(list(structures), elements) if structures else np.empty((0, len(elements))),
        np.array([document["energy_per_atom"] for document in documents], dtype=float) - corrections,
        elements,
        np.ones(len(structures), dtype=bool) if in_hull is None else np.asarray(in_hull, dtype=bool),
    )
    return [
        {**document, "scale_sensitive": found, "energy_above_hull_uncorrected": float(value) if np.isfinite(value) else None}
        for document, found, value in zip(documents, sensitive, above, strict=True)
    ]


def is_scale_sensitive(structure: Structure) -> bool:
    """Whether two atoms of an element that the correction acts on in this structure are bonded to each other.

    Raises
    ------
    AnalysisError
        If pymatgen refuses the structure.
    """
    return _are_bonded(structure, corrected_anions(structure))


def _are_bonded(structure: Structure, corrected: Collection[str]) -> bool:
    if not corrected:
        return False
    crystal = Crystal.from_structure(structure)
    bonds = bonds_of(crystal)
    first, second = crystal.numbers[bonds.first], crystal.numbers[bonds.second]
    return any(symbol_of(int(number)) in corrected for number in np.unique(first[first == second]))


def stability_counts(live: Sequence[Document], threshold: float) -> dict[str, int]:
    """Count what hangs on the correction among entries that are no duplicates; empty where this was not asked.

    Parameters
    ----------
    live : sequence of dict
        Evaluation documents.
    threshold : float
        Stable means E_hull up to this, eV/atom.

    Returns
    -------
    dict
        ``stable_scale_sensitive`` (stable, with bonds between corrected anions) and ``stable_by_correction`` (of these, not
        stable without the correction).
    """
    if not any("scale_sensitive" in document for document in live):
        return {}
    marked = [document for document in live if document["scale_sensitive"] and document["is_stable"]]
    without = [document["energy_above_hull_uncorrected"] for document in marked]
    return {
        "stable_scale_sensitive": len(marked),
        "stable_by_correction": sum(value is not None and value > threshold for value in without),
    }


def _above_hull(
    shares: NDArray[np.float64], energies: NDArray[np.float64], elements: Sequence[str], in_hull: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Energies above the hull of those that are known; NaN where there is none, or no hull."""
    found = np.full(len(energies), np.nan)
    known = np.isfinite(energies)
    try:
        hull = Hull.from_points(elements, shares[known & in_hull], energies[known & in_hull])
    except AnalysisError:
        return found
    found[known] = hull.energy_above_hull(shares[known], energies[known])
    return found
