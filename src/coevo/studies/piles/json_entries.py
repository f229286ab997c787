"""JSON objects as structures with energies: pymatgen's structures and entries, documents of the Materials Project, OPTIMADE.

Objects are read field by field: a class that a file names is never built, but for pymatgen's four energy adjustments, by a list.

Also here: structures of OPTIMADE as pymatgen's, and which of them are no ordered crystals.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from coevo.configs.structures.cif_blocks import structure_from_cif
from coevo.configs.structures.json_structures import structure_from_item
from coevo.studies.piles.energy_scales import calculation_named
from coevo.studies.piles.rows import EnergyOrigin

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


_ENERGIES = ("energy_per_atom", "energy", "total_energy")
_ADJUSTMENTS = {
    "ConstantEnergyAdjustment": ("value",),
    "ManualEnergyAdjustment": ("value",),
    "CompositionEnergyAdjustment": ("adj_per_atom", "n_atoms"),
    "TemperatureEnergyAdjustment": ("adj_per_deg", "temp", "n_atoms"),
}
"""pymatgen's energy adjustments, and what their value is made of."""
_CALCULATION_KEYS = ("run_type", "functional", "xc", "xc_functional", "calc_type")
_SAME = 1e-4
"""eV/atom; two statements of one energy agree within it."""
_EXPECTED = (
    "a structure (lattice and sites), an object with structure or cif (and energy, energy_per_atom, correction, "
    "energy_adjustments), or an OPTIMADE structure (attributes)"
)


class EntryError(ValueError):
    """An object that is no structure, or an energy that cannot be taken: reason, and a sentence."""

    def __init__(self, reason: str, detail: str):
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail


def structure_in(item: Any, max_sites: int) -> Structure:
    """Return the structure of an object.

    Raises
    ------
    EntryError
        With the keys that were found and those that were looked for; or ``too_many_atoms``, ``disordered`` or ``not_periodic``.
    ValueError, LookupError, TypeError, …
        Whatever pymatgen raises.
    """
    if not isinstance(item, dict):
        raise EntryError("unreadable", f"got {str(item)[:40]!r}, expected {_EXPECTED}")
    if isinstance(item.get("cif"), str):
        return structure_from_cif(item["cif"], max_sites)
    attributes = item.get("attributes")
    if isinstance(attributes, dict) and "species_at_sites" in attributes:
        reason = refusal(attributes)
        if reason is not None:
            raise EntryError(reason, f"an OPTIMADE structure that is {reason.replace('_', ' ')}")
        return structure_of(attributes)
    inner = item.get("structure", item)
    if not isinstance(inner, dict) or not isinstance(inner.get("sites"), list) or "lattice" not in inner:
        raise EntryError("unreadable", f"found {_keys_of(item)}; expected {_EXPECTED}")
    if len(inner["sites"]) > max_sites:
        raise EntryError("too_many_atoms", f"{len(inner['sites'])} sites, allowed {max_sites}")
    periodic = inner["lattice"].get("pbc") if isinstance(inner["lattice"], dict) else None
    if isinstance(periodic, list) and not all(periodic):
        raise EntryError("not_periodic", f"its lattice has pbc {periodic}, expected periodic in three directions")
    return structure_from_item(item)


def elements_named(item: Any) -> set[str]:
    """Elements that the sites of an object name, to be checked before a structure is built; empty where they are not said so."""
    inner = item.get("structure", item) if isinstance(item, dict) else None
    sites = inner.get("sites") if isinstance(inner, dict) else None
    if not isinstance(sites, list):
        return set()
    return {part["element"] for site in sites for part in site.get("species", ()) if isinstance(part, dict)}


def _keys_of(item: dict[str, Any]) -> str:
    return ", ".join(str(key)[:30] for key in list(item)[:12]) or "an empty object"


def energy_in(item: dict[str, Any], structure: Structure, key: str | None = None) -> tuple[float | None, EnergyOrigin]:
    """Return the energy per atom of an object, with its corrections, and what the file says of it.

    Parameters
    ----------
    item : dict
    structure : Structure
    key : str or None
        The energy that the user names; it is taken as it stands: per atom if its name says so, else of the whole cell.

    Returns
    -------
    energy : float or None
        eV/atom; None if there is none, or if what there is contradicts itself.
    origin : EnergyOrigin
    """
    try:
        calculation = _calculation(item)
        atoms = _atoms(item, structure)
        if key is not None:
            value = _number(item.get(key))
            if value is None:
                raise EntryError("missing_energy", f"no number {key} (--energy-key); found {_keys_of(item)}")
            return value if "per_atom" in key else value / atoms, EnergyOrigin(key, calculation)
        return _stated_energy(item, atoms, calculation)
    except EntryError as error:
        return None, EnergyOrigin(problem=str(error))


def _atoms(item: dict[str, Any], structure: Structure) -> int:
    """Atoms that a total energy is of: a phase that is given by its space group has their number beside it."""
    inner = item.get("structure", item)
    return int(inner.get("atoms_per_cell", len(structure))) if isinstance(inner, dict) else len(structure)


def _stated_energy(item: dict[str, Any], atoms: int, calculation: str) -> tuple[float | None, EnergyOrigin]:
    found = {name: value for name in _ENERGIES if (value := _number(item.get(name))) is not None}
    if not found:
        others = [str(key)[:40] for key, value in item.items() if "energy" in str(key).lower() and _number(value) is not None]
        if others:
            looked = f"looked for {', '.join(_ENERGIES)}; --energy-key names another"
            raise EntryError("missing_energy", f"found {', '.join(others[:8])}; {looked}")
        return None, EnergyOrigin(calculation=calculation)
    totals = [found[name] / atoms for name in ("energy", "total_energy") if name in found]
    correction = _correction(item, atoms)
    if len(totals) > 1 and abs(totals[0] - totals[1]) > _SAME:
        raise EntryError("unclear_energy", "energy and total_energy differ; name one with --energy-key")
    if not totals:
        # energy_per_atom of the Materials Project holds the correction, and a correction beside it is not added again
        return found["energy_per_atom"], EnergyOrigin("energy_per_atom", calculation, correction)
    energy = totals[0] + (correction or 0.0)
    per_atom = found.get("energy_per_atom")
    if per_atom is not None and abs(per_atom - energy) > _SAME:
        raise EntryError(
            "unclear_energy",
            f"energy with its correction is {energy:.6g} eV/atom and energy_per_atom {per_atom:.6g}; name one with --energy-key",
        )
    name = "energy" if "energy" in found else "total_energy"
    return energy, EnergyOrigin(name, calculation, correction)


def _correction(item: dict[str, Any], atoms: int) -> float | None:
    """Corrections of an entry, eV/atom: ``correction``, or the sum of its ``energy_adjustments``, which must agree."""
    given, adjustments = _number(item.get("correction")), item.get("energy_adjustments")
    if item.get("correction") is not None and given is None:
        raise EntryError("unclear_energy", f"correction is {str(item['correction'])[:30]!r}, expected a number of eV")
    if not isinstance(adjustments, list) or (not adjustments and given is not None):
        if adjustments is not None and not isinstance(adjustments, list):
            raise EntryError("unclear_energy", "energy_adjustments is no list")
        # an entry of pymatgen that names neither was not corrected; a plain object says nothing
        plain = given is None and not str(item.get("@class", "")).startswith("Computed")
        return None if plain else (given or 0.0) / atoms
    total = sum(adjustment_value(part) for part in adjustments) / atoms
    if given is not None and abs(given / atoms - total) > _SAME:
        raise EntryError(
            "unclear_energy", f"correction is {given:.6g} eV and its energy_adjustments are {total * atoms:.6g} eV together"
        )
    return total


def adjustment_value(part: Any) -> float:
    """Return the value of one energy adjustment, eV, by pymatgen's own class.

    Raises
    ------
    EntryError
        ``unclear_energy``, if it is none of pymatgen's four.
    """
    from pymatgen.core import entries

    name = part.get("@class") if isinstance(part, dict) else None
    fields = _ADJUSTMENTS.get(str(name))
    if fields is None:
        allowed = ", ".join(_ADJUSTMENTS)
        raise EntryError("unclear_energy", f"an energy adjustment of class {str(name)[:40]!r}; allowed: {allowed}")
    numbers = [_number(part.get(field)) for field in fields]
    if None in numbers:
        raise EntryError("unclear_energy", f"a {name} without {' and '.join(fields)}")
    value = getattr(entries, str(name))(*numbers).value
    return float(value)


def _calculation(item: dict[str, Any]) -> str:
    """Run type or functional that an object names; GGA+U that was put on the scale of GGA by MP's correction is ``GGA``."""
    if isinstance(item.get("thermo_type"), str):
        return calculation_named(item["thermo_type"])
    places = [place for name in ("parameters", "data") if isinstance(place := item.get(name), dict)]
    named = {
        calculation_named(value)
        for place in (*places, item)
        for key in _CALCULATION_KEYS
        if isinstance(value := place.get(key), str) and value.strip()
    }
    # a functional may be named beside a run type: PBE and GGA+U are one statement
    if len(named) > 1 and named != {"GGA", "GGA+U"}:
        raise EntryError("unclear_energy", f"it names several calculations: {', '.join(sorted(named))}")
    calculation = max(named, key=len, default="")
    if calculation in {"GGA", "GGA+U", ""} and any(_has_u(place) for place in places):
        calculation = "GGA+U"
    mixed = [part for part in item.get("energy_adjustments") or () if isinstance(part, dict)]
    if calculation == "GGA+U" and any("GGA/GGA+U mixing" in str(part.get("name")) for part in mixed):
        return "GGA"
    return calculation


def _has_u(place: dict[str, Any]) -> bool:
    values = place.get("hubbards")
    if isinstance(values, dict) and values:
        return any(_number(value) for value in values.values())
    return place.get("is_hubbard") is True


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
