"""Sets of known structures that entries are compared with: bundled sets, files, OPTIMADE providers, the Materials Project.

A set is read when it is asked for and never stored in a node. It may be kept as a file (:func:`save_known_set`), which is read
again with its source and the date of its first reading.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coevo.errors import AnalysisError, ReferenceDataError
from coevo.output.files import write_text
from coevo.output.plain_text import json_text
from coevo.studies.known_sets.known_structures import KnownSet, KnownStructure, limits_for_known, utc_now

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pymatgen.core import Structure

    from coevo.studies.piles.sources import Source


OPTIMADE = "optimade:"
MATERIALS_PROJECT = "mp"
SOURCES = "a bundled set (li-p-s), a file (CIF, POSCAR, extxyz, JSON, also .gz or .bz2; a zip), optimade:URL, or mp"


def read_known_set(source: str, elements: Sequence[str]) -> KnownSet:
    """Read a set of known structures.

    Parameters
    ----------
    source : str
        A bundled set, a file, ``optimade:URL`` or ``mp``.
    elements : sequence of str
        Only structures of these are taken.

    Raises
    ------
    AnalysisError, ReferenceDataError
        If a file cannot be read.
    ProviderError
        If a server cannot be read.
    ConfigError
        If ``mp`` has no key.
    """
    from coevo.configs.references import bundled_sets

    if source.startswith(OPTIMADE):
        from coevo.studies.known_sets.optimade_provider import read_optimade

        return read_optimade(source.removeprefix(OPTIMADE), elements)
    if source == MATERIALS_PROJECT:
        from coevo.studies.known_sets.materials_project import read_materials_project

        return read_materials_project(elements)
    if source in bundled_sets():
        return _bundled(source, elements)
    return _from_file(Path(source), elements)


def save_known_set(known: KnownSet, path: Path, *, force: bool = False) -> None:
    """Write a set as JSON that :func:`read_known_set`, ``--targets`` and ``node.references`` read, whole or not at all.

    Raises
    ------
    ReferenceDataError
        If the file is not called ``.json``.
    StorageError
        If it cannot be written, or is there already and ``force`` does not say that it may be replaced.
    """
    if path.suffix.lower() != ".json":
        raise ReferenceDataError(f"--save {path}: got {path.suffix!r}, allowed: a file called .json")
    source = known.source
    if not known.is_whole:
        # whoever counts against the file must be told
        source += f" (a part: {'; '.join([f'{len(known.structures)} of {known.received} could be read', *known.missing])})"
    items = [
        {"name": s.id, "source": source, "read_at": known.read_at, "structure": _geometry(s.structure)} for s in known.structures
    ]
    # one structure a line: a list, so that a reader need not hold it as a whole
    lines = ",\n".join(json_text(item, indent=None).rstrip("\n") for item in items)
    write_text(path, f"[\n{lines}\n]\n", "--save", force=force)


def _geometry(structure: Structure) -> dict[str, Any]:
    sites = [{"species": [{"element": site.specie.symbol, "occu": 1}], "abc": site.frac_coords.tolist()} for site in structure]
    return {"lattice": {"matrix": structure.lattice.matrix.tolist()}, "sites": sites}


def _bundled(name: str, elements: Sequence[str]) -> KnownSet:
    from coevo.configs.references import load_references

    phases = load_references(name, elements, complete=False)
    structures = [KnownStructure(phase.name, phase.structure) for phase in phases]
    return KnownSet(f"bundled set {name}", utc_now(), tuple(elements), structures)


def _from_file(path: Path, elements: Sequence[str]) -> KnownSet:
    """Read a file of structures; what is of other elements is passed over before a structure is built of it."""
    from coevo.studies.piles.parsing import read_rows
    from coevo.studies.piles.rows import OF_TEXT
    from coevo.studies.piles.sources import Pile

    if not path.exists():
        raise AnalysisError(f"--against {path}: no such file; allowed: {SOURCES}")
    limits, left_out = limits_for_known(elements), Counter[str]()
    origins: set[tuple[str, str]] = set()
    structures = []
    for source, _ in Pile(path):
        symbols = _symbols_in(source)
        if symbols is not None and not symbols <= set(elements):
            left_out["off_system"] += 1
            continue
        for row in read_rows([source], limits):
            if row.reason is not None:
                left_out[row.reason] += 1
                continue
            structures.append(KnownStructure(row.id, row.packed().structure()))
            origins.add(_origin(source))
    if not structures and any(left_out[reason] for reason in OF_TEXT):
        reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(left_out.items()))
        raise AnalysisError(f"--against {path}: no structure of {'-'.join(elements)} in it can be compared: {reasons}")
    return _named(path, elements, structures, left_out, origins)


def _named(
    path: Path,
    elements: Sequence[str],
    structures: list[KnownStructure],
    left_out: Counter[str],
    origins: Iterable[tuple[str, str]],
) -> KnownSet:
    """The set with its own source and date, if this is one that was saved, else those of the file."""
    known = [origin for origin in origins if all(origin)]
    if len(known) == 1 and known == list(origins):
        source, read_at = known[0]
        return KnownSet(f"{source}, kept in {path}", read_at, tuple(elements), structures, dict(left_out))
    return KnownSet(str(path), utc_now(), tuple(elements), structures, dict(left_out))


def _origin(source: Source) -> tuple[str, str]:
    from coevo.studies.known_sets.http_json import printable

    item = source.text if isinstance(source.text, dict) else {}
    where, when = (item.get(key) for key in ("source", "read_at"))
    if isinstance(where, str) and isinstance(when, str):
        return printable(where), printable(when, 40)
    return "", ""


def _symbols_in(source: Source) -> set[str] | None:
    """Elements of a JSON structure without building it, None where that cannot be said."""
    item = source.text
    if source.problem is not None or not isinstance(item, dict) or isinstance(item.get("cif"), str):
        return None
    try:
        sites = item.get("structure", item)["sites"]
        return {part["element"] for site in sites for part in site["species"]}
    except (LookupError, TypeError, AttributeError):
        return None
