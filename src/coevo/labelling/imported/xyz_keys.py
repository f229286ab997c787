"""Which of a frame's keys are the energy, forces and stress of one calculation.

Keys have *families*: what stands before (or behind) ``energy``, ``forces``, ``stress`` and ``virial``. All numbers of a frame are
of one family, because energies of one calculation and forces of another make a label of neither. A family that names a reference
calculation (``REF_``, ``dft_``, …) goes before keys without a family, which a program may have filled with a model's numbers;
keys of a model (``MACE_energy``) are never taken unless the user names them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from coevo.configs.structures.extended_xyz import FrameError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from coevo.configs.structures.extended_xyz import XyzFrame
    from coevo.labelling.imported.contract import LabelKeys

STEMS = {
    "energy": ("free_energy", "total_energy", "potential_energy", "energy", "toten", "etot", "e_tot", "e", "energy_per_atom"),
    "forces": ("forces", "force", "f"),
    "stress": ("stress", "stresses"),
    "virial": ("virial", "virials"),
}
"""Words for a quantity; where there are several in one family, ``free_energy`` is taken, and the others must agree."""

FUNCTIONALS = {
    "lda": "LDA",
    "pbe": "PBE",
    "pbesol": "PBEsol",
    "rpbe": "RPBE",
    "revpbe": "revPBE",
    "blyp": "BLYP",
    "scan": "SCAN",
    "rscan": "rSCAN",
    "r2scan": "r2SCAN",
    "pbe0": "PBE0",
    "hse": "HSE06",
    "hse06": "HSE06",
    "b3lyp": "B3LYP",
}
"""Families that name a functional, and its name."""

# fmt: off
REFERENCE_FAMILIES = frozenset({
    "ref", "reference", "dft", "qm", "ab", "abinitio", "target", "true", "truth", "gt", "label", "vasp", "qe", "espresso",
    "castep", "aims", "cp2k", "gpaw", "abinit", "siesta",
}) | frozenset(FUNCTIONALS)
MODEL_FAMILIES = frozenset({
    "mace", "nequip", "allegro", "gap", "chgnet", "m3gnet", "megnet", "matgl", "nep", "ml", "mlp", "mlip", "mlff", "mlpot",
    "model", "pred", "predicted", "prediction", "ff", "dp", "deepmd", "sevennet", "7net", "orb", "mattersim", "uma", "esen",
    "fairchem", "ace", "pace", "soap", "mtp", "snap", "schnet", "painn", "alignn", "grace", "classical", "lammps", "emt",
    "xtb",
})
# fmt: on
"""First words of families of models, and of codes that are no first-principles reference."""

_STEM_OF = {stem: quantity for quantity, stems in STEMS.items() for stem in stems}
_BY_LENGTH = "|".join(sorted(_STEM_OF, key=len, reverse=True))
_PREFIXED = re.compile(rf"(?:(?P<family>.+?)_)??(?P<stem>{_BY_LENGTH})")
_SUFFIXED = re.compile(rf"(?P<stem>{_BY_LENGTH})_(?P<family>.+)")
_LOOKED_FOR = "energy, free_energy, REF_energy, dft_energy, …, with forces and stress or virial alike"


@dataclass(frozen=True)
class KeyParts:
    """What a key says.

    Attributes
    ----------
    quantity : {"energy", "forces", "stress", "virial"}
    stem : str
        One of :data:`STEMS`.
    family : str
        In lower case; empty for a plain key.
    """

    quantity: str
    stem: str
    family: str

    @property
    def is_reference(self) -> bool:
        """Whether the family names a reference calculation."""
        return self.family.split("_")[0] in REFERENCE_FAMILIES


@dataclass(frozen=True)
class ChosenKeys:
    """Keys of one calculation; None where it has none, or where it was not asked for.

    Attributes
    ----------
    energy, forces, stress, virial : str or None
    family : str
        Of the energy.
    passed_over : tuple of str
        Keys of other families that stand beside.
    """

    energy: str | None
    forces: str | None
    stress: str | None
    virial: str | None
    family: str
    passed_over: tuple[str, ...] = ()


def key_parts(key: str) -> KeyParts | None:
    """Return what a key says; None if it is no energy, force, stress or virial."""
    text = re.sub(r"[\s.:-]", "_", key.lower()).strip("_")
    found = _PREFIXED.fullmatch(text)
    if found is None:
        found = _SUFFIXED.fullmatch(text)
        if found is None or not {found["family"].split("_")[0]} & (REFERENCE_FAMILIES | MODEL_FAMILIES):
            return None
    family, stem = found["family"] or "", found["stem"]
    if len(stem) == 1 and family and family.split("_")[0] not in REFERENCE_FAMILIES | MODEL_FAMILIES:
        return None
    return KeyParts(_STEM_OF[stem], stem, family)


def is_energy(key: str) -> bool:
    """Whether a key is an energy, of whatever family."""
    parts = key_parts(key)
    return parts is not None and parts.quantity == "energy"


def choose_keys(frame: XyzFrame, named: LabelKeys, *, energy_only: bool = False) -> ChosenKeys:
    """Choose the keys of one calculation.

    Parameters
    ----------
    frame : XyzFrame
    named : LabelKeys
        What the user names is taken.
    energy_only : bool
        Look for no forces and stress, and at no keys of them.

    Raises
    ------
    FrameError
        ``missing_energy``, ``missing_forces`` or ``missing_stress``, if a key is not there; ``unclear_keys``, if there are
        several and the user named none. The sentence names the keys found, and the option that settles it.
    """
    table = _table(frame, energy_only=energy_only)
    given = {"energy": named.energy, "forces": named.forces, "stress": named.stress, "virial": named.virial}
    for quantity, key in given.items():
        if key is not None and not (energy_only and quantity != "energy"):
            _check_named(frame, quantity, key, table)
    leading = named.energy or (None if energy_only else named.forces)
    parts = key_parts(leading) if leading else None
    family = _family(table, given) if parts is None else parts.family
    found = dict(given)
    for quantity in ("energy",) if energy_only else ("energy", "forces"):
        found[quantity] = given[quantity] or _one_of(table, quantity, family)
    if energy_only:
        return ChosenKeys(found["energy"], None, None, None, family, _others(table, family, found))
    if not (given["stress"] or given["virial"]):
        own = table.get(family, {})
        if not ("stress" in own or "virial" in own):
            raise _missing(table, "stress", family)
        found |= {q: own[q][0] if len(own.get(q, ())) == 1 else _agreeing(own, q) for q in ("stress", "virial")}
    return ChosenKeys(**found, family=family, passed_over=_others(table, family, found))


Table = dict[str, dict[str, list[str]]]
"""Keys of a frame by family and quantity."""


def _table(frame: XyzFrame, *, energy_only: bool) -> Table:
    table: Table = {}
    for key, per_atom in (*((key, False) for key in frame.info), *((key, True) for key in frame.columns)):
        parts = key_parts(key)
        if parts is None or per_atom != (parts.quantity == "forces") or (energy_only and parts.quantity != "energy"):
            continue
        if per_atom and frame.columns[key].stop - frame.columns[key].start != 3:
            continue
        table.setdefault(parts.family, {}).setdefault(parts.quantity, []).append(key)
    return table


def _check_named(frame: XyzFrame, quantity: str, key: str, table: Table) -> None:
    there = frame.columns if quantity == "forces" else frame.info
    if key not in there:
        word = "stress" if quantity == "virial" else quantity
        raise FrameError(f"missing_{word}", f"no {key} (--{quantity}-key) in it; found {_found(table)}")
    parts = key_parts(key)
    if quantity in {"stress", "virial"} and parts is not None and parts.quantity != quantity:
        is_a = parts.quantity
        raise FrameError("unclear_keys", f"--{quantity}-key {key} is a {is_a} by its name; give --{is_a}-key {key}")


def _family(table: Table, given: Mapping[str, str | None]) -> str:
    """The family to take, where the user names no energy and no forces whose family is known."""
    references = [family for family in table if family.split("_")[0] in REFERENCE_FAMILIES]
    plain = table.get("", {})
    if len(references) > 1:
        raise FrameError("unclear_keys", f"found {_found(table)}: several references; name one: --energy-key, --forces-key")
    if not references:
        if "energy" not in plain and not given["energy"]:
            raise _missing(table, "energy", "")
        return ""
    (reference,) = references
    for quantity in ("energy", "forces"):
        if not given[quantity] and quantity not in table[reference] and quantity in plain:
            raise FrameError(
                "unclear_keys",
                f"found {_found(table)}: no {quantity} of the family of {reference}; name them: --energy-key, --forces-key",
            )
    return reference


def _one_of(table: Table, quantity: str, family: str) -> str:
    keys = table.get(family, {}).get(quantity)
    if not keys:
        raise _missing(table, quantity, family)
    return min(keys, key=lambda key: (STEMS[quantity].index(_parts(key).stem), key))


def _agreeing(own: Mapping[str, list[str]], quantity: str) -> str | None:
    keys = own.get(quantity)
    if keys and len(keys) > 1:
        raise FrameError("unclear_keys", f"found {', '.join(keys)}; name one with --{quantity}-key")
    return None


def _missing(table: Table, quantity: str, family: str) -> FrameError:
    of = f" of the family of {family}_energy" if family else ""
    options = "--stress-key or --virial-key" if quantity == "stress" else f"--{quantity}-key"
    said = f"no {quantity}{of}; found {_found(table)}; looked for {_LOOKED_FOR}; {options} names it"
    return FrameError(f"missing_{quantity}", said)


def _found(table: Table) -> str:
    keys = [key for quantities in table.values() for found in quantities.values() for key in found]
    return ", ".join(key[:40] for key in keys[:12]) or "no energy, forces, stress or virial"


def _others(table: Table, family: str, found: Mapping[str, str | None]) -> tuple[str, ...]:
    chosen = {key for key in found.values() if key}
    others = [key for other, own in table.items() if other != family for keys in own.values() for key in keys]
    return tuple(key for key in others if key not in chosen)


def _parts(key: str) -> KeyParts:
    parts = key_parts(key)
    assert parts is not None
    return parts


def same_energy_keys(frame: XyzFrame, chosen: ChosenKeys) -> Iterable[str]:
    """Other energies of the chosen family that must agree with the chosen one: all but ``energy`` beside ``free_energy``."""
    if chosen.energy is None or key_parts(chosen.energy) is None:
        return
    first = _parts(chosen.energy)
    for key in frame.info:
        parts = key_parts(key)
        if parts is None or key == chosen.energy or (parts.quantity, parts.family) != ("energy", first.family):
            continue
        # E0 (``energy``) belongs to no forces, and may differ from the free energy by the entropy of the smearing
        if first.stem != "free_energy":
            yield key
