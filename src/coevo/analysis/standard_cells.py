"""The standard cells of a crystal: symmetry found at a stated tolerance, atoms moved to their special positions, and checked.

The tolerance is that of the space group which every evaluation states
(:data:`coevo.analysis.signals.diversity.SYMMETRY_TOLERANCE`). Finding and idealising is spglib's, by pymatgen; what is ours is to
make sure that the same crystal comes out.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from coevo.analysis.signals.diversity import SYMMETRY_TOLERANCE

if TYPE_CHECKING:
    from pymatgen.core import Structure

Setting = Literal["conventional", "primitive", "as-is"]
ANGLE_TOLERANCE = 5.0
"""Degrees."""
IDEAL = 1e-3
"""Å; tolerance at which the idealised cell must have the space group that was found."""


@dataclass(frozen=True)
class StandardCell:
    """A crystal in one of its standard cells.

    Attributes
    ----------
    structure : Structure
    setting : {"conventional", "primitive", "as-is"}
        The one that ``structure`` is in.
    symbol, number : str or None, int or None
        Hermann–Mauguin symbol and number of the space group; None where spglib finds none.
    symprec : float
        Å; at which it was found.
    remark : str
        Why ``structure`` is as given although another setting was asked for; empty if it is not.
    """

    structure: Structure
    setting: Setting
    symbol: str | None
    number: int | None
    symprec: float
    remark: str = ""

    @property
    def group(self) -> str:
        """Space group with number and tolerance, for people: ``Fm-3m (225), symprec 0.1 Å``."""
        found = f"{self.symbol} ({self.number})" if self.number is not None else "none found"
        return f"{found}, symprec {self.symprec:g} Å"


def standard_cell(structure: Structure, setting: Setting = "conventional", symprec: float = SYMMETRY_TOLERANCE) -> StandardCell:
    """Return a crystal in a standard cell, or as it is where that would be another crystal.

    Parameters
    ----------
    structure : Structure
        Ordered.
    setting : {"conventional", "primitive", "as-is"}
        Conventional: that of the International Tables; primitive: the standard one of Setyawan and Curtarolo (2010), as in
        pymatgen. Both idealised.
    symprec : float
        Å.
    """
    from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # spglib's of its next version
        try:
            analyzer = SpacegroupAnalyzer(structure, symprec, ANGLE_TOLERANCE)
            symbol, number = analyzer.get_space_group_symbol(), int(analyzer.get_space_group_number())
        except Exception as err:  # noqa: BLE001 - spglib's errors have no common class over its versions
            return StandardCell(structure, "as-is", None, None, symprec, f"no symmetry was found ({err})")
        if setting == "as-is":
            return StandardCell(structure, "as-is", symbol, number, symprec)
        try:
            conventional = setting == "conventional"
            ideal = analyzer.get_refined_structure() if conventional else analyzer.get_primitive_standard_structure()
            remark = _difference(structure, ideal, number, symprec)
        except Exception as err:  # noqa: BLE001
            ideal, remark = structure, f"the standard cell was not found ({err})"
    if remark:
        return StandardCell(structure, "as-is", symbol, number, symprec, remark)
    return StandardCell(ideal, setting, symbol, number, symprec)


def _difference(given: Structure, ideal: Structure, number: int, symprec: float) -> str:
    """Say why an idealised cell is not the crystal that was given; empty if it is."""
    from pymatgen.analysis.structure_matcher import StructureMatcher
    from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

    found = int(SpacegroupAnalyzer(ideal, IDEAL, ANGLE_TOLERANCE).get_space_group_number())
    if found != number:
        return f"its idealised cell has space group {found}, not {number}"
    if given.composition.reduced_composition != ideal.composition.reduced_composition:
        return "its idealised cell has another composition"
    volumes = [structure.volume / len(structure) for structure in (given, ideal)]
    spacing = volumes[0] ** (1 / 3)
    if abs(volumes[1] / volumes[0] - 1) > 3 * symprec / given.volume ** (1 / 3):
        return f"idealising would change its volume from {volumes[0]:.3f} to {volumes[1]:.3f} Å³ an atom"
    matcher = StructureMatcher(ltol=0.1, stol=0.5, angle_tol=ANGLE_TOLERANCE, scale=False, attempt_supercell=False)
    distances = matcher.get_rms_dist(given, ideal)
    if distances is None:
        return "its idealised cell is another crystal (StructureMatcher)"
    moved = float(np.max(distances[1])) * spacing
    if moved > symprec:
        return f"idealising would move an atom by {moved:.3f} Å, more than the tolerance of {symprec:g} Å"
    return ""
