"""From the text of a structure to a row: parsed, checked, packed. For worker processes; whatever the text holds is an answer."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from coevo.app.analyse_rows import PackedCrystal, Row
from coevo.configs.cif_blocks import cif_blocks, holds_crystal, structure_from_cif
from coevo.configs.json_structures import structure_from_item
from coevo.configs.poscar_text import structure_from_poscar
from coevo.configs.structure_bounds import BoundsError
from coevo.configs.tree import ELEMENT_SYMBOLS
from coevo.configs.xyz_frames import check_comment

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pymatgen.core import Structure

    from coevo.app.analyse_sources import Source

_ENERGIES = ("energy_per_atom", "energy", "total_energy")
_PARSER_ERRORS = (
    ValueError,
    LookupError,
    TypeError,
    ArithmeticError,
    AttributeError,
    RuntimeError,
    AssertionError,
    OSError,
)
"""What pymatgen and ase raise for texts that hold no structure."""

_NOT_MEASURED = ("off_system", "too_many_atoms")

_SAID_BY_PARSERS = {"ingular matrix": "volume_too_small", "is not a valid Element": "unknown_element"}
"""Words of numpy and pymatgen by which a reason is known."""


@dataclass(frozen=True)
class Limits:
    """What a structure must keep to; see :func:`coevo.analysis.sanity.check_structure`.

    Attributes
    ----------
    elements : tuple of str or None
        The only elements allowed; None for all of the periodic table.
    max_atoms : int
    min_distance : float
        In sums of covalent radii.
    min_volume_per_atom, max_volume_per_atom : float
        Å³.
    max_length_ratio : float
    """

    elements: tuple[str, ...] | None
    max_atoms: int
    min_distance: float
    min_volume_per_atom: float
    max_volume_per_atom: float
    max_length_ratio: float


class _RejectedError(Exception):
    """A structure that has to be left out: reason, detail."""


def read_rows(sources: Sequence[Source], limits: Limits) -> list[Row]:
    """Turn texts into rows, in order.

    A row without ``reason`` has crystal, content id, formula, number of atoms and, where the file gives one, energy per atom.
    """
    rows: list[Row] = []
    for source in sources:
        if source.problem is not None:
            rows.append(Row(source.id, *source.problem))
            continue
        found = 0
        for name, part in _parts(source):
            rows.append(_row(name, source.kind, part, limits))
            found += 1
        if not found and source.kind == "cif":
            rows.append(Row(source.id, "unreadable", "no data block with a structure"))
    return rows


def _parts(source: Source) -> Iterator[tuple[str, Any]]:
    """The structures of one text; of a CIF, its data blocks."""
    if source.kind != "cif":
        yield source.id, source.text
        return
    blocks = [block for _, block in cif_blocks(source.text.splitlines()) if holds_crystal(block)]
    for number, block in enumerate(blocks, start=1):
        yield source.id if number == 1 else f"{source.id}#{number}", block


def _row(name: str, kind: str, part: Any, limits: Limits) -> Row:
    row = Row(name)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            structure, energy = _READERS[kind](part, limits)
            _check(row, structure, limits)
        row.crystal = PackedCrystal.pack(structure)
        row.content = row.crystal.content_id()
        row.formula, row.atoms, row.energy_per_atom = structure.composition.reduced_formula, len(structure), energy
    except _RejectedError as err:
        row.reject(*err.args)
    except BoundsError as err:
        row.reject(err.reason, _one_line(err))
    except _PARSER_ERRORS as err:
        row.reject(
            next((reason for words, reason in _SAID_BY_PARSERS.items() if words in str(err)), "unreadable"), _one_line(err)
        )
    return row


def _check(row: Row, structure: Structure, limits: Limits) -> None:
    """Reject a structure that is of no use. What is foreign or too large is not measured either."""
    from coevo.analysis.sanity import check_structure
    from coevo.analysis.validity import validity

    unknown = sorted({str(getattr(part, "symbol", part)) for part in structure.composition} - ELEMENT_SYMBOLS)
    if unknown:
        raise _RejectedError("unknown_element", f"{', '.join(unknown)} is not in the periodic table")
    reason = check_structure(
        structure,
        limits.elements or ELEMENT_SYMBOLS,
        min_distance=limits.min_distance,
        min_volume_per_atom=limits.min_volume_per_atom,
        max_volume_per_atom=limits.max_volume_per_atom,
        max_length_ratio=limits.max_length_ratio,
        max_atoms=limits.max_atoms,
    )
    if reason not in _NOT_MEASURED:
        row.validity = validity(structure)
    if reason is not None:
        raise _RejectedError(reason, f"{structure.composition.formula}, {len(structure)} sites")


# --- one reader for each kind of text


def _from_cif(block: str, limits: Limits) -> tuple[Structure, float | None]:
    return structure_from_cif(block, limits.max_atoms), None


def _from_poscar(text: str, limits: Limits) -> tuple[Structure, float | None]:
    return structure_from_poscar(text, limits.max_atoms), None


def _from_xyz(text: str, limits: Limits) -> tuple[Structure, float | None]:
    from io import StringIO

    from ase.io import read
    from pymatgen.core import Structure

    count = int(text.partition("\n")[0])
    if count > limits.max_atoms:
        raise _RejectedError("too_many_atoms", f"{count} atoms, allowed {limits.max_atoms}")
    check_comment(text.split("\n", 2)[1])
    try:
        atoms: Any = read(StringIO(text), index=0, format="extxyz")
    except KeyError as err:
        symbol = str(err).strip("'\"")
        if symbol and symbol.isalnum() and symbol not in ELEMENT_SYMBOLS:
            raise _RejectedError("unknown_element", f"{symbol} is not in the periodic table") from None
        raise
    if not atoms.pbc.all():
        raise _RejectedError("not_periodic", 'give Lattice="…" and pbc="T T T" in the comment line')
    if not atoms.cell.rank == 3 and _finite(atoms.cell.array.ravel()):
        raise _RejectedError("volume_too_small", "the cell vectors lie in a plane")
    results = {**atoms.info, **(atoms.calc.results if atoms.calc is not None else {})}
    structure = Structure(atoms.cell.array, atoms.get_chemical_symbols(), atoms.positions, coords_are_cartesian=True)
    return structure, _energy_per_atom(results, len(atoms))


def _from_json(item: Any, limits: Limits) -> tuple[Structure, float | None]:
    if not isinstance(item, dict):
        raise _RejectedError(
            "unreadable", f"got {str(item)[:40]!r}, allowed: an object with lattice and sites, or with structure"
        )
    if isinstance(item.get("cif"), str):
        return structure_from_cif(item["cif"], limits.max_atoms), _json_energy(item, None)
    inner = item.get("structure", item)
    sites = inner["sites"]
    if len(sites) > limits.max_atoms:
        raise _RejectedError("too_many_atoms", f"{len(sites)} sites, allowed {limits.max_atoms}")
    given = {part["element"] for site in sites for part in site.get("species", ()) if isinstance(part, dict)}
    unknown = sorted(given - ELEMENT_SYMBOLS)
    if unknown:
        raise _RejectedError("unknown_element", f"{', '.join(map(str, unknown))} is not in the periodic table")
    # a phase that is given by its space group has its number of atoms beside it
    structure = structure_from_item(item)
    return structure, _json_energy(item, int(inner.get("atoms_per_cell", len(sites))))


def _json_energy(item: dict[str, Any], atoms: int | None) -> float | None:
    """Energy of an item; of a pymatgen entry, with its correction."""
    if atoms is None:
        return _energy_per_atom({key: item[key] for key in _ENERGIES[:1] if key in item}, 1)
    found = dict(item)
    if isinstance(found.get("correction"), (int, float)) and isinstance(found.get("energy"), (int, float)):
        found["energy"] += found["correction"]
    return _energy_per_atom(found, atoms)


def _energy_per_atom(given: dict[str, Any], atoms: int) -> float | None:
    """The energy per atom, or a total energy over the atoms, eV; None if there is none that is a number."""
    for key in _ENERGIES:
        try:
            value = float(given[key])
        except (KeyError, TypeError, ValueError):
            continue
        if math.isfinite(value):
            return value if key == "energy_per_atom" else value / atoms
    return None


def _finite(values: Any) -> bool:
    return all(math.isfinite(value) for value in values)


def _one_line(err: object) -> str:
    return " ".join(str(err).split())[:200] or type(err).__name__


_READERS: dict[str, Any] = {"cif": _from_cif, "poscar": _from_poscar, "xyz": _from_xyz, "json": _from_json}
