"""Geometries in bundles: what one must look like, and what makes it a crystal that jobs can compute with.

Jobs make structures of these without looking. A cell of 1e300 Å or of a thousandth of one, a symbol that is no element or a site
with half an atom would end or stall a run that the user began for other reasons, long after the import.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from coevo.configs.element_lists import ELEMENT_SYMBOLS
from coevo.configs.structures.bounds import (
    MAX_ATOMS,
    MIN_DISTANCE,
    MIN_VOLUME_PER_ATOM,
    check_cell,
    check_coordinates,
    check_count,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

OVERLAPPING = 0.08
"""Å³ an atom; closest packing of atoms that are :data:`MIN_DISTANCE` apart has 0.088, and nearer ones get no admitted label."""

_Three = Annotated[list[float], Field(min_length=3, max_length=3)]


class Exact(BaseModel):
    """A document that may say no more than its model declares."""

    model_config = ConfigDict(extra="forbid")


class _Species(Exact):
    element: str = Field(max_length=8)
    occu: float
    oxidation_state: float | None = None
    spin: float | None = None


class _Site(Exact):
    species: list[_Species] = Field(min_length=1)
    abc: _Three


class _Lattice(Exact):
    matrix: Annotated[list[_Three], Field(min_length=3, max_length=3)]
    pbc: Annotated[list[bool], Field(min_length=3, max_length=3)]


class Geometry(Exact):
    """A structure as :func:`coevo.node_store.canonical.structure_document` writes it; the content id covers no more than this."""

    module: str = Field(alias="@module", pattern=r"^pymatgen\.core\.structure$")
    kind: str = Field(alias="@class", pattern=r"^Structure$")
    lattice: _Lattice
    sites: list[_Site] = Field(min_length=1)
    charge: float | None = None


def check_geometry(geometry: Mapping[str, Any], *, computed_with: bool = True, frame: bool = False) -> None:
    """Refuse a geometry that no job could compute with.

    Parameters
    ----------
    geometry : mapping
        Valid for :class:`Geometry`.
    computed_with : bool
        False of a label without numbers, which is only shown and compared: what the code refused may be the geometry itself.
    frame : bool
        Whether it is the frame of a label, whose size and periodicity were its code's affair.

    Raises
    ------
    ValueError
    """
    sites, lattice = geometry["sites"], geometry["lattice"]
    if unknown := {species["element"] for site in sites for species in site["species"]} - ELEMENT_SYMBOLS:
        raise ValueError(f"its geometry holds {min(unknown)!r}, which is no element")
    cell = np.array(lattice["matrix"], dtype=float)
    try:
        check_cell(cell)
        check_coordinates([site["abc"] for site in sites])
        if not frame:
            check_count(len(sites), MAX_ATOMS)
    except ValueError as err:
        raise ValueError(f"its geometry: {err}") from None
    if not computed_with:
        return
    if any(len(site["species"]) > 1 or site["species"][0]["occu"] != 1.0 for site in sites):
        raise ValueError("its geometry has a site that is not one whole atom")
    if not frame and not all(lattice["pbc"]):
        raise ValueError("its geometry is not periodic in all three directions, which a crystal is")
    _check_density(cell, len(sites), OVERLAPPING if frame else MIN_VOLUME_PER_ATOM)


def _check_density(cell: NDArray[np.float64], atoms: int, smallest: float) -> None:
    """Bound the neighbours that an atom can have, whatever the cell."""
    volume = abs(float(np.linalg.det(cell)))
    if volume < smallest * atoms:
        raise ValueError(f"its geometry has {atoms} atoms in {volume:.3g} Å³, allowed: {smallest:g} Å³ an atom and more")
    # no vector of the lattice is shorter than the least distance between two planes; only a skew cell needs a second look
    areas = np.linalg.norm(np.cross(cell[[1, 2, 0]], cell[[2, 0, 1]]), axis=1)
    if (volume / areas).min() < MIN_DISTANCE:
        from pymatgen.core import Lattice

        shortest = min(Lattice(cell).get_lll_reduced_lattice().abc)
        if shortest < MIN_DISTANCE:
            raise ValueError(f"its geometry repeats after {shortest:.2g} Å, allowed: {MIN_DISTANCE} Å and more")
