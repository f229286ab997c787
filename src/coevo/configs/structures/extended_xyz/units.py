"""Units that a frame declares: ``energy-unit=hartree``, ``stress_unit=GPa``, ``units="eV, Angstrom"``.

Where nothing is declared, the format's own hold: eV, Å, eV/Å and eV/Å³. A unit that is not known is refused and never guessed.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from coevo.configs.structures.extended_xyz.cutting import FrameError

if TYPE_CHECKING:
    from collections.abc import Mapping

_QUANTITIES = {
    "energy": "energy energies e",
    "forces": "force forces f",
    "stress": "stress stresses pressure",
    "virial": "virial virials",
    "length": "length lengths distance position positions pos coordinate coordinates lattice cell",
}
_OF_WORD = {word: quantity for quantity, words in _QUANTITIES.items() for word in words.split()}
_UNIT_KEY = re.compile(r"(?:(?P<family>.*?)_)?(?P<word>[a-z]+)_units?|units?_(?P<last>[a-z]+)|(?P<all>units?)")

_ANGSTROM_WORDS = ("a", "angstrom", "angstroms", "ang")
_BOHR_WORDS = ("bohr", "a0", "bohrradius")
_PLAIN = frozenset({"ev", "metal", *_ANGSTROM_WORDS, *(f"ev/{word}" for word in _ANGSTROM_WORDS)})
"""Words of a ``units`` for everything together that say what holds anyway."""


def declared_units(info: Mapping[str, str], family: str = "") -> dict[str, str]:
    """Return the units that a frame declares for the numbers of one family of keys, by quantity, as text.

    Parameters
    ----------
    info : mapping of str to str
        Keys and values of the comment line.
    family : str
        What the keys of the numbers begin with (``ref`` of ``REF_energy``): ``REF_energy_unit`` is about them alone,
        ``energy_unit`` about all.

    Raises
    ------
    FrameError
        ``unknown_unit``, for a ``units`` for everything that is not the format's own.
    """
    general: dict[str, str] = {}
    own: dict[str, str] = {}
    for key, value in info.items():
        found = _UNIT_KEY.fullmatch(re.sub(r"[\s.:-]", "_", key.lower()))
        if found is None:
            continue
        if found["all"]:
            _check_together(key, value)
            continue
        quantity = _OF_WORD.get(found["word"] or found["last"])
        if quantity is not None and not found["family"]:
            general[quantity] = value
        elif quantity is not None and found["family"] == family:
            own[quantity] = value
    return general | own


def _check_together(key: str, value: str) -> None:
    words = [_normal(word) for word in re.split(r"[\s,;]+", value.strip()) if word]
    if not set(words) <= _PLAIN | {f"ev/{word}3" for word in _ANGSTROM_WORDS}:
        raise FrameError(
            "unknown_unit", f"{key}={value[:40]!r} does not say which is whose; allowed: energy_unit, force_unit, stress_unit, …"
        )


def length_factor(info: Mapping[str, str]) -> float:
    """Return Å in the unit of length that a frame declares."""
    unit = declared_units(info).get("length")
    return 1.0 if unit is None else _length(_normal(unit), unit)


def energy_factor(unit: str | None, atoms: int) -> float:
    """Energy of the whole frame in eV of one in a unit; ``eV/atom`` and the like count for each of its atoms.

    Raises
    ------
    FrameError
        ``unknown_unit``.
    """
    if unit is None:
        return 1.0
    text = _normal(unit)
    per_atom = re.fullmatch(r"(.*)/(?:atoms?|at)", text)
    return _energy(per_atom[1], unit) * atoms if per_atom else _energy(text, unit)


def force_factor(unit: str | None) -> float:
    """Return eV/Å in a unit of force."""
    if unit is None:
        return 1.0
    text = _normal(unit)
    if text in _ATOMIC:
        text = "hartree/bohr"
    energy, _, length = text.rpartition("/")
    return _energy(energy, unit) / _length(length, unit)


def stress_factor(unit: str | None) -> float:
    """Return eV/Å³ in a unit of stress."""
    from ase import units

    if unit is None:
        return 1.0
    text = _normal(unit)
    if text in _ATOMIC:
        text = "hartree/bohr3"
    pressures = {"gpa": 1.0, "mpa": 1e-3, "kpa": 1e-6, "pa": 1e-9, "kbar": 0.1, "kb": 0.1, "bar": 1e-4, "mbar": 100.0}
    if unit.strip() == "mbar":  # a thousandth of a bar, and Mbar a million; nobody means the former of a crystal
        raise _unknown(unit, "Mbar, kbar, GPa, eV/Å^3")
    if text in pressures:
        return pressures[text] * units.GPa
    energy, _, volume = text.rpartition("/")
    if not volume.endswith("3"):
        raise _unknown(unit, "eV/Å^3, GPa, kbar, Hartree/bohr^3")
    return _energy(energy, unit) / _length(volume[:-1], unit) ** 3


_ATOMIC = frozenset({"au", "a.u.", "atomic", "atomicunits"})


def _energy(text: str, unit: str) -> float:
    from ase import units

    if unit.strip().startswith("MeV"):  # a million eV; written so, a thousandth is meant as often
        raise _unknown(unit, "meV, eV")
    known = {
        "ev": 1.0,
        "mev": 1e-3,
        **dict.fromkeys(("hartree", "hartrees", "ha", "eh", "e_h", *_ATOMIC), units.Hartree),
        "mha": 1e-3 * units.Hartree,
        **dict.fromkeys(("rydberg", "ry", "ryd"), units.Rydberg),
        "kcal/mol": units.kcal / units.mol,
        "kj/mol": units.kJ / units.mol,
    }
    if text not in known:
        raise _unknown(unit, "eV, meV, Hartree, Ry, kcal/mol, kJ/mol, each also per Å or bohr for forces")
    return float(known[text])


def _length(text: str, unit: str) -> float:
    from ase import units

    if text in _ANGSTROM_WORDS:
        return 1.0
    if text in _BOHR_WORDS or text in _ATOMIC:
        return float(units.Bohr)
    if text == "nm":
        return 10.0
    raise _unknown(unit, "Å, bohr, nm")


def _normal(unit: str) -> str:
    text = re.sub(r"[\s*(){}^]", "", unit.strip().lower())
    return text.replace("\u00e5", "a").replace("\u212b", "a").replace("\u00b3", "3").replace("/mola", "/mol/a")


def _unknown(unit: str, allowed: str) -> FrameError:
    return FrameError("unknown_unit", f"unit {unit[:30]!r} is not known; allowed: {allowed}")
