"""Extended XYZ files in the flavours that people have, and frames that ASE read. The table of keys is in docs/labels.md."""

from __future__ import annotations

import bz2
import gzip
import io
import re
from collections import Counter
from typing import IO, TYPE_CHECKING, Any

from coevo.configs.structures.extended_xyz import (
    MAX_TEXT,
    FrameError,
    cut_frames,
    numbers_in,
    parse_frame,
    vacuum_gaps,
    why_no_crystal,
)
from coevo.errors import LabellingError
from coevo.labelling.imported.contract import FileContents, ImportedFrame, LabelKeys
from coevo.labelling.imported.xyz_keys import FUNCTIONALS, key_parts
from coevo.labelling.imported.xyz_numbers import numbers_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from coevo.configs.structures.extended_xyz import FrameText, XyzFrame
    from coevo.labelling.imported.xyz_numbers import FrameNumbers

SLAB_VACUUM = 10.0
"""Å; frames with such a layer without atoms are taken, with a note."""

_CHARGES = re.compile(r"(total_|net_|tot_|cell_|system_)?charge")
_CONVERGED = re.compile(r"(is_|scf_|electronic_|electronically_)?converged")
_FUNCTIONAL_KEYS = re.compile(r"(dft_)?(xc|functional)|xc_functional|level_of_theory|theory_level")


def read_extended_xyz(path: Path, keys: LabelKeys) -> FileContents:
    """Return the frames of a file, with every frame's own verdict.

    Parameters
    ----------
    path : Path
        Perhaps compressed (``.gz``, ``.bz2``).
    keys : LabelKeys
        What the user names.

    Raises
    ------
    LabellingError
        If no frame has a geometry that can be read, or frames declare different functionals.
    """
    frames: list[ImportedFrame] = []
    found = _Findings()
    with _opened(path) as text:
        for part in cut_frames(_lines(text)):
            found.total += 1
            frame = _read(part, keys, found)
            if frame is not None:
                frames.append(frame)
    if not frames:
        raise LabellingError(f"{path}: {_nothing(found)}")
    return FileContents(
        frames,
        found.functional(path),
        recorded={},
        taken=found.taken(),
        notes=found.notes(),
        left_out=found.left_out,
    )


class _Findings:
    """What was met in a file, for its summary."""

    def __init__(self) -> None:
        self.total = self.assumed = self.slabs = 0
        self.left_out: list[tuple[str, str]] = []
        self.keys: dict[str, Counter[str]] = {"energy": Counter(), "forces": Counter(), "stress": Counter()}
        self.functionals: Counter[str] = Counter()
        self.passed_over: Counter[str] = Counter()
        self.families: set[str] = set()

    def leave_out(self, part: FrameText, error: FrameError) -> None:
        self.left_out.append((error.reason, f"frame {part.number} (line {part.line}): {error.detail}"))

    def take(self, frame: XyzFrame, numbers: FrameNumbers) -> None:
        chosen = numbers.keys
        stress = " and ".join(filter(None, (chosen.stress, f"-{chosen.virial}/volume" if chosen.virial else None)))
        for quantity, key in (("energy", chosen.energy), ("forces", chosen.forces), ("stress", stress)):
            self.keys[quantity][str(key)] += 1
        self.passed_over.update(chosen.passed_over)
        self.families.add(chosen.family)
        self.assumed += numbers.voigt
        assert frame.lattice is not None
        self.slabs += max(vacuum_gaps(frame.lattice, frame.positions)) >= SLAB_VACUUM
        named = functional_of(frame, chosen.energy)
        if named:
            self.functionals[named] += 1

    def taken(self) -> dict[str, str]:
        """Keys, with how many frames have each where they differ."""
        said = {}
        for quantity, keys in self.keys.items():
            several = len(keys) > 1
            said[quantity] = ", ".join(f"{key} ({count} frames)" if several else key for key, count in keys.most_common())
        return {quantity: text for quantity, text in said.items() if text}

    def functional(self, path: Path) -> str | None:
        if len(self.functionals) > 1:
            several = ", ".join(f"{name} ({count} frames)" for name, count in self.functionals.most_common())
            raise LabellingError(f"{path}: its frames are of several functionals: {several}; give one file for each")
        return next(iter(self.functionals), None)

    def notes(self) -> list[str]:
        notes = []
        if self.left_out:
            notes.append(f"{len(self.left_out)} of {self.total} frames are not read: {_by_reason(self.left_out)}")
        if self.passed_over:
            beside = ", ".join(sorted(self.passed_over)[:12])
            notes.append(f"not taken, though they are there: {beside} (--energy-key, --forces-key, … choose others)")
        if len(self.families) > 1:
            notes.append("frames have their energies under several names: see that they are of one calculation")
        if self.assumed:
            notes.append(
                f"{self.assumed} frames have a stress of six numbers, read as xx yy zz yz xz xy (ASE's order; VASP prints xx yy "
                "zz xy yz zx)"
            )
        if self.slabs:
            notes.append(
                f"{self.slabs} frames have {SLAB_VACUUM:g} Å or more without atoms in a direction (slabs?), and are taken"
            )
        return notes


def _nothing(found: _Findings) -> str:
    if not found.total:
        return "holds no frame; expected a number of atoms, a comment line with Lattice and Properties, and a line an atom"
    what = f"none of its {found.total} frames is a" if found.total > 1 else "its only frame is no"
    return f"{what} crystal that can be read: {_by_reason(found.left_out)}"


def _by_reason(left_out: list[tuple[str, str]]) -> str:
    """Counts by reason, each with its first sentence."""
    counts = Counter(reason for reason, _ in left_out)
    first = dict(reversed(left_out))
    return "; ".join(f"{count} {reason} ({first[reason]})" for reason, count in counts.most_common())


def _read(part: FrameText, keys: LabelKeys, found: _Findings) -> ImportedFrame | None:
    """One frame; None if there is no geometry to keep, which is noted."""
    try:
        if part.problem is not None:
            raise part.problem
        frame = parse_frame(part.comment, part.atoms)
        structure = frame.structure()
    except FrameError as error:
        found.leave_out(part, error)
        return None
    try:
        _check_frame(frame)
        numbers = numbers_of(frame, keys)
    except FrameError as error:
        return ImportedFrame(structure, None, None, None, reason=error.reason, detail=f"frame {part.number}: {error.detail}")
    found.take(frame, numbers)
    return ImportedFrame(structure, numbers.energy, numbers.forces, numbers.stress, _converged(frame))


def _check_frame(frame: XyzFrame) -> None:
    """Refuse frames that are no crystals, and charged ones, whose energies depend on a background and on the cell."""
    why = why_no_crystal(frame)
    if why is not None:
        raise FrameError("not_periodic", why)
    for key, value in frame.info.items():
        if _CHARGES.fullmatch(key.lower().replace("-", "_")):
            charge = numbers_in(value)
            if charge.shape != (1,) or not abs(charge[0]) < 1e-6:
                raise FrameError("charged", f"{key}={value[:20]}; allowed: neutral cells")


def _converged(frame: XyzFrame) -> bool:
    """False if the frame says that the electrons did not converge."""
    said = [value.strip().lower() for key, value in frame.info.items() if _CONVERGED.fullmatch(key.lower())]
    return not any(value in {"f", "false", "0", "no"} for value in said)


def functional_of(frame: XyzFrame, energy_key: str | None) -> str | None:
    """Return the functional that a frame names, by a key of its own or in the name of its energy; None if it names none."""
    for key, value in frame.info.items():
        if _FUNCTIONAL_KEYS.fullmatch(key.lower().replace("-", "_")) and value.strip():
            name = value.strip()[:40]
            return FUNCTIONALS.get(name.lower().replace("-", ""), name)
    parts = key_parts(energy_key) if energy_key else None
    words = parts.family.split("_") if parts else []
    # "PBE" of PBE_energy; pbe_d3 says more than a functional, and is the user's to name
    return FUNCTIONALS.get(words[0]) if len(words) == 1 else None


def _opened(path: Path) -> IO[str]:
    openers: dict[str, Any] = {".gz": gzip.open, ".bz2": bz2.open}
    stream = openers.get(path.suffix.lower(), open)(path, "rb")
    return io.TextIOWrapper(stream, encoding="utf-8-sig", errors="replace")


def _lines(text: IO[str]) -> Iterator[str]:
    """Lines without their ends; one that is too long comes in pieces."""
    while line := text.readline(MAX_TEXT):
        yield line.rstrip("\r\n")
