"""Families of pseudopotentials: which file stands for which element, with its sha256, checked before every run.

A family is a table bundled here (``families.json``) or the file ``family.json`` in the directory of potentials::

    {"name": "sssp-pbe-efficiency-1.3", "functional": "PBE",
     "potentials": {"Li": {"file": "li_pbe_v1.4.uspp.F.UPF", "sha256": "…"}, …}}

The hashes of the whole family are part of a label's settings, whichever elements a frame holds.

Whether and in which version ``pw.x`` is here, found by running it as a label would.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import subprocess
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coevo.errors import CoevoError, LabellingError
from coevo.labelling.contract import Found
from coevo.labelling.espresso.parsing import last_words, parse_output
from coevo.settings import read_settings

if TYPE_CHECKING:
    from collections.abc import Iterable


TIMEOUT = 120.0
"""Seconds that pw.x may take to refuse an empty input."""


def pw_environment() -> dict[str, str]:
    """The environment of ``pw.x``: one OpenMP thread per process, and no other directory of pseudopotentials to fall back to."""
    environment = {name: value for name, value in os.environ.items() if name != "ESPRESSO_PSEUDO"}
    return {**environment, "OMP_NUM_THREADS": "1"}


def split_command(text: str) -> tuple[str, ...]:
    """Split ``COEVO_ESPRESSO_COMMAND`` into words.

    Raises
    ------
    LabellingError
        If it is empty or a quote is not closed.
    """
    try:
        words = tuple(shlex.split(text))
    except ValueError as err:
        raise LabellingError(f"COEVO_ESPRESSO_COMMAND: {err}") from None
    if not words:
        raise LabellingError("COEVO_ESPRESSO_COMMAND is empty; set it to pw.x or, for example, mpirun -np 4 pw.x")
    return words


def processes_of(command: tuple[str, ...]) -> int | None:
    """Return how many processes a command starts: 1 without a launcher, None if that is not known."""
    if len(command) == 1:
        return 1
    for flag, value in pairwise(command):
        if flag in {"-n", "-np", "--np", "--ntasks"} and value.isdigit():
            return int(value)
    return None


@lru_cache(maxsize=8)
def pw_version(command: tuple[str, ...]) -> str:
    """Return the version that ``pw.x`` prints, such as ``6.7MaX``.

    pw.x has no option that prints its version: it is given an empty input, prints its banner and refuses.

    Raises
    ------
    LabellingError
        If it cannot be started or prints no version.
    """
    hint = "set COEVO_ESPRESSO_COMMAND, or install Quantum ESPRESSO (apt install quantum-espresso)"
    with tempfile.TemporaryDirectory(prefix="coevo-pw-") as folder:
        Path(folder, "empty.in").touch()
        try:
            done = subprocess.run(
                [*command, "-in", "empty.in"],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=TIMEOUT,
                check=False,
                env=pw_environment(),
            )
        except OSError as err:
            raise LabellingError(f"{command[0]} cannot be started: {err.strerror}; {hint}") from None
        except subprocess.TimeoutExpired:
            raise LabellingError(f"{shlex.join(command)} gave no answer within {TIMEOUT:g} s; {hint}") from None
    version = parse_output(done.stdout).version
    if version is None:
        words = last_words(done.stdout, done.stderr, lines=12)
        root = "; as root, mpirun needs --allow-run-as-root" if "--allow-run-as-root" in done.stderr else ""
        raise LabellingError(
            f"{shlex.join(command)} is not a pw.x that runs (exit code {done.returncode}): {words}{root}; {hint}"
        )
    return version


FAMILY_FILE = "family.json"
BUNDLED = Path(__file__).with_name("families.json")


@dataclass(frozen=True)
class Family:
    """A family of potentials.

    Attributes
    ----------
    name : str
    functional : str
    files, sha256 : dict of str to str
        By element.
    """

    name: str
    functional: str
    files: dict[str, str]
    sha256: dict[str, str]


@dataclass(frozen=True)
class Potential:
    """A potential whose file has been verified.

    Attributes
    ----------
    element : str
    path : Path
        Absolute.
    sha256 : str
    atom_energy : float or None
        Total energy of the free pseudo-atom as the file states it, Ry; None if it states none.
    """

    element: str
    path: Path
    sha256: str
    atom_energy: float | None


def directory_of_potentials(named: str | None) -> Path:
    """Return the directory that ``COEVO_PSEUDOPOTENTIALS`` names.

    Raises
    ------
    LabellingError
        If it is not set, or no directory.
    """
    if not named:
        raise LabellingError("COEVO_PSEUDOPOTENTIALS is not set; set it to the directory that holds the pseudopotentials (UPF)")
    path = Path(named).expanduser().resolve()
    if not path.is_dir():
        raise LabellingError(f"COEVO_PSEUDOPOTENTIALS: {path} is not a directory")
    return path


def find_family(name: str, directory: Path) -> Family:
    """Find a family: in ``family.json`` of the directory, else among the bundled tables.

    Raises
    ------
    LabellingError
        If there is none of this name, or the file is not a family.
    """
    bundled = json.loads(BUNDLED.read_text(encoding="utf-8"))
    path = directory / FAMILY_FILE
    if path.is_file():
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            if found["name"] == name:
                return _family(name, found)
        except (ValueError, KeyError, TypeError, AttributeError) as err:
            raise LabellingError(
                f"{path} is not a family of pseudopotentials ({type(err).__name__}: {err}); it must hold name, functional and "
                "potentials (element to file and sha256)"
            ) from None
        told = f"{path} is the family {found['name']}"
    else:
        told = f"there is no {path}"
    if name in bundled:
        return _family(name, bundled[name])
    raise LabellingError(
        f"no family of pseudopotentials {name!r}: {told}, and the bundled ones are {', '.join(bundled)}; write {FAMILY_FILE} or "
        "change labelling.espresso.family"
    )


def families_of(directory: Path) -> list[Family]:
    """Return the families that a directory may hold: that of its ``family.json``, and the bundled ones.

    Raises
    ------
    LabellingError
        If ``family.json`` is not a family.
    """
    names = list(json.loads(BUNDLED.read_text(encoding="utf-8")))
    path = directory / FAMILY_FILE
    if path.is_file():
        try:
            names.insert(0, json.loads(path.read_text(encoding="utf-8"))["name"])
        except (ValueError, KeyError, TypeError) as err:
            raise LabellingError(f"{path} is not a family of pseudopotentials ({type(err).__name__}: {err})") from None
    return [find_family(name, directory) for name in dict.fromkeys(names)]


def complete_elements(family: Family, directory: Path) -> list[str]:
    """Return the elements of a family whose files are in the directory and are the family's."""
    complete = []
    for element in family.files:
        with suppress(LabellingError):
            verify(family, [element], directory)
            complete.append(element)
    return complete


def _family(name: str, data: dict[str, Any]) -> Family:
    potentials = data["potentials"]
    return Family(
        name,
        str(data["functional"]),
        {element: str(item["file"]) for element, item in sorted(potentials.items())},
        {element: str(item["sha256"]).lower() for element, item in sorted(potentials.items())},
    )


def verify(family: Family, elements: Iterable[str], directory: Path) -> dict[str, Potential]:
    """Verify the files of some elements.

    Parameters
    ----------
    family : Family
    elements : iterable of str
    directory : Path

    Returns
    -------
    dict of str to Potential
        By element.

    Raises
    ------
    LabellingError
        Naming the element, the file and the directory, if the family has no potential for an element, a file is missing, or its
        content is not the family's.
    """
    verified = {}
    for element in sorted(set(elements)):
        if element not in family.files:
            raise LabellingError(f"{element}: the family {family.name} has no pseudopotential; it has {', '.join(family.files)}")
        path = (directory / family.files[element]).resolve()
        if not path.is_file():
            raise LabellingError(
                f"{element}: the pseudopotential {family.files[element]} of {family.name} is not in {directory}; put it there or "
                "set COEVO_PSEUDOPOTENTIALS to the directory that has it"
            )
        information = path.stat()
        found, atom_energy = _read(path, information.st_mtime_ns, information.st_size)
        if found != family.sha256[element]:
            raise LabellingError(
                f"{element}: {path} is not the pseudopotential of {family.name}: found sha256 {found}, expected "
                f"{family.sha256[element]}"
            )
        verified[element] = Potential(element, path, found, atom_energy)
    return verified


def atom_energy_of(path: Path) -> float | None:
    """Total energy of the free pseudo-atom as a potential's file states it, Ry; None if it states none."""
    information = path.stat()
    return _read(path, information.st_mtime_ns, information.st_size)[1]


@lru_cache(maxsize=256)
def _read(path: Path, modified: int, size: int) -> tuple[str, float | None]:  # noqa: ARG001 - parts of the cache key
    """Hash of a file and the energy of its free atom; read once while the file stays as it is."""
    content = path.read_bytes()
    stated = re.search(rb'total_psenergy\s*=\s*"\s*([-+\d.EeDd]+)\s*"', content[:200_000])
    energy = float(stated.group(1).decode().upper().replace("D", "E")) if stated else 0.0
    return hashlib.sha256(content).hexdigest(), energy or None


def installation() -> list[Found]:
    """Look for ``pw.x``, which is run as a label would, and verify its potentials, by family."""
    return [_program(), _pseudopotentials()]


def _program() -> Found:
    try:
        command = split_command(read_settings().espresso_command)
        return Found("Quantum ESPRESSO", "ok", f"{' '.join(command)}, version {pw_version(command)}")
    except CoevoError as err:
        return Found("Quantum ESPRESSO", "missing", str(err), "other codes label without it")


def _pseudopotentials() -> Found:
    try:
        directory = directory_of_potentials(read_settings().pseudopotentials)
        families = {family.name: complete_elements(family, directory) for family in families_of(directory)}
    except CoevoError as err:
        return Found("pseudopotentials", "missing", str(err), "Quantum ESPRESSO needs a UPF file of each element")
    found = "; ".join(f"{name}: {', '.join(elements)}" for name, elements in families.items() if elements)
    if not found:
        hint = "write family.json beside the files (docs/espresso.md)"
        return Found("pseudopotentials", "problem", f"{directory} holds no potential of a known family", hint)
    return Found("pseudopotentials", "ok", found)
