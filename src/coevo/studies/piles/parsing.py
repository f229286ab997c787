"""From the text of a structure to a row: parsed, checked, packed. For worker processes; whatever the text holds is an answer."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from coevo.configs.element_lists import ELEMENT_SYMBOLS
from coevo.configs.structures.bounds import BoundsError
from coevo.configs.structures.cif_blocks import cif_blocks, holds_crystal, structure_from_cif
from coevo.configs.structures.extended_xyz import FrameError, parse_frame, why_no_crystal
from coevo.configs.structures.poscar_text import structure_from_poscar
from coevo.studies.piles.energy_scales import EnergyOrigin, calculation_named
from coevo.studies.piles.json_entries import EntryError, elements_named, energy_in, structure_in
from coevo.studies.piles.rows import PackedCrystal, Row

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pymatgen.core import Structure

    from coevo.configs.structures.extended_xyz import XyzFrame
    from coevo.studies.piles.sources import Source

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
    energy_key : str or None
        Of the file's energies, where the user names it.
    """

    elements: tuple[str, ...] | None
    max_atoms: int
    min_distance: float
    min_volume_per_atom: float
    max_volume_per_atom: float
    max_length_ratio: float
    energy_key: str | None = None


def limits_for(elements: str | None, max_atoms: int) -> Limits:
    """What a structure of a file must keep to; ``elements`` as in ``Li-P-S``."""
    from coevo.configs.element_lists import elements_of
    from coevo.configs.tree import ScreeningConfig

    system = None if elements is None else tuple(sorted(set(elements_of(elements, "--elements"))))
    screening = ScreeningConfig()
    return Limits(
        elements=system,
        max_atoms=max_atoms,
        min_distance=screening.min_distance,
        min_volume_per_atom=screening.min_volume_per_atom,
        max_volume_per_atom=screening.max_volume_per_atom,
        max_length_ratio=screening.max_length_ratio,
    )


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
            structure, energy, origin = _READERS[kind](part, limits)
            _check(row, structure, limits)
        row.crystal = PackedCrystal.pack(structure)
        row.content = row.crystal.content_id()
        row.formula, row.atoms, row.energy_per_atom = structure.composition.reduced_formula, len(structure), energy
        row.origin, row.detail = origin, origin.problem or None
    except _RejectedError as err:
        row.reject(*err.args)
    except BoundsError as err:
        row.reject(err.reason, _one_line(err))
    except (FrameError, EntryError) as err:
        row.reject(err.reason, err.detail)
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


Read = tuple["Structure", float | None, EnergyOrigin]
"""A structure, its energy (eV/atom), and what the file says of it."""


def _from_cif(block: str, limits: Limits) -> Read:
    return structure_from_cif(block, limits.max_atoms), None, EnergyOrigin()


def _from_poscar(text: str, limits: Limits) -> Read:
    return structure_from_poscar(text, limits.max_atoms), None, EnergyOrigin()


def _from_xyz(text: str, limits: Limits) -> Read:
    count, _, rest = text.partition("\n")
    if int(count) > limits.max_atoms:
        raise _RejectedError("too_many_atoms", f"{count} atoms, allowed {limits.max_atoms}")
    comment, *atoms = rest.removesuffix("\n").split("\n")
    frame = parse_frame(comment, atoms)
    why = why_no_crystal(frame)
    if why is not None:
        raise _RejectedError("not_periodic", why)
    return frame.structure(), *_xyz_energy(frame, limits.energy_key)


def _xyz_energy(frame: XyzFrame, key: str | None) -> tuple[float | None, EnergyOrigin]:
    """Energy of a frame by the rules of labels (docs/labels.md); forces and stress are not looked at."""
    from coevo.labelling.imported import LabelKeys
    from coevo.labelling.imported.extended_xyz import functional_of
    from coevo.labelling.imported.xyz_keys import is_energy
    from coevo.labelling.imported.xyz_numbers import energy_of

    try:
        energy, name = energy_of(frame, LabelKeys(energy=key))
    except FrameError as error:
        silent = error.reason == "missing_energy" and key is None and not any(map(is_energy, frame.info))
        return None, EnergyOrigin(problem="" if silent else f"{error.reason}: {error.detail}")
    return energy, EnergyOrigin(name, calculation_named(functional_of(frame, name) or ""))


def _from_json(item: Any, limits: Limits) -> Read:
    unknown = sorted(map(str, elements_named(item) - ELEMENT_SYMBOLS))
    if unknown:
        raise _RejectedError("unknown_element", f"{', '.join(unknown)} is not in the periodic table")
    structure = structure_in(item, limits.max_atoms)
    return structure, *energy_in(item, structure, limits.energy_key)


def _one_line(err: object) -> str:
    return " ".join(str(err).split())[:200] or type(err).__name__


_READERS: dict[str, Any] = {"cif": _from_cif, "poscar": _from_poscar, "xyz": _from_xyz, "json": _from_json}
