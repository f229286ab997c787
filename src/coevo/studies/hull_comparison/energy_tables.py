"""Tables of a database's entries with the energies that it gives, read field by field from JSON or CSV.

What a file may cost is bounded before it is parsed; rows that cannot be used are counted by reason, and never guessed at.
"""

from __future__ import annotations

import csv
import json
import math
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from coevo.configs.element_lists import ELEMENT_SYMBOLS
from coevo.configs.structures.files import text_of
from coevo.configs.structures.json_structures import check_item, structure_from_item
from coevo.configs.structures.reference_files import MAX_FILE
from coevo.errors import AnalysisError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pymatgen.core import Composition, Structure

MAX_ROWS = 100_000
"""Entries of a table, at most."""
MAX_ENERGY = 100.0
"""eV/atom; a larger number is no energy of formation or above a hull."""
FORMATION = ("formation_energy_per_atom", "e_form_per_atom")
HULL = ("energy_above_hull", "e_above_hull")
NAMES = ("entry_id", "material_id", "id", "name")
COMPOSITIONS = ("composition", "formula_pretty", "formula")
FIELDS = (
    f"each with {' or '.join(COMPOSITIONS)} (or a structure), {' or '.join(FORMATION)}, and {' or '.join(HULL)} if the database "
    "gives it, eV/atom"
)


@dataclass(frozen=True)
class TableEntry:
    """An entry of a database.

    Attributes
    ----------
    id : str
        Its name there.
    composition : Composition
        As given; without oxidation states.
    formation_energy : float
        As the database gives it, eV/atom.
    energy_above_hull : float or None
        As the database gives it, eV/atom.
    structure : Structure or None
    """

    id: str
    composition: Composition
    formation_energy: float
    energy_above_hull: float | None
    structure: Structure | None = None

    @property
    def formula(self) -> str:
        """Reduced."""
        return self.composition.reduced_formula


@dataclass(frozen=True)
class EnergyTable:
    """What a file gave.

    Attributes
    ----------
    source : str
        Name of the file.
    entries : list of TableEntry
        Within the elements asked for.
    left_out : Counter of str
        How many rows were left out, by reason: ``off_system``, ``no_composition``, ``no_formation_energy``, ``no_structure``
        (a structure that cannot be read or is disordered; the row itself is kept, without it).
    origins : list of str
        What the rows call their source, at most three.
    """

    source: str
    entries: list[TableEntry]
    left_out: Counter[str] = field(default_factory=Counter)
    origins: list[str] = field(default_factory=list)


def read_energy_table(path: Path, elements: Sequence[str], database: str | None = None) -> EnergyTable:
    """Read a table of a database's entries.

    Parameters
    ----------
    path : Path
        ``.json`` (a list of objects, or an object with ``phases``, ``entries`` or ``data``) or ``.csv`` with a header; each also
        as ``.gz`` or ``.bz2``. Fields: :data:`FIELDS`, of the entry or of one of its ``databases``.
    elements : sequence of str
        Only entries of these are taken.
    database : str, optional
        Whose energies are taken where entries list several ``databases``: energies of two are on no common scale.

    Raises
    ------
    AnalysisError
        If the file cannot be read, is too large, or holds no entry of these elements with a formation energy; or if it lists the
        energies of several databases and none is chosen.
    """
    rows = [row for row in _rows(path) if isinstance(row, dict)]
    if len(rows) > MAX_ROWS:
        raise AnalysisError(f"{path}: holds {len(rows)} entries, allowed: at most {MAX_ROWS}")
    names = sorted({str(place.get("database")) for row in rows for place in _listed(row)})
    if database is None and len(names) > 1:
        raise AnalysisError(
            f"{path}: holds the energies of {', '.join(names)}, which are on no common scale; choose: --database NAME"
        )
    if database is not None and database not in names:
        raise AnalysisError(f"{path}: --database {database}: not in it; allowed: {', '.join(names) or 'nothing, it names none'}")
    rows = [_of_database(row, database) for row in rows]
    left_out, origins, entries = Counter[str](), Counter[str](), []
    for number, row in enumerate(rows, start=1):
        entry, reasons = _entry(row, number, set(elements))
        left_out.update(reasons)
        if entry is not None:
            entries.append(entry)
            origins[_origin(row)] += 1
    if not entries:
        why = ", ".join(f"{count} {reason}" for reason, count in sorted(left_out.items())) or "it is empty"
        raise AnalysisError(f"{path}: no entry of {'-'.join(elements)} with a formation energy ({why}); allowed: {FIELDS}")
    return EnergyTable(path.name, entries, left_out, [name for name, _ in origins.most_common(3) if name])


def _rows(path: Path) -> Iterable[Any]:
    kind = PurePath(path.name.lower().removesuffix(".gz").removesuffix(".bz2")).suffix
    if kind not in {".json", ".csv"}:
        raise AnalysisError(f"{path}: got {path.suffix!r}, allowed: .json or .csv, also as .gz or .bz2")
    try:
        with path.open("rb") as raw:
            text = text_of(raw, path.name, errors="strict").read(MAX_FILE + 1)
    except (OSError, EOFError, ValueError) as err:  # ValueError: no UTF-8
        raise AnalysisError(f"{path}: cannot be read: {_one_line(err)}") from None
    if len(text) > MAX_FILE:
        raise AnalysisError(f"{path}: holds more than {MAX_FILE >> 20} MB of text; give fewer entries")
    if kind == ".csv":
        try:
            return list(csv.DictReader(text.splitlines()))
        except csv.Error as err:
            raise AnalysisError(f"{path}: not CSV: {_one_line(err)}") from None
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as err:
        raise AnalysisError(f"{path}: not JSON: {_one_line(err)}") from None
    if isinstance(data, dict):
        data = next((data[key] for key in ("phases", "entries", "data") if isinstance(data.get(key), list)), None)
    if not isinstance(data, list):
        raise AnalysisError(
            f"{path}: got no list, allowed: a list of entries, or an object with phases, entries or data; {FIELDS}"
        )
    return data


def _listed(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    several = row.get("databases")
    return [place for place in several if isinstance(place, dict)] if isinstance(several, list) else []


def _of_database(row: dict[str, Any], database: str | None) -> dict[str, Any]:
    """An entry with the energies and the name that a database of its list gives it; a database that lacks it gives none."""
    listed = _listed(row)
    if not listed:
        return row
    one = next((place for place in listed if database in {None, place.get("database")}), {})
    return {**row, **{key: one.get(key) for key in (FORMATION[0], HULL[0], "id")}, "source": one.get("database")}


def _entry(row: dict[str, Any], number: int, elements: set[str]) -> tuple[TableEntry | None, list[str]]:
    """An entry, or None, with the reasons why it, or its structure, is left out."""
    structure, composition = None, _composition(row)
    broken = False
    if isinstance(row.get("structure"), dict) or ("lattice" in row and "sites" in row):
        structure = _structure(row)
        broken = structure is None
    if structure is not None:
        # the geometry is what was computed; a formula beside it may be reduced or rounded
        composition = structure.composition.element_composition
    if composition is None:
        return None, ["no_structure" if broken else "no_composition"]
    if not {element.symbol for element in composition.elements} <= elements:
        return None, ["off_system"]
    formation = _energy(row, FORMATION)
    if formation is None and len(composition) == 1 and _energy(row, HULL) is not None:
        # of an element both are the same
        formation = _energy(row, HULL)
    if formation is None:
        return None, ["no_formation_energy"]
    name = next((str(row[key]) for key in NAMES if row.get(key)), f"entry {number}")
    return TableEntry(name[:200], composition, formation, _energy(row, HULL), structure), ["no_structure"] if broken else []


def _composition(row: Mapping[str, Any]) -> Composition | None:
    from pymatgen.core import Composition

    given = next((row[key] for key in COMPOSITIONS if row.get(key)), None)
    try:
        if isinstance(given, dict):
            amounts = {str(key): float(value) for key, value in given.items()}
            if not set(amounts) <= ELEMENT_SYMBOLS or not all(0.0 < value <= 1e6 for value in amounts.values()):
                return None
            return Composition(amounts)
        if isinstance(given, str) and len(given) <= 200:
            found = Composition(given).element_composition
            return found if found.num_atoms > 0 and {e.symbol for e in found} <= ELEMENT_SYMBOLS else None
    except (ValueError, TypeError, LookupError, ArithmeticError, AttributeError):
        return None
    return None


def _structure(row: dict[str, Any]) -> Structure | None:
    from pymatgen.core import Structure

    try:
        check_item(row)
        found = structure_from_item(row)
        if not found.is_ordered or not {site.specie.symbol for site in found} <= ELEMENT_SYMBOLS:
            return None
    except (LookupError, ValueError, TypeError, AttributeError, ArithmeticError):
        return None
    return Structure(found.lattice, [site.specie.symbol for site in found], found.frac_coords)


def _energy(row: Mapping[str, Any], keys: Sequence[str]) -> float | None:
    """First finite number under one of the keys."""
    for key in keys:
        try:
            value = float(row[key])
        except (KeyError, TypeError, ValueError, OverflowError):
            continue
        if math.isfinite(value) and abs(value) <= MAX_ENERGY:
            return value
    return None


def _origin(row: Mapping[str, Any]) -> str:
    data = row.get("data")
    given = row.get("source") or (data.get("source") if isinstance(data, dict) else None)
    return str(given)[:100] if given else ""


def _one_line(err: object) -> str:
    return " ".join(str(err).split())[:200] or type(err).__name__
