"""Stands in for the VASP executable: reads INCAR, KPOINTS, POSCAR and POTCAR, and writes files of VASP's formats.

The numbers are those of a pair potential, so that forces and stress are the derivatives of the free energy, the atoms of the two
elements differ, and nothing is symmetric by accident. The environment variable ``REPLAY`` names what goes wrong. Numpy only:
it is started once per attempt.
"""

from __future__ import annotations

import itertools
import os
import re
import sys
import time
from pathlib import Path

import numpy as np

CUTOFF = 7.0
DEPTH, STEEPNESS, ATOM = 0.35, 1.1, -3.5
RADIUS = {"Li": 1.30, "S": 1.35, "P": 1.1}
KBAR = 1602.1766208  # eV/Å³ in kbar
ENTROPY = 0.012  # −TS of the smeared electrons, eV per cell
MESSAGES = {
    "edddav": " Error EDDDAV: Call to ZHEGV failed. Returncode =  24 1  24",
    "too many": " Error EDDDAV: Call to ZHEGV failed. Returncode =  24 1  24",
    "zheev": " ERROR EDDIAG: Call to routine ZHEEV failed! 24 1  24",
    "tetrahedra": " Tetrahedron method fails for NKPT<4. NKPT =           1",
}
MASS = {"Li": 6.941, "S": 32.065, "P": 30.974}


def read_incar() -> dict[str, str]:
    pairs = (line.split("=", 1) for line in Path("INCAR").read_text().splitlines() if "=" in line)
    return {key.strip(): value.strip() for key, value in pairs}


def read_poscar() -> tuple[np.ndarray, list[str], list[int], np.ndarray]:
    lines = Path("POSCAR").read_text().splitlines()
    cell = float(lines[1]) * np.array([line.split()[:3] for line in lines[2:5]], dtype=float)
    kinds, counts = lines[5].split(), [int(word) for word in lines[6].split()]
    assert lines[7].strip().lower().startswith("d"), "direct coordinates expected"
    positions = np.array([line.split()[:3] for line in lines[8 : 8 + sum(counts)]], dtype=float)
    if np.linalg.det(cell) <= 0:
        print(" ERROR: the triple product of the basis vectors is negative, exchange two basis vectors")
        sys.exit(1)
    assert len(set(kinds)) == len(kinds), f"elements in {kinds} are not grouped"
    return cell, kinds, counts, positions


def check_potcar(kinds: list[str]) -> list[str]:
    titles = re.findall(r"TITEL\s*=\s*(.+)", Path("POTCAR").read_text())
    assert [title.split()[1].split("_")[0] for title in titles] == kinds, f"POTCAR {titles} for POSCAR {kinds}"
    return [title.strip() for title in titles]


def pair_potential(cell: np.ndarray, symbols: list[str], scaled: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """Energy (eV), forces (eV/Å) and stress (eV/Å³, positive = tensile) of Morse pairs with a smooth end."""
    positions, radii = scaled @ cell, np.array([RADIUS[symbol] for symbol in symbols])
    heights = abs(np.linalg.det(cell)) / np.linalg.norm(np.cross(cell[[1, 2, 0]], cell[[2, 0, 1]]), axis=1)
    reach = [range(-int(CUTOFF / height) - 1, int(CUTOFF / height) + 2) for height in heights]
    shifts = np.array(list(itertools.product(*reach))) @ cell
    apart = positions[None, :, None] + shifts[None, None] - positions[:, None, None]  # from i to j
    distance = np.linalg.norm(apart, axis=-1)
    inside = (distance > 1e-9) & (distance < CUTOFF)
    i, j, _ = np.nonzero(inside)
    r, vector = distance[inside], apart[inside]
    swing = np.exp(-STEEPNESS * (r - radii[i] - radii[j]))
    end = (1 - (r / CUTOFF) ** 2) ** 3
    energy = DEPTH * (swing**2 - 2 * swing) * end
    slope = (
        DEPTH * 2 * STEEPNESS * (swing - swing**2) * end
        - DEPTH * (swing**2 - 2 * swing) * 6 * r / CUTOFF**2 * (1 - (r / CUTOFF) ** 2) ** 2
    )
    pull = (slope / r)[:, None] * vector  # force on i from the pair
    forces = np.zeros_like(positions)
    np.add.at(forces, i, pull)
    stress = np.einsum("na,nb->ab", pull, vector) / (2 * abs(np.linalg.det(cell)))
    return ATOM * len(symbols) + energy.sum() / 2, forces, stress


def rows(array: np.ndarray, indent: str) -> str:
    return "".join(f"{indent}<v>" + "".join(f" {value:16.8f}" for value in row) + " </v>\n" for row in array)


def structure_xml(cell: np.ndarray, scaled: np.ndarray, name: str = "") -> str:
    label = f' name="{name}"' if name else ""
    return (
        f' <structure{label} >\n  <crystal>\n   <varray name="basis" >\n{rows(cell, "    ")}   </varray>\n'
        f'   <i name="volume"> {np.linalg.det(cell):16.8f} </i>\n'
        f'   <varray name="rec_basis" >\n{rows(np.linalg.inv(cell).T, "    ")}   </varray>\n  </crystal>\n'
        f'  <varray name="positions" >\n{rows(scaled, "   ")}  </varray>\n </structure>\n'
    )


def energies_xml(free: float, steps: str = "   ") -> str:
    numbers = {"e_fr_energy": free, "e_wo_entrp": free + ENTROPY, "e_0_energy": free + ENTROPY / 2}
    return (
        f"{steps}<energy>\n"
        + "".join(f'{steps} <i name="{n}"> {v:16.8f} </i>\n' for n, v in numbers.items())
        + f"{steps}</energy>\n"
    )


def incar_xml(incar: dict[str, str]) -> str:
    lines = []
    for tag, value in incar.items():
        if re.fullmatch(r"(True|False)", value):
            lines.append(f'  <i type="logical" name="{tag}"> {value[0]}  </i>')
        elif re.fullmatch(r"-?\d+", value):
            lines.append(f'  <i type="int" name="{tag}"> {value:>5}</i>')
        elif re.fullmatch(r"-?\d+\.?\d*([eE]-?\d+)?", value):
            lines.append(f'  <i name="{tag}"> {float(value):16.8f}</i>')
        elif tag == "MAGMOM":
            expanded = itertools.chain(
                *([v] * int(n) for n, v in (w.split("*") if "*" in w else ("1", w) for w in value.split()))
            )
            lines.append(f'  <v name="{tag}"> {" ".join(f"{float(v):16.8f}" for v in expanded)}</v>')
        else:
            lines.append(f'  <i type="string" name="{tag}">{value}</i>')
    return "\n".join(lines)


def bands_xml(metal: bool) -> str:
    levels = [(-6.0, 1.0), (-2.0, 1.0), (0.5 if metal else 3.0, 0.4 if metal else 0.0), (5.0, 0.0)]
    spins = "".join(
        f'      <set comment="spin {spin}">\n       <set comment="kpoint 1">\n'
        + "".join(f"        <r> {energy:9.4f} {occupied:9.4f} </r>\n" for energy, occupied in levels)
        + "       </set>\n      </set>\n"
        for spin in (1, 2)
    )
    return (
        '  <eigenvalues>\n   <array>\n    <dimension dim="1">band</dimension>\n    <dimension dim="2">kpoint</dimension>\n'
        '    <dimension dim="3">spin</dimension>\n    <field>eigene</field>\n    <field>occ</field>\n    <set>\n'
        f"{spins}    </set>\n   </array>\n  </eigenvalues>\n"
        '  <dos>\n   <i name="efermi"> 0.50000000 </i>\n   <total>\n    <array>\n     <dimension dim="1">gridpoints</dimension>\n'
        '     <dimension dim="2">spin</dimension>\n     <field>energy</field>\n     <field>total</field>\n'
        "     <field>integrated</field>\n     <set>\n"
        + "".join(
            f'      <set comment="spin {spin}">\n'
            + "".join(
                f"       <r> {energy:9.4f} {0.5:9.4f} {0.1 * k:9.4f} </r>\n" for k, energy in enumerate(np.arange(-8.0, 8.0))
            )
            + "      </set>\n"
            for spin in (1, 2)
        )
        + "     </set>\n    </array>\n   </total>\n  </dos>\n"
    )


def write_vasprun(incar: dict[str, str], cell, kinds, counts, scaled, titles, result, steps: int) -> None:
    energy, forces, stress = result
    nelm = int(incar.get("NELM", 60))
    version = os.environ.get("REPLAY_VERSION", "6.4.2")
    atoms = "".join(
        f"    <rc><c>{kind:<2}</c><c>{index:4d}</c></rc>\n"
        for index, (kind, n) in enumerate(zip(kinds, counts, strict=True), 1)
        for _ in range(n)
    )
    types = "".join(
        f"    <rc><c>{n:4d}</c><c>{kind:<2}</c><c>{MASS[kind]:16.8f}</c><c>{3.0:16.8f}</c><c> {title:<39}</c></rc>\n"
        for kind, n, title in zip(kinds, counts, titles, strict=True)
    )
    scf = "".join(
        f'  <scstep>\n   <time name="total">    0.10    0.10</time>\n'
        f"{energies_xml(energy + 0.5 * 0.1**k * (k < steps - 1))}  </scstep>\n"
        for k in range(steps)
    )
    number = "{:16.8f}".format if np.isfinite(energy) else (lambda value: "****************")
    text = (
        '<?xml version="1.0" encoding="ISO-8859-1"?>\n<modeling>\n <generator>\n  <i name="program" type="string">vasp </i>\n'
        f'  <i name="version" type="string">{version}  </i>\n  <i name="subversion" type="string">20Jul23 complex parallel </i>\n'
        '  <i name="platform" type="string">LinuxIFC </i>\n  <i name="date" type="string">2026 01 14 </i>\n'
        '  <i name="time" type="string">19:06:57 </i>\n </generator>\n'
        f" <incar>\n{incar_xml(incar)}\n </incar>\n"
        ' <kpoints>\n  <generation param="Gamma">\n   <v type="int" name="divisions">       1        1        1 </v>\n'
        '   <v name="usershift">      0.00000000       0.00000000       0.00000000 </v>\n  </generation>\n'
        '  <varray name="kpointlist" >\n   <v>       0.00000000       0.00000000       0.00000000 </v>\n  </varray>\n'
        '  <varray name="weights" >\n   <v>       1.00000000 </v>\n  </varray>\n </kpoints>\n'
        f' <parameters>\n  <separator name="electronic" >\n   <i type="int" name="NELM"> {nelm:5d}</i>\n'
        f'   <i type="int" name="NBANDS">     4</i>\n   <i name="NELECT">      4.00000000</i>\n'
        '   <i type="int" name="ISPIN">     2</i>\n'
        '  </separator>\n  <separator name="dos" >\n   <i type="int" name="LORBIT">     0</i>\n  </separator>\n'
        '  <separator name="ionic" >\n   <i type="int" name="NSW">     0</i>\n   <i type="int" name="IBRION">    -1</i>\n'
        "  </separator>\n </parameters>\n"
        f" <atominfo>\n  <atoms> {sum(counts):7d} </atoms>\n  <types> {len(kinds):7d} </types>\n"
        '  <array name="atoms" >\n   <dimension dim="1">ion</dimension>\n   <field type="string">element</field>\n'
        f'   <field type="int">atomtype</field>\n   <set>\n{atoms}   </set>\n  </array>\n'
        '  <array name="atomtypes" >\n   <dimension dim="1">type</dimension>\n   <field type="int">atomspertype</field>\n'
        '   <field type="string">element</field>\n   <field>mass</field>\n   <field>valence</field>\n'
        f'   <field type="string">pseudopotential</field>\n   <set>\n{types}   </set>\n  </array>\n </atominfo>\n'
        f"{structure_xml(cell, scaled, 'initialpos')} <calculation>\n{scf}{structure_xml(cell, scaled)}"
        f'  <varray name="forces" >\n{rows(forces, "   ")}  </varray>\n'
        f'  <varray name="stress" >\n{rows(-KBAR * stress, "   ")}  </varray>\n'
        f'{energies_xml(energy)}  <time name="totalsc">    0.11    0.12</time>\n{bands_xml(False)} </calculation>\n'
        f"{structure_xml(cell, scaled, 'finalpos')}</modeling>\n"
    )
    if not np.isfinite(energy):
        text = text.replace(f" {energy:16.8f} ", f" {number(energy)} ")
    if os.environ.get("REPLAY") == "cut":
        text = text[: len(text) // 2]
    Path("vasprun.xml").write_text(text)


def write_others(cell, kinds, counts, result, steps: int, *, loop_ended: str) -> None:
    energy, forces, stress = result
    print(" running on    1 total cores\n vasp.6.4.2 20Jul23 complex\n entering main loop")
    oszicar = "       N       E                     dE             d eps       ncg     rms          rms(c)\n"
    for k in range(1, steps + 1):
        oszicar += f"DAV: {k:3d} {energy:19.12E} {-(0.1**k):12.5E} {-(0.1**k):12.5E}  1000 {0.1**k:10.3E}    {0.1**k:10.3E}\n"
    oszicar += f"   1 F= {energy:.8E} E0= {energy + ENTROPY / 2:.8E}  d E ={-ENTROPY / 2:.6E}  mag=     0.0000\n"
    Path("OSZICAR").write_text(oszicar)
    print(oszicar, end="")
    volume = np.linalg.det(cell)
    kbar = -KBAR * stress
    six = [kbar[0, 0], kbar[1, 1], kbar[2, 2], kbar[0, 1], kbar[1, 2], kbar[2, 0]]
    bar = "-" * 104
    Path("OUTCAR").write_text(
        " vasp.6.4.2 20Jul23 (build Aug 01 2023) complex\n\n executed on             LinuxIFC date 2026.01.14  19:06:57\n"
        " running on    1 total cores\n\n   ISPIN  =      2    spin polarized calculation?\n   IBRION =     -1    ionic relax\n"
        "   number of dos      NEDOS =    301   number of ions     NIONS =      3\n"
        "   k-points           NKPTS =      1   k-points in BZ     NKDIM =      1   number of bands    NBANDS=      4\n"
        "   total plane-waves  NPLWV =  13824\n\n"
        f"\n\n\n{bar}\n\n\n k-point   1 :   0.0000 0.0000 0.0000  plane waves:     541\n\n"
        " maximum and minimum number of plane-waves per node :  541  541\n\n"
        f"{loop_ended}\n\n"
        " E-fermi :   0.5000     XC(G=0):  -8.0000     alpha+bet :-10.0000\n\n"
        "  FORCE on cell =-STRESS in cart. coord.  units (eV):\n"
        "  Direction    XX          YY          ZZ          XY          YZ          ZX\n"
        f"  Total   {''.join(f'{value * volume / KBAR:12.5f}' for value in six)}\n"
        f"  in kB   {''.join(f'{value:12.5f}' for value in six)}\n"
        f"  external pressure = {np.trace(kbar) / 3:11.2f} kB  Pullay stress =        0.00 kB\n\n"
        " number of electron       4.0000000 magnetization       0.0000000\n"
        f"    total drift:  {forces.sum(axis=0)[0]:13.6f} {forces.sum(axis=0)[1]:13.6f} {forces.sum(axis=0)[2]:13.6f}\n\n"
        "  FREE ENERGIE OF THE ION-ELECTRON SYSTEM (eV)\n  ---------------------------------------------------\n"
        f"  free  energy   TOTEN  = {energy:17.8f} eV\n\n"
        f"  energy  without entropy= {energy + ENTROPY:15.8f}  energy(sigma->0) = {energy + ENTROPY / 2:15.8f}\n\n"
        " General timing and accounting informations for this job:\n"
        "                  Total CPU time used (sec):        1.000\n                            User time (sec):        1.000\n"
        "                          System time (sec):        0.100\n                         Elapsed time (sec):        1.100\n"
        "                   Maximum memory used (kb):      100000.\n"
    )
    Path("CONTCAR").write_text(Path("POSCAR").read_text())
    Path("WAVECAR").write_bytes(b"\0" * 4096)
    Path("CHGCAR").write_bytes(b"\0" * 4096)


def end_early(what: str, incar: dict[str, str]) -> bool:
    """Stop as VASP does before it has written a result; a handler's change of INCAR takes the cause away."""
    cause = {
        "edddav": incar["ALGO"] != "All",
        "zheev": True,
        "too many": True,
        "tetrahedra": incar["SIGMA"] == "0.1",
    }
    if cause.get(what):
        print(MESSAGES[what])
        sys.exit(1)
    if what == "segfault":
        os.abort()
    return what == "silent"


def main() -> None:
    what, incar = os.environ.get("REPLAY", "clean"), read_incar()
    assert (incar["NSW"], incar.get("IBRION", "-1"), incar.get("ISIF", "2")) == ("0", "-1", "2"), (
        "a label is a static run with its stress"
    )
    assert "LORBIT" not in incar, "projections are not needed"
    assert (incar["LWAVE"], incar["LCHARG"]) == ("False", "False"), "large files are not needed"
    assert incar.get("GGA", "Pe").upper() == "PE", "the functional is PBE"
    assert ("KSPACING" in incar) != Path("KPOINTS").exists(), "k-points by KSPACING or by KPOINTS"
    cell, kinds, counts, scaled = read_poscar()
    titles = check_potcar(kinds)
    with Path(os.environ["REPLAY_JOURNAL"]).open("a") as journal:
        journal.write(f"{incar['ALGO']} {incar['ENCUT']} {incar['ISMEAR']} {incar.get('KSPACING', 'KPOINTS')}\n")
    if end_early(what, incar):
        return
    nelm = int(incar.get("NELM", 60))
    steps = nelm if what == "unconverged" else 6
    if what == "other geometry":
        scaled = scaled + np.array([0.01, 0.0, 0.0]) * np.arange(len(scaled))[:, None]
    symbols = [kind for kind, n in zip(kinds, counts, strict=True) for _ in range(n)]
    energy, forces, stress = pair_potential(cell, symbols, scaled)
    if what == "positive":
        energy += 100.0 * len(symbols)
    result = (float("nan") if what == "stars" else energy, forces, stress)
    write_vasprun(incar, cell, kinds, counts, scaled, titles, result, steps)
    ended = {
        "unconverged": "----------------- aborting loop EDIFF was not reached (unconverged) -----------------",
        "aborted": "                          hard stop encountered!  aborting job ...",
    }.get(what, "------------------------ aborting loop because EDIFF is reached ----------------------------------------")
    write_others(cell, kinds, counts, (energy, forces, stress), steps, loop_ended=ended)
    if what == "no OUTCAR numbers":
        Path("OUTCAR").write_text(" vasp.6.4.2 20Jul23\n")
    if what == "slow":
        waited = 0
        while not Path("STOPCAR").exists() and waited < 12_000:  # ten minutes
            time.sleep(0.05)
            waited += 1
    if what == "exit code":
        sys.exit(9)


if __name__ == "__main__":
    main()
