"""A machine with the replayer as its VASP and synthetic POTCARs."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from coevo.configs.tree import VaspConfig
from coevo.labelling.vasp.labeller import VaspLabeller

POTENTIALS = {"Li": "Li_sv", "P": "P", "S": "S"}


def potcar_text(element: str, symbol: str, *, functional: str = "PE") -> str:
    """The header of a POTCAR, which is all that anything but VASP reads, with a few made-up numbers for the potential."""
    return (
        f"  PAW_PBE {symbol} 01Jan2001\n   3.00000000000000\n parameters from PSCTR are:\n"
        f"   VRHFIN ={element}: made up\n   LEXCH  = {functional}\n   EATOM  =    10.0000 eV,    1.0000 Ry\n\n"
        f"   TITEL  = PAW_PBE {symbol} 01Jan2001\n   LULTRA =        F    use ultrasoft PP ?\n   IUNSCR =        0    unscreen\n"
        "   RPACOR =    1.000    partial core radius\n   POMASS =    1.000; ZVAL   =    3.000    mass and valenz\n"
        "   RCORE  =    1.000    outmost cutoff radius\n   ENMAX  =  250.000; ENMIN  =  200.000 eV\n"
        "   LCOR   =        T    correct aug charges\n   LPAW   =        T    paw PP\n   EAUG   =  500.000\n"
        "   STEP   =   20.000   1.050\nEND of PSCTR-controll parameters\n local part\n   1.0 2.0 3.0\n End of Dataset\n"
    )


@dataclass
class Machine:
    """Directories of the replayer and of the POTCARs."""

    root: Path

    @property
    def journal(self) -> list[list[str]]:
        """ALGO, ENCUT, ISMEAR and KSPACING of each attempt of VASP."""
        path = self.root / "journal"
        return [line.split() for line in path.read_text().splitlines()] if path.exists() else []

    @property
    def command(self) -> str:
        return str(self.root / "bin" / "vasp_std")

    def labeller(self, *, scratch: bool = False, **config: object) -> VaspLabeller:
        return VaspLabeller(
            VaspConfig(**config), ["Li", "P", "S"], command=self.command, scratch=self.root / "scratch" if scratch else None
        )


def make_machine(root: Path, patch: pytest.MonkeyPatch) -> Machine:
    """Write the executable and the POTCARs, and tell pymatgen and the replayer of them."""
    from pymatgen.core import SETTINGS

    from coevo.labelling.vasp import running

    patch.setattr(running, "POLLING_SECONDS", 0.02)  # the replayer needs no more than a few tenths of a second
    (root / "bin").mkdir()
    executable = root / "bin" / "vasp_std"
    executable.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{Path(__file__).with_name("vasp_replayer.py")}"\n')
    executable.chmod(0o755)
    for library in ("POT_PAW_PBE_64", "POT_GGA_PAW_PBE"):
        for element, symbol in POTENTIALS.items():
            folder = root / "potcars" / library / symbol
            folder.mkdir(parents=True)
            (folder / "POTCAR").write_text(potcar_text(element, symbol))
    patch.setitem(SETTINGS, "PMG_VASP_PSP_DIR", str(root / "potcars"))
    patch.setenv("REPLAY_JOURNAL", str(root / "journal"))
    patch.setenv("REPLAY", "clean")
    return Machine(root)
