"""Reference structures of a node: known phases that are part of the hull and of the novelty test, never entries.

Geometry suffices; the node computes all energies with its own force field.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from coevo.configs.element_lists import ELEMENT_SYMBOLS
from coevo.configs.structures.bounds import why_no_crystal
from coevo.configs.structures.reference_files import ALLOWED, FileEntry, read_entries
from coevo.errors import ReferenceDataError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from pymatgen.core import Structure

JOINT = " + "
ELEMENTS_SET = "elements"
"""Bundled set of one crystal of each element; joined to others, it serves the elements of which they have no phase of its own."""


@dataclass(frozen=True)
class ReferenceStructure:
    """A known phase.

    Attributes
    ----------
    name : str
        Unique within the set.
    structure : Structure
        Ordered, periodic, of the node's elements, without oxidation states or site properties.
    source : str
        Where it comes from: a database, a paper, or the user's file.
    licence : str or None
        Terms of use, where they are known.
    """

    name: str
    structure: Structure
    source: str
    licence: str | None = None


def bundled_sets() -> list[str]:
    """Names of the bundled sets of known phases."""
    folder = resources.files("coevo.configs") / "references"
    return sorted(item.name.removesuffix(".json") for item in folder.iterdir() if item.name.endswith(".json"))


def reference_parts(spec: str, base: Path | None = None) -> list[str]:
    """Split references that several sets and files make up, ``li-p-s + /data/oxides.cif``, each once.

    Parameters
    ----------
    spec : str
        The blanks around ``+`` may be missing where what is between is a bundled set, or all are files: names of files may hold
        a ``+`` too.
    base : Path or None
        Directory that relative paths start from.
    """
    if _is_file(spec.strip(), base):
        return [spec.strip()]
    parts = [piece for part in spec.split(JOINT) for piece in _tight_parts(part.strip(), base)]
    return list(dict.fromkeys(part for part in parts if part))


def _tight_parts(part: str, base: Path | None) -> list[str]:
    pieces = [piece.strip() for piece in part.split("+")]
    if len(pieces) == 1 or _is_file(part, base):
        return [part]
    sets = bundled_sets()
    joined = any(piece in sets for piece in pieces) or all(_is_file(piece, base) for piece in pieces)
    return pieces if joined else [part]


def _is_file(text: str, base: Path | None) -> bool:
    try:
        return bool(text) and ((base or Path()) / Path(text).expanduser()).exists()
    except (OSError, ValueError, RuntimeError):  # too long a name, a null character, no such home
        return False


def resolved_references(spec: str) -> str:
    """Return references given on a command line with files as absolute paths, so that they mean the same from anywhere."""
    sets = bundled_sets()
    return JOINT.join(part if part in sets else str(Path(part).expanduser().resolve()) for part in reference_parts(spec))


def joined_references(*specs: str) -> str:
    """Join sets and files to the ``references`` of a merged or extended node, each once."""
    return JOINT.join(dict.fromkeys(part for spec in specs for part in reference_parts(spec)))


def load_references(
    spec: str | Path,
    elements: Sequence[str],
    *,
    base: Path | None = None,
    complete: bool = True,
    exclude: Sequence[str] = (),
    say: Callable[[str], None] | None = None,
) -> list[ReferenceStructure]:
    """Load the reference structures of a node.

    Parameters
    ----------
    spec : str or Path
        A bundled set (:func:`bundled_sets`), of which the phases within ``elements`` are taken; or a file, of which every
        structure must consist of ``elements``; or several, joined by `` + ``, of which :data:`ELEMENTS_SET` completes the
        others: it gives those elements alone of which they hold no phase of its own.
    elements : sequence of str
        The node's chemical system.
    base : Path or None
        Directory that a relative path starts from; the working directory if None.
    complete : bool
        Whether each element must have a structure of its own among them.
    exclude : sequence of str
        Names of phases to leave out, exact; repeated names are numbered before.
    say : callable, optional
        Is told of frames of a file that are no crystals, and left out.

    Returns
    -------
    list of ReferenceStructure
        In the order of the file.

    Raises
    ------
    ReferenceDataError
        If the file cannot be read, is empty, or holds a foreign element, a disordered or broken structure; if no phase has a name
        of ``exclude``; or if an element has no structure of its own, without which there is no convex hull.
    """
    parts = reference_parts(spec, base) if isinstance(spec, str) else [spec]
    if not parts:
        raise ReferenceDataError(f"references: got {str(spec)!r}, allowed: a bundled set ({', '.join(bundled_sets())}) or a file")
    pieces = {part: _read_part(part, set(elements), base, say) for part in parts}
    if ELEMENTS_SET in pieces:
        had = _elemental(entry for part, piece in pieces.items() if part != ELEMENTS_SET for entry, _ in piece)
        pieces[ELEMENTS_SET] = [row for row in pieces[ELEMENTS_SET] if not _symbols(row[0].structure) <= had]
    read = [row for piece in pieces.values() for row in piece]
    names = _unique_names([entry.name or entry.structure.composition.reduced_formula for entry, _ in read])
    unknown = [name for name in exclude if name not in names]
    if unknown:
        raise ReferenceDataError(
            f"{spec}: references.exclude: no phase is called {', '.join(map(repr, unknown))}; the phases within "
            f"{', '.join(sorted(set(elements)))} are {', '.join(map(repr, names)) or 'none'}"
        )
    kept = [(name, entry, default) for name, (entry, default) in zip(names, read, strict=True) if name not in exclude]
    if complete:
        _check_elements(_elemental(entry for _, entry, _ in kept), sorted(set(elements)), str(spec), exclude)
    return [
        ReferenceStructure(name, _bare(entry.structure), entry.source or default, entry.licence) for name, entry, default in kept
    ]


def reference_set_words(name: str, excluded: Sequence[str]) -> str:
    """Say which set of references a node has: ``li-p-s without 3 phases``; that of elements is named as what it is."""
    if name == ELEMENTS_SET:
        name += " (one crystal of each element)"
    if not excluded:
        return name
    return f"{name} without {len(excluded)} phase{'s' if len(excluded) > 1 else ''}"


def _read_part(
    spec: str | Path, allowed: set[str], base: Path | None, say: Callable[[str], None] | None
) -> list[tuple[FileEntry, str]]:
    """Read one set or file; each entry with what its source is called where it names none."""
    if isinstance(spec, str) and spec in bundled_sets():
        with resources.as_file(resources.files("coevo.configs") / "references" / f"{spec}.json") as path:
            entries = [entry for entry in read_entries(path) if _symbols(entry.structure) <= allowed]
        return [(entry, f"bundled set {spec}") for entry in entries]
    file = (base or Path()) / Path(spec).expanduser()
    if not file.exists():
        hint = f"a bundled set ({', '.join(bundled_sets())}) or a file ({ALLOWED})"
        raise ReferenceDataError(f"{file}: no such file; allowed: {hint}")
    entries = read_entries(file, say)
    for entry in entries:
        _check(entry, allowed, str(file))
    return [(entry, f"file {file.name}") for entry in entries]


def _symbols(structure: Structure) -> set[str]:
    """Symbols of all species, without oxidation states; deuterium and dummy species keep their own symbol."""
    return {species.symbol for species in structure.composition}


def _check(entry: FileEntry, allowed: set[str], origin: str) -> None:
    """Refuse a structure that the node cannot use."""
    structure, place = entry.structure, f"{origin}: {entry.where}"
    foreign = sorted(_symbols(structure) - allowed)
    if foreign:
        kind = "which the node does not have" if set(foreign) <= ELEMENT_SYMBOLS else "which no periodic table has"
        raise ReferenceDataError(f"{place}: contains {', '.join(foreign)}, {kind}; allowed: {', '.join(sorted(allowed))}")
    if not structure.is_ordered:
        site = next(site for site in structure if not site.is_ordered)
        raise ReferenceDataError(
            f"{place}: the site at {site.frac_coords.round(4).tolist()} is disordered ({site.species_string}); allowed: one atom "
            "of occupancy 1 on each site; give an ordered approximant"
        )
    problem = why_no_crystal(structure)
    if problem is not None:
        raise ReferenceDataError(f"{place}: {problem}")


def _elemental(entries: Iterable[FileEntry]) -> set[str]:
    """Elements of which there is a phase of the element alone."""
    systems = (_symbols(entry.structure) for entry in entries)
    return {next(iter(system)) for system in systems if len(system) == 1}


def _check_elements(present: set[str], elements: list[str], origin: str, excluded: Sequence[str]) -> None:
    missing = [element for element in elements if element not in present]
    if missing:
        raise ReferenceDataError(
            f"{origin}: no structure of {', '.join(missing)} alone; the convex hull needs at least one of each element, "
            f"{', '.join(elements)}; {_remedy(missing, origin, excluded)}"
        )


def _remedy(missing: list[str], origin: str, excluded: Sequence[str]) -> str:
    if excluded:
        return "take it out of references.exclude, or add another"
    if origin == ELEMENTS_SET:
        return f"the bundled set has none of {', '.join(missing)}: give a file with it, joined as FILE+{ELEMENTS_SET}"
    if ELEMENTS_SET not in reference_parts(origin) and set(missing) <= elements_of_the_set():
        return f"add the elemental crystal to the file, or join the bundled set: {origin}+{ELEMENTS_SET}"
    return "add the elemental crystal to the file"


def elements_of_the_set() -> set[str]:
    """Elements that the bundled set :data:`ELEMENTS_SET` has a crystal of."""
    return _elemental(entry for entry, _ in _read_part(ELEMENTS_SET, set(ELEMENT_SYMBOLS), None, None))


def _unique_names(names: list[str]) -> list[str]:
    """Number repeated names: ``S``, ``S (2)``, …; the first keeps its name."""
    unique: dict[str, None] = {}
    last: dict[str, int] = {}
    for name in names:
        candidate, number = name, last.get(name, 1)
        while candidate in unique:
            number += 1
            candidate = f"{name} ({number})"
        last[name] = number
        unique[candidate] = None
    return list(unique)


def _bare(structure: Structure) -> Structure:
    """Return the geometry alone: no oxidation states, charges, labels or site properties."""
    from pymatgen.core import Structure

    return Structure(structure.lattice.matrix, [site.specie.symbol for site in structure], structure.frac_coords)
