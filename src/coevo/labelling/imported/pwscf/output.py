"""Frames of a ``pw.x`` text output: one for each self-consistent cycle, each judged by the checks of computed labels.

The text is cut where pw.x prints new positions, and each piece is read by itself (by ASE, behind the head of its run), so that a
piece that cannot be read is one frame lost and not the file. The energy is the line ``!    total energy``, with smearing the free
energy ``F = E - TS``; with exact exchange it is the line ``!!   total energy``, and those before hold no exchange.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coevo.errors import LabellingError
from coevo.labelling.espresso.checks import ACCURACY_SLACK, Run, StatedThreshold, not_converged, not_finite
from coevo.labelling.espresso.parsing import last_atoms, parse_output
from coevo.labelling.imported.contract import FileContents, ImportedFrame
from coevo.labelling.imported.pwscf.atoms import find_potential, free_atoms
from coevo.labelling.imported.pwscf.head import NUMBER, Head, read_head

if TYPE_CHECKING:
    from pymatgen.core import Structure

START = re.compile(r"^[ \t]*Program PWSCF", flags=re.MULTILINE)
POSITIONS = re.compile(
    r"^[ \t]*CELL_PARAMETERS[^\n]*\n(?:[^\n]*\n){4}[ \t]*ATOMIC_POSITIONS|^[ \t]*ATOMIC_POSITIONS", re.MULTILINE
)
CYCLE = re.compile(r"^\s*iteration #\s*1\b|^!+\s+total energy|convergence NOT achieved", re.MULTILINE)
BANDS = re.compile(
    r"^[ \t]*End of (?:self-consistent|band structure) calculation.*?(?=^!+\s+total energy|^[ \t]*convergence (?:NOT|has))",
    re.MULTILINE | re.DOTALL,
)
EXACT_EXCHANGE = re.compile(r"EXX-fraction|EXX: now go back", re.MULTILINE)
SAME_PLACE = 1e-6

NOT_READ = {"number of k points=": "number of k-points:", "Magnetic moment per site": "Magnetic moments by site"}
"""Headings of tables that ASE reads too and labels do not need; a table that it stumbles over must not lose the frame."""


@dataclass(frozen=True)
class Piece:
    """What stands in an output of one frame: the head of its run, and its own text."""

    head: Head
    text: str


def read_pw_output(path: Path, beside: Path) -> FileContents:
    """Return frames, functional and settings of a run.

    Parameters
    ----------
    path : Path
        Plain text.
    beside : Path
        Directory in which potentials are looked for, after the one that the output names.

    Raises
    ------
    LabellingError
        If there is no self-consistent run in it, or runs of different settings.
    """
    text = path.read_text(encoding="utf-8", errors="replace").replace("\r\n", "\n")
    pieces, notes = _pieces(path.name, text)
    heads = list({id(piece.head): piece.head for piece in pieces}.values())
    if not heads:
        raise LabellingError(f"{path.name}: no self-consistent cycle in it; {'; '.join(notes) or 'it ends before the first'}")
    _refuse_mixture(path.name, heads)
    first = heads[0]
    files = {element: find_potential(_places(printed, beside), md5) for element, (printed, md5) in first.potential_files.items()}
    frames = [frame for frame in (_frame(piece, files, _most_iterations(pieces)) for piece in pieces) if frame is not None]
    if not frames:
        raise LabellingError(f"{path.name}: no frame that can be read; the output ends before the first is whole")
    if any(frame.free_atoms is None for frame in frames):
        notes.append(
            "the potentials are not where the output says, nor beside it: without the energies of the free atoms, energies are "
            "checked for their sign only"
        )
    if first.charge:
        notes.append(f"the cell is charged: {first.charge:+g} e")
    return FileContents(
        once_each(frames),
        first.functional,
        first.parameters(),
        first.potentials(),
        {**first.recorded(), **_magnetisation(text)},
        {
            "functional": f"Exchange-correlation = {first.printed_functional}",
            "energy": "!!   total energy" if any(_exact_exchange(piece) for piece in pieces) else "!    total energy",
            "forces": "Forces acting on atoms",
            "stress": "total   stress, with the sign changed",
            "convergence": f"estimated scf accuracy of each cycle, at most {first.threshold:g} Ry",
        },
        notes,
    )


def _pieces(name: str, text: str) -> tuple[list[Piece], list[str]]:
    """Cut an output into runs and these into frames; runs that are not self-consistent are left out, with a note."""
    starts = [match.start() for match in START.finditer(text)] or [0]
    pieces: list[Piece] = []
    notes: list[str] = []
    for start, end in zip(starts, [*starts[1:], len(text)], strict=True):
        run = text[start:end]
        marks = [match.start() for match in POSITIONS.finditer(run)]
        cycle = CYCLE.search(run)
        if cycle is None:
            kind = "is not self-consistent (nscf or bands)" if "Band Structure Calculation" in run else "has no cycle"
            notes.append(f"a run in it {kind}")
            continue
        head = read_head(run[: cycle.start()], name)
        whole = run[: min(cycle.start(), *marks)] if marks else run[: cycle.start()]
        head = replace(head, text=whole)
        for first, last in zip([len(whole), *marks], [*marks, len(run)], strict=True):
            if CYCLE.search(run[first:last]):
                pieces.append(Piece(head, run[first:last]))
    return pieces, notes


def _refuse_mixture(name: str, heads: list[Head]) -> None:
    """One file is one set of labels."""
    for other in heads[1:]:
        if (other.functional, other.parameters(), other.potentials()) != (
            heads[0].functional,
            heads[0].parameters(),
            heads[0].potentials(),
        ):
            raise LabellingError(f"{name}: it holds runs of different settings; give each run as a file of its own")


def _frame(piece: Piece, files: dict[str, Path | None], most: int | None) -> ImportedFrame | None:
    """One frame; None if not even its atoms can be read."""
    from pymatgen.core import Structure

    text = piece.head.text + _energy_line(BANDS.sub("", piece.text))
    for heading, other in NOT_READ.items():
        text = text.replace(heading, other)
    position = re.search(r"^[ \t]*ATOMIC_POSITIONS", piece.text, flags=re.MULTILINE)
    lines = piece.text[position.start() :].splitlines(keepends=True) if position else []
    start = piece.text[: position.start()] + "".join(lines[: piece.head.n_atoms + 1]) if position else ""
    atoms = last_atoms(piece.head.text + start, results_required=False)
    if atoms is None:
        return None
    structure = Structure(atoms.cell.array, atoms.get_chemical_symbols(), atoms.get_scaled_positions(wrap=False))
    zero = free_atoms(atoms.get_chemical_symbols(), files)
    output = parse_output(text)
    run = Run(StatedThreshold(piece.head.threshold), output, None)
    unconverged = not_converged(run) or _ended_early(piece, most) or _exchange_not_ended(piece)
    overflow = not_finite(run)
    if unconverged:
        return _rejected(structure, output, "scf_not_converged", unconverged, zero)
    if overflow:
        return _rejected(structure, output, "not_finite", overflow, zero)
    return ImportedFrame(structure, output.energy, output.forces, output.stress, True, free_atoms=zero)


def _most_iterations(pieces: list[Piece]) -> int | None:
    """Return the iterations after which cycles were ended, if one was that had not converged and says that it had.

    A run that is told to go on all the same (``scf_must_converge = .false.``) prints the words of convergence for every cycle.
    """
    ended = []
    for piece in pieces:
        accuracy = re.findall(rf"estimated scf accuracy\s*<\s*{NUMBER} Ry", piece.text)
        iterations = _iterations(piece)
        if accuracy and iterations and float(accuracy[-1]) > piece.head.threshold * ACCURACY_SLACK:
            ended.append(iterations)
    return min(ended, default=None)


def _iterations(piece: Piece) -> int | None:
    found = re.findall(r"convergence has been achieved in\s+(\d+) iterations", piece.text)
    return int(found[-1]) if found else None


def _ended_early(piece: Piece, most: int | None) -> str | None:
    iterations = _iterations(piece)
    if most is None or iterations is None or iterations < most:
        return None
    return f"the SCF cycle was ended after {iterations} iterations, as another of the run that had not converged"


def _rejected(structure: Structure, output: Any, reason: str, detail: str, zero: float | None) -> ImportedFrame:
    return ImportedFrame(
        structure, output.energy, output.forces, output.stress, reason != "scf_not_converged", reason, detail, free_atoms=zero
    )


def _exact_exchange(piece: Piece) -> bool:
    return bool(EXACT_EXCHANGE.search(piece.head.text) or EXACT_EXCHANGE.search(piece.text))


def _exchange_not_ended(piece: Piece) -> str | None:
    if _exact_exchange(piece) and not re.search(r"^!!\s+total energy", piece.text, flags=re.MULTILINE):
        return "the outer cycle of exact exchange did not end"
    return None


def _energy_line(text: str) -> str:
    """Make the last line ``!!   total energy`` the only one that is read as the energy, where there is one."""
    final = re.findall(r"^!!\s+total energy.*$", text, flags=re.MULTILINE)
    if not final:
        return text
    bare = re.sub(r"^!+(\s+)total energy", r" \1total energy", text, flags=re.MULTILINE)
    place = bare.rindex(final[-1].replace("!", "").strip())
    return bare[:place].rstrip(" ") + "!    " + bare[place:]


def once_each(frames: list[ImportedFrame]) -> list[ImportedFrame]:
    """Leave out a frame that the next computes again at the same place, as the last cycle of ``vc-relax`` does."""
    kept = []
    for frame, following in zip(frames, [*frames[1:], None], strict=True):
        if following is None or following.reason or not _same_place(frame.structure, following.structure):
            kept.append(frame)
    return kept


def _same_place(one: Structure, other: Structure) -> bool:
    return (
        len(one) == len(other)
        and bool(abs(one.lattice.matrix - other.lattice.matrix).max() < SAME_PLACE)
        and bool(abs(one.frac_coords - other.frac_coords).max() < SAME_PLACE)
    )


def _places(printed: str, beside: Path) -> list[Path]:
    """Where a potential may be: where the output says, from the directory of the output if that is relative, or beside it."""
    name = Path(printed).name
    return [beside / printed, beside / name, beside / "pseudo" / name]


def _magnetisation(text: str) -> dict[str, Any]:
    found = re.findall(r"total magnetization\s*=\s*([-\d.]+(?:\s+[-\d.]+\s+[-\d.]+)?)\s+Bohr", text)
    return {"total_magnetization": [float(value) for value in found[-1].split()]} if found else {}
