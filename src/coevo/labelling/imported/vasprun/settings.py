"""What changes the numbers of a VASP run, in a form that depends neither on composition nor on cell; and what is recorded."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from coevo.labelling.imported.k_points import mesh_of
from coevo.labelling.imported.vasprun.functional import hubbard, hybrid_parameters

if TYPE_CHECKING:
    from pymatgen.core import Structure
    from pymatgen.io.vasp import Vasprun

    from coevo.labelling.imported.vasprun.tags import AtomType, Tags

RECORDED_TAGS = (
    "ALGO",
    "EDIFF",
    "NELM",
    "ISMEAR",
    "SIGMA",
    "KSPACING",
    "KGAMMA",
    "LREAL",
    "ADDGRID",
    "LMAXMIX",
    "IBRION",
    "ISIF",
    "PSTRESS",
    "NUPDOWN",
    "NELECT",
)
"""Kept with the labels. LREAL is here because input sets choose it by the number of atoms."""

DISPERSION_TAGS = ("VDW_RADIUS", "VDW_CNRADIUS", "VDW_S6", "VDW_S8", "VDW_SR", "VDW_A1", "VDW_A2", "VDW_SCALING", "VDW_D")


FORM_TAGS = {
    "AGGAX": 1.0,
    "AGGAC": 1.0,
    "ALDAC": 1.0,
    "ALDAX": 1.0,
    "AMGGAX": 1.0,
    "AMGGAC": 1.0,
    "PARAM1": 0.1234,
    "PARAM2": 1.0,
    "PARAM3": 0.0,
    "ZAB_VDW": -0.8491,
    "BPARAM": 6.3,
    "CPARAM": 0.0093,
}
"""Shares and constants of functionals that a user may set, with the values that VASP has for them."""

HYBRID_TAGS = {"NKRED": 1.0, "NKREDX": 1.0, "NKREDY": 1.0, "NKREDZ": 1.0, "LMODELHF": 0.0, "LTHOMAS": 0.0, "HFALPHA": 0.0}
"""The same of exact exchange."""


def parameters_of(run: Vasprun, tags: Tags, types: list[AtomType], structure: Structure) -> dict[str, Any]:
    """Return what enters the digest beside functional and potentials; what has its default is left out.

    Parameters
    ----------
    run : Vasprun
    tags : Tags
    types : list of AtomType
    structure : Structure
        Of which the mesh is, the first of the run.
    """
    cutoff = tags.asked("ENCUT") or tags.used("ENMAX") or tags.used("ENCUT")
    spin = int(tags.number("ISPIN", 1))
    found: dict[str, Any] = {
        "program": "vasp",
        "encut": None if cutoff is None else float(cutoff),
        "precision": {"A": "accurate", "H": "high", "M": "medium", "L": "low", "S": "single"}.get(
            tags.word("PREC")[:1], "normal"
        ),
        "spin": "spin-orbit" if tags.flag("LSORBIT") else "noncollinear" if tags.flag("LNONCOLLINEAR") else spin,
        "aspherical": tags.flag("LASPH"),
        **_k_points(run, structure),
    }
    found |= {
        "charge": charge_of(tags, types),
        "hubbard": hubbard(tags, types),
        "hybrid": hybrid_parameters(tags, types),
        "dispersion": _dispersion(tags),
        "form": _form(tags),
        "dipole_correction": int(tags.number("IDIPOL", 0)) if tags.flag("LDIPOL") or tags.flag("LMONO") else 0,
        "fixed_moment": tags.number("NUPDOWN", -1.0) >= 0,
        "constrained_moments": int(tags.number("I_CONSTRAINED_M", 0)),
        "gga_compat": "off" if _is_off(tags.get("GGA_COMPAT")) else None,  # gradients with the full symmetry of the lattice
    }
    return {name: value for name, value in found.items() if value not in (None, 0, 0.0, False, {}) or name == "aspherical"}


def recorded_of(run: Vasprun, tags: Tags, structure: Structure) -> dict[str, Any]:
    """Return what is kept with the labels and does not enter the digest."""
    plain = {name: _plain(tags.get(name)) for name in RECORDED_TAGS}
    mesh = _divisions(run)
    return {
        "version": run.vasp_version,
        "smearing": {"ISMEAR": plain.pop("ISMEAR"), "SIGMA": plain.pop("SIGMA")},
        **(mesh_of(mesh, structure).recorded() if mesh else {"k_points": len(run.actual_kpoints)}),
        "tags": {name: value for name, value in plain.items() if value is not None},
    }


def potentials_of(types: list[AtomType]) -> dict[str, str]:
    """Return the titles of the potentials by element."""
    found: dict[str, set[str]] = {}
    for atom_type in types:
        found.setdefault(atom_type.element, set()).add(atom_type.title)
    return {element: "; ".join(sorted(titles)) for element, titles in sorted(found.items())}


def charge_of(tags: Tags, types: list[AtomType]) -> float:
    """Return the charge of the cell, e: valence electrons of the potentials less NELECT; positive if electrons are missing."""
    electrons = tags.number("NELECT", -1.0) if tags.used("NELECT") is None else float(tags.used("NELECT"))
    neutral = sum(atom_type.count * atom_type.valence for atom_type in types)
    if electrons <= 0 or neutral <= 0 or abs(neutral - electrons) < 1e-3:
        return 0.0
    return round(neutral - electrons, 3)


def _is_off(value: Any) -> bool:
    """Whether a logical tag that is true unless it is set is set to false."""
    return value is not None and str(value).strip(". ").upper()[:1] == "F"


def _k_points(run: Vasprun, structure: Structure) -> dict[str, Any]:
    divisions = _divisions(run)
    return mesh_of(divisions, structure).parameters() if divisions else {"k_spacing": "listed points"}


def _divisions(run: Vasprun) -> tuple[int, ...] | None:
    """Divisions of a regular mesh; None where the points were listed one by one."""
    if run.kpoints.style.name not in {"Gamma", "Monkhorst", "Automatic"} or not run.kpoints.kpts:
        return None
    first = tuple(int(number) for number in run.kpoints.kpts[0])
    return first if len(first) == 3 and min(first) > 0 else None


def _dispersion(tags: Tags) -> dict[str, Any]:
    number = int(tags.number("IVDW", 0))
    named = {11: "zero damping", 12: "Becke-Johnson damping"}
    found = {name.lower(): tags.get(name) for name in DISPERSION_TAGS if tags.asked(name) is not None}
    return {**found, "ivdw": number, "form": named.get(number, "")} if number else {}


def _form(tags: Tags) -> dict[str, float]:
    """Shares and constants of the functional that the user set to other values than VASP has for them."""
    known = FORM_TAGS | (HYBRID_TAGS if tags.flag("LHFCALC") else {})
    found = {
        name.lower(): tags.number(name, usual) if usual or not tags.flag(name) else 1.0
        for name, usual in known.items()
        if tags.asked(name) is not None
    }
    return {name: value for name, value in found.items() if abs(value - known[name.upper()]) > 1e-6}


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)
