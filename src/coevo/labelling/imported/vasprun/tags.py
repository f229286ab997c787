"""What VASP was told, from the two places of a ``vasprun.xml``.

``<incar>`` holds what the user wrote, ``<parameters>`` what VASP took. Neither is complete. METAGGA stands in the INCAR only;
GGA, IVDW and LHFCALC may stand in either; ENCUT is ENMAX among the parameters. Values may carry the comment of their line.

Also here, by what it was told, which runs are refused: their numbers are no energies, forces and stresses of the ground state.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from coevo.labelling.imported.vasprun.functional import POTENTIALS_ONLY

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


UNSET = frozenset({"", "--", "NONE", "F", "FALSE"})
"""How VASP says that a tag with a word has none, in capitals."""


@dataclass(frozen=True)
class AtomType:
    """One line of the POTCAR list: as many atoms of an element, with their potential.

    Attributes
    ----------
    count : int
    element : str
    valence : float
        Electrons.
    title : str
        Of the potential, its TITEL.
    """

    count: int
    element: str
    valence: float
    title: str


class Tags:
    """INCAR tags of a run, asked for by name.

    Parameters
    ----------
    incar, parameters : mapping
        As pymatgen reads them.
    """

    def __init__(self, incar: Any, parameters: Any):
        self._incar = {str(key).strip().upper(): value for key, value in incar.items()}
        self._parameters = {str(key).strip().upper(): value for key, value in parameters.items()}

    def get(self, name: str) -> Any:
        """Value in the INCAR, else among the parameters, else None."""
        value = self._incar.get(name)
        return self._parameters.get(name) if value is None else value

    def used(self, name: str) -> Any:
        """Value among the parameters, which VASP may have set otherwise than the INCAR says, else in the INCAR."""
        value = self._parameters.get(name)
        return self._incar.get(name) if value is None else value

    def asked(self, name: str) -> Any:
        """Value in the INCAR, or None."""
        return self._incar.get(name)

    def word(self, name: str) -> str:
        """First word of a value in capitals, without a comment; empty where the tag is not set, in one place or the other."""
        for value in (self._incar.get(name), self._parameters.get(name)):
            words = str("" if value is None else value).split("!")[0].split("#")[0].split()
            if words and words[0].upper() not in UNSET:
                return words[0].upper()
        return ""

    def flag(self, name: str) -> bool:
        """Whether a logical tag is true in one place or the other."""
        return any(
            value is True or str(value).strip(". ").upper()[:1] == "T"
            for value in (self._incar.get(name), self._parameters.get(name))
            if value is not None
        )

    def number(self, name: str, default: float) -> float:
        """A number, or the default where there is none."""
        value = self.get(name)
        try:
            return default if value is None else float(value[0] if isinstance(value, list) else value)
        except (TypeError, ValueError, IndexError):
            return default

    def numbers(self, name: str) -> list[float]:
        """A list of numbers; empty where there is none."""
        value = self.get(name)
        return [float(item) for item in (value if isinstance(value, list) else [] if value is None else [value])]


def atom_types(path: Path) -> list[AtomType]:
    """Read the POTCAR list of a ``vasprun.xml``; pymatgen keeps the titles of it, not the valences and counts."""
    from lxml import etree

    # a file that was cut off later is read up to here; entities are left alone
    for _, element in etree.iterparse(str(path), events=["end"], tag="atominfo", recover=True, resolve_entities=False):
        rows = element.findall("array[@name='atomtypes']/set/rc")
        return [_atom_type([(cell.text or "").strip() for cell in row.findall("c")]) for row in rows]
    return []


def _atom_type(cells: list[str]) -> AtomType:
    symbol = {"X": "Xe", "r": "Zr"}.get(cells[1], cells[1])  # as VASP writes both
    return AtomType(int(cells[0]), symbol, float(cells[3]), " ".join(cells[4].split()))


SELF_CONSISTENT = ("NORMAL", "VERYFAST", "FAST", "CONJUGATE", "ALL", "DAMPED", "SUBROT", "EXACT")
"""ALGO that minimises the energy. VASP reads as many letters as it needs."""

NOT_SELF_CONSISTENT_IALGO = {2, 3}


def not_minimised(tags: Tags) -> str | None:
    """ALGO = CHI, GW0, BSE, ACFDT, None, … compute something else than a ground state."""
    algo = tags.word("ALGO") or str(tags.asked("ALGO") or "").strip().upper()
    if algo and not any(name.startswith(algo) or algo.startswith(name) for name in SELF_CONSISTENT):
        return f"ALGO = {algo.capitalize()}"
    ialgo = int(tags.number("IALGO", 38))
    return f"IALGO = {ialgo}, which minimises nothing" if ialgo in NOT_SELF_CONSISTENT_IALGO and not algo else None


def fixed_density(tags: Tags) -> str | None:
    """ICHARG from 10 on keeps the density that was read: band structures and densities of states."""
    number = int(tags.number("ICHARG", 0))
    return f"ICHARG = {number}: the density was kept as it was read, the run is not self-consistent" if number >= 10 else None


def linear_response(tags: Tags) -> str | None:
    """In runs of density-functional perturbation theory the electronic steps are those of responses."""
    number = int(tags.number("IBRION", -1))
    if number in {7, 8}:
        return f"IBRION = {number}: density-functional perturbation theory"
    for name in ("LEPSILON", "LCALCEPS", "LCHIMAG", "LRPA", "LCALCPOL"):
        if tags.flag(name):
            return f"{name} is set: a response of the ground state, or its polarisation"
    return None


def no_energy_functional(tags: Tags) -> str | None:
    """A Becke-Johnson potential is the derivative of no energy."""
    meta = tags.word("METAGGA")
    return f"METAGGA = {meta}: a potential that is the derivative of no energy" if meta in POTENTIALS_ONLY else None


def outer_field(tags: Tags) -> str | None:
    """An electric field or a solvent is no property of the crystal."""
    if abs(tags.number("EFIELD", 0.0)) > 1e-12 or any(abs(value) > 1e-12 for value in tags.numbers("EFIELD_PEAD")):
        return "an electric field is applied (EFIELD)"
    return "LSOL is set: the crystal is in a solvent" if tags.flag("LSOL") else None


def chain_of_images(tags: Tags) -> str | None:
    """Forces of a nudged elastic band hold springs."""
    number = int(tags.number("IMAGES", 0))
    return f"IMAGES = {number}: the forces of a nudged elastic band hold its springs" if number > 0 else None


CHECKS: tuple[Callable[[Tags], str | None], ...] = (
    not_minimised,
    fixed_density,
    linear_response,
    no_energy_functional,
    outer_field,
    chain_of_images,
)


def why_no_labels(tags: Tags) -> str | None:
    """Say why a run's numbers are no labels; None if they may be."""
    return next((sentence for sentence in (check(tags) for check in CHECKS) if sentence), None)
