"""What VASP was told, from the two places of a ``vasprun.xml``.

``<incar>`` holds what the user wrote, ``<parameters>`` what VASP took. Neither is complete. METAGGA stands in the INCAR only;
GGA, IVDW and LHFCALC may stand in either; ENCUT is ENMAX among the parameters. Values may carry the comment of their line.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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
