"""Which functional a VASP run used, in the words of :mod:`coevo.labelling.imported.functionals`.

The order of questions is that of pymatgen's ``Vasprun.run_type``: exact exchange, METAGGA, GGA, then the family of the
potentials; U and dispersion are added to the name. What is not in a table keeps the name that VASP has for it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from coevo.labelling.imported.vasprun.tags import AtomType, Tags

GGA = {
    "PE": "PBE",
    "PS": "PBEsol",
    "RE": "revPBE",
    "RP": "RPBE",
    "91": "PW91",
    "AM": "AM05",
    "CA": "LDA",
    "PZ": "LDA",
    "B3": "B3LYP",
    "B5": "B3LYP",
    "BF": "BEEF",
}
VAN_DER_WAALS = {
    "RE": "vdW-DF",
    "OR": "optPBE-vdW",
    "BO": "optB88-vdW",
    "MK": "optB86b-vdW",
    "ML": "vdW-DF2",
    "CX": "vdW-DF-cx",
    "BF": "BEEF-vdW",
}
"""GGA to the functional that it makes together with LUSE_VDW."""

ZAB_OF_SECOND = -1.8867
METAGGA = {
    "TPSS": "TPSS",
    "RTPSS": "revTPSS",
    "M06L": "M06-L",
    "SCAN": "SCAN",
    "RSCAN": "rSCAN",
    "R2SCAN": "r2SCAN",
    "R4SCAN": "r4SCAN",
}
POTENTIALS_ONLY = frozenset({"MBJ", "LMBJ"})
"""METAGGA of a potential that is no derivative of an energy."""

DISPERSION = {
    1: "D2",
    10: "D2",
    11: "D3",
    12: "D3",
    13: "D4",
    2: "TS",
    20: "TS",
    21: "TS",
    202: "MBD",
    263: "MBD",
    4: "dDsC",
}
"""IVDW to what it adds."""

FAMILIES = {"PAW_PBE": "PBE", "PAW_GGA": "PW91", "PAW_PS": "PBEsol"}
"""First word of a potential's title to the functional that it is made for, which VASP uses where GGA is not set."""


def functional_of(tags: Tags, types: list[AtomType]) -> str | None:
    """Return the functional, or None where neither tags nor potentials say it."""
    base = _hybrid(tags, types) if _has_exact_exchange(tags) else _semilocal(tags, types)
    if base is None:
        return None
    added = dispersion_of(tags)
    return base + (f"+{added}" if added else "") + ("+U" if hubbard(tags, types) else "")


def dispersion_of(tags: Tags) -> str:
    """What is added for dispersion: ``D3``; empty if nothing is."""
    number = int(tags.number("IVDW", 0))
    if number == 0:
        return "D2" if tags.flag("LVDW") else ""
    return DISPERSION.get(number, f"IVDW={number}")


def hubbard(tags: Tags, types: list[AtomType]) -> dict[str, Any]:
    """U and J by element that carries them.

    Returns
    -------
    dict
        Element to ``{"l": 2, "u": 5.3, "j": 0.0}``, eV; to a list of such where types of one element differ.

    Raises
    ------
    ValueError
        If there are fewer values than species.
    """
    if not tags.flag("LDAU"):
        return {}
    lists = {name: tags.numbers(name) for name in ("LDAUL", "LDAUU", "LDAUJ")}
    if not lists["LDAUU"]:
        raise ValueError("LDAU is set, LDAUU is not")
    found: dict[str, list[dict[str, float]]] = {}
    for index, atom_type in enumerate(types):
        values = {}
        for name, key in (("LDAUL", "l"), ("LDAUU", "u"), ("LDAUJ", "j")):
            if lists[name] and index >= len(lists[name]):
                raise ValueError(f"{name} has {len(lists[name])} values for {len(types)} species")
            values[key] = lists[name][index] if lists[name] else 0.0
        carries = (abs(values["u"]) > 1e-8 or abs(values["j"]) > 1e-8) and (not lists["LDAUL"] or values["l"] >= 0)
        if carries and values not in found.setdefault(atom_type.element, []):
            found[atom_type.element].append({"l": int(values["l"]), "u": values["u"], "j": values["j"]})
    kind = int(tags.number("LDAUTYPE", 2))
    return {
        element: {**items[0], "type": kind} if len(items) == 1 else [{**item, "type": kind} for item in items]
        for element, items in found.items()
        if items
    }


def hybrid_parameters(tags: Tags, types: list[AtomType]) -> dict[str, Any]:
    """What defines a hybrid beside its name; empty for other functionals."""
    if not _has_exact_exchange(tags):
        return {}
    return {
        "exact_exchange": round(tags.number("AEXX", 0.25), 6),
        "screening": round(abs(tags.number("HFSCREEN", 0.0)), 6),  # 1/Å
        "semilocal": _semilocal(tags, types) or "",
    }


def _has_exact_exchange(tags: Tags) -> bool:
    return tags.flag("LHFCALC")


def _semilocal(tags: Tags, types: list[AtomType]) -> str | None:
    """The functional without exact exchange."""
    meta = tags.word("METAGGA")
    if meta:
        name = METAGGA.get(meta, meta) if meta != "LIBXC" else _libxc(tags)
        return f"{name}+rVV10" if tags.flag("LUSE_VDW") else name
    gga = tags.word("GGA")
    if tags.flag("LUSE_VDW"):
        if gga == "MK" and math.isclose(tags.number("ZAB_VDW", 0.0), ZAB_OF_SECOND, abs_tol=1e-3):
            return "rev-vdW-DF2"
        base = GGA.get(gga, gga) or _of_potentials(types)
        return VAN_DER_WAALS.get(gga) or (f"{base}+rVV10" if base else None)
    if gga:
        return GGA.get(gga, gga) if gga != "LIBXC" else _libxc(tags)
    # VASP always writes GGA, as -- where the potentials decide; a file without it does not say its functional
    return None if tags.get("GGA") is None else _of_potentials(types)


def _libxc(tags: Tags) -> str:
    names = [tags.word(name) for name in ("LIBXC1", "LIBXC2")]
    return f"LIBXC({','.join(name for name in names if name)})"


def _of_potentials(types: list[AtomType]) -> str | None:
    """The functional of the potentials if all are made for one."""
    found = {FAMILIES.get(atom_type.title.split()[0] if atom_type.title else "") for atom_type in types}
    return found.pop() if len(found) == 1 else None


def _hybrid(tags: Tags, types: list[AtomType]) -> str | None:
    """Name of a functional with exact exchange; where no name fits, its parameters are its name."""
    share, screening = tags.number("AEXX", 0.25), abs(tags.number("HFSCREEN", 0.0))
    base = _semilocal(tags, types)
    if math.isclose(share, 1.0):
        return "HF"
    if base == "B3LYP":
        return "B3LYP"
    usual = math.isclose(share, 0.25) and base in {"PBE", "PBEsol", None} and not tags.flag("LMODELHF")
    if usual and not tags.flag("LTHOMAS"):
        if 0.2 <= screening <= 0.21:
            return "HSEsol" if base == "PBEsol" else "HSE06"
        if math.isclose(screening, 0.3, abs_tol=1e-3) and base != "PBEsol":
            return "HSE03"
        if screening == 0.0 and base == "PBE":
            return "PBE0"
    return f"hybrid({base or 'unknown'},AEXX={share:g},HFSCREEN={screening:g})"
