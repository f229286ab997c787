"""Files of crystal structures, read entry by entry: CIF, extended XYZ and JSON.

Nothing here knows a chemical system; :mod:`coevo.configs.references` decides what a node accepts. JSON is read field by field and
never through a class named in the file, so a file from elsewhere cannot run code.
"""

from __future__ import annotations

import json
import re
import warnings
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from coevo.errors import ReferenceDataError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from pymatgen.core import Structure

_HARMLESS = (
    "Issues encountered while parsing CIF",
    "fractional coordinates rounded",
    "Skipping relative stoichiometry check",
    "1-line symmetry op P1",
    "Spacegroup from",
)
"""Remarks of pymatgen's CIF parser that leave the structure right; any other remark makes the entry an error."""


@dataclass(frozen=True)
class FileEntry:
    """One structure of a file, as the file gives it.

    Attributes
    ----------
    where : str
        How messages name the entry: ``entry 3 (Li2S)``.
    name : str
        The file's own name of the structure, or empty.
    structure : Structure
    source, licence : str or None
        Where the file says the structure comes from, and under which terms.
    """

    where: str
    name: str
    structure: Structure
    source: str | None = None
    licence: str | None = None


@dataclass(frozen=True)
class NoCrystal:
    """An entry of a file that is no crystal, such as a molecule in a box; it is left out and told of.

    Attributes
    ----------
    where, why : str
    """

    where: str
    why: str


def read_entries(path: Path, say: Callable[[str], None] | None = None) -> list[FileEntry]:
    """Read all structures of a file, in its order.

    Parameters
    ----------
    path : Path
        ``.cif`` (one or several data blocks), ``.extxyz`` or ``.xyz`` (frames with a cell), or ``.json`` (see
        ``docs/configuration.md``).
    say : callable, optional
        Is told of the frames that are no crystals, which are left out.

    Raises
    ------
    ReferenceDataError
        Naming file and entry.
    """
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise ReferenceDataError(f"{path}: unknown kind of file {path.suffix!r}; allowed: {', '.join(READERS)}")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as err:
        raise ReferenceDataError(f"{path}: not a text file in UTF-8 (byte {err.start}); allowed: {', '.join(READERS)}") from None
    except OSError as err:
        raise ReferenceDataError(f"{path}: cannot be read: {err.strerror}") from None
    read = list(reader(path, text))
    entries = [entry for entry in read if isinstance(entry, FileEntry)]
    left_out = [f"{entry.where}: {entry.why}" for entry in read if isinstance(entry, NoCrystal)]
    if left_out and not entries:
        raise ReferenceDataError(f"{path}: holds no crystal: {len(left_out)} not_periodic ({left_out[0]})")
    if left_out and say is not None:
        say(f"{path.name}: left out: {len(left_out)} not_periodic ({left_out[0]})")
    if not entries:
        raise ReferenceDataError(f"{path}: holds no structure; give at least one for each element of the node")
    return entries


def _read_cif(path: Path, text: str) -> Iterator[FileEntry]:
    for number, (name, block) in enumerate(cif_blocks(text.splitlines()), start=1):
        where = f"entry {number} (data_{name})"
        if not holds_crystal(block):
            continue
        try:
            structure = structure_from_cif(block)
        except ValueError as err:
            raise ReferenceDataError(f"{path}: {where}: {err}") from err
        yield FileEntry(where, name, structure)


def holds_crystal(block: str) -> bool:
    """Whether a CIF block is about a crystal, and not one of citations or powder data."""
    return "_atom_site_" in block or "_cell_length_a" in block


def structure_from_cif(block: str) -> Structure:
    """Read the structure of one CIF block.

    Raises
    ------
    ValueError
        If it cannot be read, or not without guessing what it means.
    """
    from pymatgen.io.cif import CifParser

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            structures = CifParser.from_str(block).parse_structures(primitive=False, on_error="raise")
        except (ValueError, LookupError, TypeError, ArithmeticError, AttributeError, RuntimeError, AssertionError) as err:
            raise ValueError(f"not a readable CIF block: {_one_line(err)}") from err
    remarks = [_one_line(item.message) for item in caught if not any(word in str(item.message) for word in _HARMLESS)]
    if remarks:
        raise ValueError(f"ambiguous CIF block: {remarks[0]}; state it in the file")
    return structures[0]


def cif_blocks(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Cut a CIF at its ``data_`` lines, outside semicolon-quoted text; blocks of equal name stay apart.

    Parameters
    ----------
    lines : iterable of str
        Without their line ends.

    Yields
    ------
    name, block : str
    """
    name: str | None = None
    collected: list[str] = []
    quoted = False
    for line in lines:
        if line.startswith(";"):
            quoted = not quoted
        begins = None if quoted else re.match(r"\s*data_(\S*)", line)
        if begins:
            if name is not None:
                yield name, "\n".join(collected)
            name, collected = begins.group(1), []
        collected.append(line)
    if name is not None:
        yield name, "\n".join(collected)


def _read_xyz(path: Path, text: str) -> Iterator[FileEntry | NoCrystal]:
    from pymatgen.core import Composition

    from coevo.configs.extended_xyz import FrameError, cut_frames, parse_frame, why_no_crystal

    for part in cut_frames(iter(text.splitlines())):
        where = f"entry {part.number}"
        try:
            if part.problem is not None:
                raise part.problem
            frame = parse_frame(part.comment, part.atoms)
        except FrameError as err:
            raise ReferenceDataError(f"{path}: {where}: not an extended XYZ file: {err.detail}") from err
        name = frame.info.get("name", "")
        where += f" ({name or Composition(dict(Counter(frame.symbols))).formula.replace(' ', '')})"
        why = why_no_crystal(frame)
        if why is not None:
            yield NoCrystal(where, why)
            continue
        source, licence = (frame.info.get(key) for key in ("source", "licence"))
        try:
            structure = frame.structure()
        except FrameError as err:
            raise ReferenceDataError(f"{path}: {where}: {err.detail}") from err
        yield FileEntry(where, name, structure, source, licence)


def _read_json(path: Path, text: str) -> Iterator[FileEntry]:
    try:
        data = json.loads(text) if text.strip() else []
    except (json.JSONDecodeError, RecursionError) as err:
        raise ReferenceDataError(f"{path}: not JSON: {_one_line(err)}") from None
    if isinstance(data, dict):
        data = data.get("phases", [data])
    if not isinstance(data, list):
        raise ReferenceDataError(
            f"{path}: got a JSON {type(data).__name__}, allowed: a structure, a list of them, or an object with phases"
        )
    for number, item in enumerate(data, start=1):
        where = f"entry {number}"
        if not isinstance(item, dict):
            raise ReferenceDataError(
                f"{path}: {where}: got {str(item)[:40]!r}, allowed: an object with lattice and sites, or with structure"
            )
        name = str(item.get("name") or item.get("material_id") or "")
        where += f" ({name})" if name else ""
        try:
            structure = structure_from_item(item)
        except (KeyError, ValueError, TypeError, IndexError, AttributeError) as err:
            missing = f"no {err}" if isinstance(err, KeyError) else _one_line(err)
            raise ReferenceDataError(f"{path}: {where}: not a structure: {missing}") from err
        source, licence = (str(item[key]) if item.get(key) else None for key in ("source", "licence"))
        yield FileEntry(where, name, structure, source, licence)


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
        species = [{part["element"]: part.get("occu", 1.0) for part in site["species"]} for site in item["sites"]]
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


def _one_line(err: object) -> str:
    return " ".join(str(err).split())[:200] or type(err).__name__


_CELL = ("a", "b", "c", "alpha", "beta", "gamma")

READERS: dict[str, Callable[[Path, str], Iterator[FileEntry | NoCrystal]]] = {
    ".cif": _read_cif,
    ".extxyz": _read_xyz,
    ".xyz": _read_xyz,
    ".json": _read_json,
}
