"""Structures of OPTIMADE as pymatgen's, and which of them are no ordered crystals."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pymatgen.core import Structure

MAX_SITES = 1000


def refusal(attributes: Any) -> str | None:
    """Why a structure is not built, None if it can be.

    It has no geometry, or a part of one (``unreadable``, ``incomplete``), too many sites, is not periodic in three directions, or
    has sites that are shared or vacant.
    """
    try:
        if len(attributes["species_at_sites"]) > MAX_SITES:
            return "too_many_atoms"
        if tuple(attributes.get("dimension_types") or (1, 1, 1)) != (1, 1, 1):
            return "not_periodic"
        features = set(attributes.get("structure_features") or ())
        if features & {"disorder", "assemblies"} or attributes.get("assemblies"):
            return "disordered"
        if features & {"implicit_atoms", "site_attachments"}:
            # there are atoms that the sites do not show
            return "incomplete"
        used = set(attributes["species_at_sites"])
        for species in attributes["species"]:
            if species["name"] in used and len(species["chemical_symbols"]) != 1:
                return "disordered"
            if species["name"] in used and not math.isclose(species["concentration"][0], 1.0, abs_tol=1e-6):
                return "disordered"
    except (KeyError, TypeError, AttributeError, IndexError):
        return "unreadable"
    return None


def structure_of(attributes: dict[str, Any]) -> Structure:
    """Build the structure of an ordered OPTIMADE entry.

    Raises
    ------
    ValueError, LookupError, TypeError
        If it is none.
    """
    import numpy as np
    from pymatgen.core import Structure

    symbols = {species["name"]: species["chemical_symbols"][0] for species in attributes["species"]}
    sites = [symbols[name] for name in attributes["species_at_sites"]]
    lattice = np.array(attributes["lattice_vectors"], dtype=float)
    positions = np.array(attributes["cartesian_site_positions"], dtype=float)
    if lattice.shape != (3, 3) or positions.shape != (len(sites), 3) or not sites:
        raise ValueError("cell and sites do not fit together")
    if not np.isfinite(lattice).all() or not np.isfinite(positions).all():
        raise ValueError("numbers that are not finite")
    return Structure(lattice, sites, positions, coords_are_cartesian=True)
