"""The input of one frame, written with ASE."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from coevo.labelling.contract import LabelResult

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pymatgen.core import Lattice, Structure

    from coevo.configs.tree import EspressoConfig
    from coevo.labelling.espresso.pseudopotentials import Potential

MIN_VOLUME, MAX_VOLUME = 1.0, 1000.0
"""Å³ per atom that a cell may have: below, atoms overlap; above, it is vacuum, which costs plane waves by the million."""

RYDBERG_PER_BOHR = 25.71104309
"""eV/Å."""

KBAR = 1602.1766208
"""In 1 eV/Å³."""

ENERGY_OF_A_STEP = 1e-4
"""Ry per atom: of a relaxation that is at its end, the last step changes the energy by less (1.4 meV/atom)."""


@dataclass(frozen=True)
class Relaxation:
    """That atoms and cell are moved.

    Attributes
    ----------
    steps : int
        That are tried, at most.
    fmax : float
        Largest force and generalised force on the cell at its end, eV/Å. pw.x is asked for half of it, as its words are about
        components, and about the plane waves of the first cell.
    """

    steps: int
    fmax: float


def check_cell(frame: Structure) -> LabelResult | None:
    """Reject a frame that no plane-wave code should be given (``cell``, ``disordered``); None if it may be labelled."""
    if not frame.is_ordered:
        return LabelResult("rejected", "disordered", detail="a site holds several species, allowed: one element per site")
    volume = frame.volume / max(len(frame), 1)
    if not (np.isfinite(frame.lattice.matrix).all() and np.isfinite(frame.frac_coords).all()):
        return LabelResult("rejected", "cell", detail="the cell or a position is not finite")
    if not MIN_VOLUME <= volume <= MAX_VOLUME:
        return LabelResult("rejected", "cell", detail=f"{volume:.3g} Å³ per atom, allowed: {MIN_VOLUME:g} to {MAX_VOLUME:g}")
    return None


def k_grid(lattice: Lattice, spacing: float) -> tuple[int, int, int]:
    """Return the Γ-centred grid: ``ceil(|b_i| / spacing)`` points along each reciprocal vector (as VASP's KSPACING).

    Parameters
    ----------
    lattice : Lattice
    spacing : float
        1/Å; reciprocal vectors include 2π.
    """
    lengths = lattice.reciprocal_lattice.abc
    first, second, third = (max(1, math.ceil(length / spacing - 1e-9)) for length in lengths)
    return first, second, third


def parameters(
    frame: Structure, config: EspressoConfig, pseudo_dir: str, relaxation: Relaxation | None = None
) -> dict[str, dict[str, Any]]:
    """Return the namelists of one frame."""
    found: dict[str, dict[str, Any]] = {
        "control": {
            "calculation": "scf",
            "restart_mode": "from_scratch",
            "prefix": "pw",
            "outdir": "./out",
            "pseudo_dir": pseudo_dir,
            "tprnfor": True,
            "tstress": True,
            "max_seconds": config.max_seconds,
        },
        "system": {
            "ecutwfc": config.ecutwfc,
            "ecutrho": config.ecutrho or 4.0 * config.ecutwfc,
            "nspin": 1,
            "occupations": "smearing",
            "smearing": config.smearing,
            "degauss": config.degauss,
        },
        "electrons": {
            "conv_thr": config.conv_thr_per_atom * len(frame),
            "mixing_beta": config.mixing_beta,
            "electron_maxstep": config.electron_maxstep,
            "diagonalization": "david",
        },
    }
    if relaxation is not None:
        found["control"] |= {
            "calculation": "vc-relax",
            "nstep": relaxation.steps + 1,  # pw.x counts geometries, the first among them
            "etot_conv_thr": ENERGY_OF_A_STEP * len(frame),
            "forc_conv_thr": 0.5 * relaxation.fmax / RYDBERG_PER_BOHR,
        }
        found["ions"] = {"ion_dynamics": "bfgs"}
        # a stress of fmax · n / V is a generalised cell force of fmax
        stress = relaxation.fmax * len(frame) / frame.volume
        found["cell"] = {"cell_dynamics": "bfgs", "press_conv_thr": 0.5 * stress * KBAR}
    return found


def input_text(
    frame: Structure,
    config: EspressoConfig,
    potentials: Mapping[str, Potential],
    relaxation: Relaxation | None = None,
) -> str:
    """Write the input of one frame.

    Parameters
    ----------
    frame : Structure
        Ordered.
    config : EspressoConfig
    potentials : mapping of str to Potential
        Of all elements of the frame, in one directory.
    relaxation : Relaxation or None
        None: a single point.
    """
    from ase import Atoms
    from ase.io.espresso import write_espresso_in

    symbols = [site.specie.symbol for site in frame]
    directories = {str(potentials[symbol].path.parent) for symbol in symbols}
    (pseudo_dir,) = directories
    atoms = Atoms(symbols, scaled_positions=frame.frac_coords, cell=frame.lattice.matrix, pbc=True)
    grid = k_grid(frame.lattice, config.k_spacing)
    text = io.StringIO()
    write_espresso_in(
        text,
        atoms,
        input_data=parameters(frame, config, pseudo_dir, relaxation),
        pseudopotentials={symbol: potentials[symbol].path.name for symbol in symbols},
        kpts=None if grid == (1, 1, 1) else grid,  # Γ alone has real wavefunctions, at half the cost
        crystal_coordinates=True,
    )
    return text.getvalue()
