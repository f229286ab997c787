"""CIF texts: their data blocks, and the structure of each.

Parsing is pymatgen's. What is ours is what a block may cost (sizes are looked at first), and what two ways of writing mean: an
unknown formula (``_chemical_formula_sum ?``) says as much as none, and an occupancy within :data:`OCCUPANCY_TOLERANCE` of 1,
unknown (``?``) or left at its default (``.``), is 1.
"""

from __future__ import annotations

import re
import warnings
from typing import TYPE_CHECKING

import numpy as np

from coevo.configs.structures.bounds import MAX_ATOMS, BoundsError, check_coordinates, check_count, check_expansion, check_lengths

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pymatgen.core import Structure
    from pymatgen.core.operations import SymmOp
    from pymatgen.io.cif import CifBlock, CifParser

OCCUPANCY_TOLERANCE = 1e-3
"""How far an occupancy may be from 1 and still be 1: refinements and rounding write 0.9999; what is rarer is a real vacancy."""
MAX_OPERATIONS = 192
"""Symmetry operations, at most: as many as the conventional cell of the largest space groups has."""
MAX_LINE = 2048
"""Characters of a line that is no quoted text: what CIF 1.1 allows."""
_MAX_QUOTES = 200
"""Quotation marks in a line; pymatgen's search for their ends is quadratic."""

_HARMLESS = (
    "Issues encountered while parsing CIF",
    "fractional coordinates rounded",
    "Skipping relative stoichiometry check",
    "1-line symmetry op P1",
    "Spacegroup from",
)
"""Remarks of pymatgen's CIF parser that leave the structure right; any other remark makes the entry an error."""
_JUNK = "Possible issue in CIF file"
"""Remark on text that belongs to nothing; it may come once a word, so the first one ends the reading."""

_FORMULAS = ("_chemical_formula_sum", "_chemical_formula_structural")
_UNKNOWN = ("", "?", ".")
_OPERATIONS = (
    "_symmetry_equiv_pos_as_xyz",
    "_symmetry_equiv_pos_as_xyz_",
    "_space_group_symop_operation_xyz",
    "_space_group_symop_operation_xyz_",
    "_space_group_symop_magn_operation.xyz",
    "_space_group_symop_magn_centering.xyz",
)
_COORDINATES = ("_atom_site_fract_x", "_atom_site_fract_y", "_atom_site_fract_z")
_PARSER_ERRORS = (ValueError, LookupError, TypeError, ArithmeticError, AttributeError, RuntimeError, AssertionError, Warning)


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


def holds_crystal(block: str) -> bool:
    """Whether a CIF block is about a crystal, and not one of citations or powder data."""
    return "_atom_site_" in block or "_cell_length_a" in block


def structure_from_cif(block: str, max_atoms: int = MAX_ATOMS) -> Structure:
    """Read the structure of one CIF block.

    Parameters
    ----------
    block : str
    max_atoms : int
        Atoms in the whole cell, at most.

    Raises
    ------
    ValueError
        If it cannot be read, or not without guessing what it means; :class:`BoundsError` if its cell is beyond the bounds.
    """
    _check_lines(block)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warnings.filterwarnings("error", message=_JUNK)
        try:
            structures = _parser(max_atoms).from_str(block).parse_structures(primitive=False, on_error="raise")
        except BoundsError:
            raise
        except _PARSER_ERRORS as err:
            raise ValueError(f"not a readable CIF block: {_one_line(err)}") from err
    remarks = [_one_line(item.message) for item in caught if not any(word in str(item.message) for word in _HARMLESS)]
    if remarks:
        raise ValueError(f"ambiguous CIF block: {remarks[0]}; state it in the file")
    return structures[0]


def _check_lines(block: str) -> None:
    quoted = False
    for number, line in enumerate(block.splitlines(), start=1):
        if line.startswith(";"):
            quoted = not quoted
        elif not quoted and (len(line) > MAX_LINE or line.count("'") + line.count('"') > _MAX_QUOTES):
            raise ValueError(
                f"not a readable CIF block: line {number} has {len(line)} characters and "
                f"{line.count(chr(39)) + line.count(chr(34))} quotation marks, allowed: {MAX_LINE} and {_MAX_QUOTES}"
            )


def _parser(max_atoms: int) -> type[CifParser]:
    """Make pymatgen's parser, with a block's cost looked at and what it leaves unknown settled before structures are made."""
    from pymatgen.io.cif import CifParser

    class Parser(CifParser):
        feature_flags: dict[str, bool]  # set by from_str
        _found: tuple[CifBlock, list[SymmOp]] | None = None

        def _sanitize_data(self, data: CifBlock) -> CifBlock:
            _settle_occupancies(data)
            if _settle_formulas(data):
                self.check_cif = False  # neither a formula nor symbols to compare the atoms with
            _check_size(data, max_atoms)
            clean = super()._sanitize_data(data)
            if not self.feature_flags["magcif"]:  # type: ignore[attr-defined]
                operations = self.get_symops(clean)
                _check_expansion(clean, [operation.affine_matrix for operation in operations], max_atoms)
            return clean

        def get_symops(self, data: CifBlock) -> list[SymmOp]:
            # looking a symbol up takes longer than all the rest, and it is asked for twice
            if self._found is None or self._found[0] is not data:
                self._found = (data, super().get_symops(data))
            return self._found[1]

    return Parser


def _settle_formulas(data: CifBlock) -> bool:
    """Leave unknown formulas out; whether the block names its elements nowhere but in the labels of its atoms."""
    for key in _FORMULAS:
        if key in data.data and str(data.data[key]).strip() in _UNKNOWN:
            del data.data[key]
    return not any(key in data.data for key in _FORMULAS) and "_atom_site_type_symbol" not in data.data


def _settle_occupancies(data: CifBlock) -> None:
    given = data.data.get("_atom_site_occupancy")
    if isinstance(given, list):
        data.data["_atom_site_occupancy"] = [_occupancy(value) for value in given]
    elif given is not None:
        data.data["_atom_site_occupancy"] = _occupancy(str(given))


def _occupancy(text: str) -> str:
    if text.strip() in _UNKNOWN:
        return "1"
    try:
        value = float(re.sub(r"\(.*\)?", "", text))
    except ValueError:
        return text
    return "1" if is_full(value) else text


def is_full(occupancy: float) -> bool:
    """Whether an occupancy is 1 within :data:`OCCUPANCY_TOLERANCE`."""
    return abs(occupancy - 1.0) <= OCCUPANCY_TOLERANCE * (1 + 1e-9)


def _check_size(data: CifBlock, max_atoms: int) -> None:
    """Refuse what would take long to expand, or cannot be a cell."""
    from pymatgen.io.cif import str2float

    for key in _OPERATIONS:
        count = len(data.data[key]) if isinstance(data.data.get(key), list) else 0
        if count > MAX_OPERATIONS:
            raise ValueError(f"{count} symmetry operations, allowed: at most {MAX_OPERATIONS}, as the largest space groups have")
    sites = data.data.get("_atom_site_label")
    check_count(len(sites) if isinstance(sites, list) else 0, max_atoms)
    given = [data.data[f"_cell_length_{axis}"] for axis in "abc" if f"_cell_length_{axis}" in data.data]
    check_lengths([str2float(value) for value in given])


def _check_expansion(data: CifBlock, operations: list[np.ndarray], max_atoms: int) -> None:
    """Refuse a cell of too many atoms before pymatgen compares each with each."""
    from pymatgen.io.cif import str2float

    columns = [data.data.get(key) for key in _COORDINATES]
    if not all(isinstance(column, list) for column in columns):
        return
    try:
        sites = np.array([[str2float(value) for value in column or ()] for column in columns], dtype=float).T
    except (TypeError, ValueError):
        return  # the parser says what is wrong with it
    check_coordinates(sites)
    check_expansion(sites, operations, max_atoms)


def _one_line(err: object) -> str:
    return " ".join(str(err).split())[:200] or type(err).__name__
