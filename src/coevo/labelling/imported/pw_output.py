"""Text output of Quantum ESPRESSO's ``pw.x``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from coevo.labelling.imported.contract import FileContents
from coevo.labelling.imported.extended_xyz import frame_of_atoms

if TYPE_CHECKING:
    from pathlib import Path


def read_pw_output(path: Path) -> FileContents:
    """Return frames, functional and settings of a run."""
    from ase.io import read

    text = path.read_text(encoding="utf-8", errors="replace")
    images = read(path, index=":", format="espresso-out")
    verdicts = [match == "has been" for match in re.findall(r"convergence (has been|NOT) achieved", text)]
    frames = [
        frame_of_atoms(atoms, converged=verdicts[number] if number < len(verdicts) else False) for number, atoms in enumerate(images)
    ]
    found = re.search(r"Exchange-correlation\s*=\s*(\S+)", text)
    names = {"PBE": "PBE", "SLA+PW+PBE+PBE": "PBE", "PBESOL": "PBEsol"}
    functional = names.get(found[1].upper(), found[1]) if found else None
    parameters: dict[str, Any] = {"potentials": sorted(set(re.findall(r"MD5 check sum: (\w+)", text)))}
    for name, pattern in (
        ("version", r"Program PWSCF v\.(\S+)"),
        ("ecutwfc_ry", r"kinetic-energy cutoff\s*=\s*([\d.]+)"),
        ("ecutrho_ry", r"charge density cutoff\s*=\s*([\d.]+)"),
        ("smearing_ry", r"width \(Ry\)\s*=\s*([\d.]+)"),
    ):
        match = re.search(pattern, text)
        if match:
            parameters[name] = match[1] if name == "version" else float(match[1])
    version = parameters.pop("version", "")
    return FileContents(frames, functional, parameters, recorded={"version": version})
