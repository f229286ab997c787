"""Structures given as plain JSON: pymatgen's dictionaries, and phases by their space group; read field by field.

No class that an item names is ever looked up, so that a file from elsewhere cannot run code.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from coevo.configs.structures.bounds import check_cell, check_coordinates, check_count, check_expansion, check_lengths
from coevo.configs.structures.cif_blocks import is_full

if TYPE_CHECKING:
    from pymatgen.core import Structure
    from pymatgen.symmetry.groups import SpaceGroup

_CELL = ("a", "b", "c", "alpha", "beta", "gamma")


def check_item(item: dict[str, Any]) -> None:
    """Refuse an item whose cell cannot be computed with, or is too large, before anything is.

    Raises
    ------
    KeyError, ValueError, TypeError, AttributeError
        :class:`BoundsError` if it is beyond the bounds.
    """
    inner = item.get("structure", item)
    lattice = inner["lattice"]
    if "matrix" in lattice:
        check_cell(lattice["matrix"])
    else:
        check_lengths([float(lattice[key]) for key in _CELL[:3]])
    sites = inner["sites"]
    check_count(len(sites))
    if "space_group_number" in inner:
        expected = int(inner["atoms_per_cell"])
        check_count(expected)
        if expected < len(sites):
            raise ValueError(f"{len(sites)} sites are more than its {expected} atoms_per_cell")
        _check_expansion(int(inner["space_group_number"]), [site["xyz"] for site in sites])


def _check_expansion(space_group: int, positions: list[Any]) -> None:
    check_coordinates(positions)
    check_expansion(positions, [operation.affine_matrix for operation in _space_group(space_group).symmetry_ops])


@cache
def _space_group(number: int) -> SpaceGroup:
    """Make a space group once: pymatgen, which compares each of its operations with all others, keeps it while it is in use."""
    from pymatgen.symmetry.groups import SpaceGroup

    return SpaceGroup.from_int_number(number)


def structure_from_item(item: dict[str, Any]) -> Structure:
    """Build a structure from a pymatgen dictionary, an object that holds one, or a phase given by its space group.

    Raises
    ------
    KeyError, ValueError, TypeError, IndexError, AttributeError
        If the item is not such an object.
    """
    from pymatgen.core import Lattice, Structure

    if "structure" in item:
        item = item["structure"]
    given = item["lattice"]
    cell = Lattice(given["matrix"]) if "matrix" in given else Lattice.from_parameters(*(given[key] for key in _CELL))
    if "space_group_number" not in item:
        species = [_species(site["species"]) for site in item["sites"]]
        cartesian = any("abc" not in site for site in item["sites"])
        positions = [site["xyz" if cartesian else "abc"] for site in item["sites"]]
        return Structure(cell, species, positions, coords_are_cartesian=cartesian)
    elements = [site["element"] for site in item["sites"]]
    positions = [site["xyz"] for site in item["sites"]]
    structure = Structure.from_spacegroup(item["space_group_number"], cell, elements, positions, tol=1e-3)
    expected = item["atoms_per_cell"]
    if len(structure) != expected:
        raise ValueError(
            f"its space group gives {len(structure)} atoms and atoms_per_cell says {expected}; a site is off its special position"
        )
    return structure.get_primitive_structure()


def _species(parts: list[dict[str, Any]]) -> dict[str, float]:
    """Occupancies of a site; one that is full but for rounding is full."""
    given = {part["element"]: part.get("occu", 1.0) for part in parts}
    if len(given) == 1 == len(parts) and all(is_full(float(occupancy)) for occupancy in given.values()):
        return dict.fromkeys(given, 1.0)
    return given
