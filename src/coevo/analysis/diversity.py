"""How different the structures of a set are: formulas, chemical systems, space groups and fragments, and their entropies."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from coevo.analysis.composition import chemical_system, reduced_formula
from coevo.analysis.fragments import fragment_signature

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pymatgen.core import Structure

SYMMETRY_TOLERANCE = 0.1
"""Å; of relaxed structures, as in the Materials Project."""


@dataclass(frozen=True)
class Diversity:
    """Counts of a set of structures, and Shannon entropies of the counts in nats.

    Attributes
    ----------
    n : int
        Structures.
    formulas, chemical_systems, space_groups, fragments : int
        Different ones; structures whose space group could not be found are one more kind.
    formula_entropy, space_group_entropy, fragment_entropy : float
        nats; zero when all are alike, ln n when all differ.
    """

    n: int
    formulas: int
    chemical_systems: int
    space_groups: int
    fragments: int
    formula_entropy: float
    space_group_entropy: float
    fragment_entropy: float

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return asdict(self)


def space_group_number(structure: Structure, symprec: float = SYMMETRY_TOLERANCE, angle_tolerance: float = 5.0) -> int | None:
    """Number of the space group by spglib, None if it finds none (overlapping atoms, degenerate cell).

    Parameters
    ----------
    structure : Structure
    symprec : float
        Å.
    angle_tolerance : float
        Degrees.
    """
    import spglib

    cell = (structure.lattice.matrix.tolist(), structure.frac_coords.tolist(), [site.specie.Z for site in structure])
    # spglib answers a failure with None and a warning up to 2.8 and with SpglibError, which older versions lack, after it.
    failure = getattr(spglib, "SpglibError", RuntimeError)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*OLD_ERROR_HANDLING", category=DeprecationWarning)
        try:
            dataset = spglib.get_symmetry_dataset(cell, symprec=symprec, angle_tolerance=angle_tolerance)
        except failure:
            return None
    return int(dataset.number) if dataset is not None else None


def shannon_entropy(counts: Mapping[Any, float] | Iterable[float]) -> float:
    """Entropy -sum p ln p of a histogram (a Counter, or the counts alone), nats; zero for an empty one."""
    values = counts.values() if isinstance(counts, Mapping) else counts
    # Sorted, because the last digit of a sum depends on the order of its terms, and that of a Counter on its history.
    weights = np.array(sorted(count for count in values if count > 0), dtype=float)
    if not len(weights):
        return 0.0
    p = weights / weights.sum()
    return max(0.0, float(-(p * np.log(p)).sum()))


def diversity(structures: Sequence[Structure], symprec: float = SYMMETRY_TOLERANCE) -> Diversity:
    """Diversity of a set of structures."""
    formulas = Counter(reduced_formula(structure) for structure in structures)
    systems = Counter(chemical_system(structure) for structure in structures)
    groups = Counter(space_group_number(structure, symprec) for structure in structures)
    signatures = Counter(f"{reduced_formula(structure)} {fragment_signature(structure)}" for structure in structures)
    return Diversity(
        n=len(structures),
        formulas=len(formulas),
        chemical_systems=len(systems),
        space_groups=len(groups),
        fragments=len(signatures),
        formula_entropy=shannon_entropy(formulas),
        space_group_entropy=shannon_entropy(groups),
        fragment_entropy=shannon_entropy(signatures),
    )


def most_common(counts: Mapping[str, int], n: int) -> list[tuple[str, int]]:
    """The n largest counts; of equals the first in alphabetical order."""
    return sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[:n]
