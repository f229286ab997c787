"""``vasprun.xml`` of VASP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from coevo.labelling.imported.contract import EV_PER_A3_PER_KBAR, FileContents, ImportedFrame, as_array

if TYPE_CHECKING:
    from pathlib import Path

_VASP_FUNCTIONALS = {"PE": "PBE", "PS": "PBEsol", "RP": "RPBE", "91": "PW91"}
_VASP_TAGS = ("ENCUT", "GGA", "METAGGA", "KSPACING", "ISMEAR", "SIGMA", "ISPIN", "LDAU", "LASPH", "PREC", "IVDW")


def read_vasprun(path: Path) -> FileContents:
    """Return frames, functional and settings of a run."""
    from pymatgen.io.vasp import Vasprun

    run = Vasprun(str(path), parse_dos=False, parse_eigen=False, parse_potcar_file=False)
    limit = int(run.parameters.get("NELM", 60))
    frames = [
        ImportedFrame(
            step["structure"],
            _free_energy(step),
            as_array(step.get("forces")),
            None if step.get("stress") is None else -np.asarray(step["stress"], dtype=float) * EV_PER_A3_PER_KBAR,
            converged=len(step["electronic_steps"]) < limit,
        )
        for step in run.ionic_steps
    ]
    meta = str(run.parameters.get("METAGGA") or "").strip().upper()
    gga = str(run.parameters.get("GGA") or "").strip().upper()
    functional = {"R2SCAN": "r2SCAN"}.get(meta, meta) if meta not in {"", "NONE", "--"} else _VASP_FUNCTIONALS.get(gga)
    if functional is None and run.potcar_symbols and all("PBE" in symbol for symbol in run.potcar_symbols):
        functional = "PBE"
    parameters = {tag: _plain(run.incar.get(tag, run.parameters.get(tag))) for tag in _VASP_TAGS}
    kept = {tag: value for tag, value in parameters.items() if value is not None}
    potentials = {symbol.split()[1].split("_")[0]: symbol for symbol in run.potcar_symbols}
    return FileContents(frames, functional, kept, potentials, {"version": run.vasp_version})


def _free_energy(step: dict[str, Any]) -> float | None:
    """Free energy of the electrons, eV/atom: of the last electronic step; that of the ionic step holds P V with PSTRESS."""
    steps = step["electronic_steps"]
    energy = steps[-1].get("e_fr_energy") if steps else None
    return None if energy is None else float(energy) / len(step["structure"])


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, (str, int, float, bool)) else str(value)
