"""Runs of ``pw.x`` whose files are imported; ``python pw_cases.py`` records them anew.

A recording is a directory under ``recordings/imported`` with the input, the output and ``data-file-schema.xml.gz``, without what
belongs to the machine.
"""

from __future__ import annotations

import gzip
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from espresso_cases import GAMMA, MASSES, PSEUDO, Case, in_shell, potentials, scrub

RECORDINGS = Path(__file__).resolve().parents[1] / "recordings" / "imported"
MASSES["Si"] = 28.0855
SMALL = {"ecutwfc": 16.0, "occupations": "'fixed'"}
SMEARED = {"ecutwfc": 16.0}
DIAMOND = "0 2.72 2.72\n2.72 0 2.72\n2.72 2.72 0"
MESH = "K_POINTS automatic\n2 2 2 0 0 0"
SILICON = (("Si", 0, 0, 0), ("Si", 0.24, 0.26, 0.25))
AFTER_SCF = 'sed s/nscf/scf/ pw.in > scf.in; pw.x -in scf.in > scf.out; exec pw.x "$@"'


def with_ions(cell: bool = False) -> tuple[str, str]:
    """The namelists that a relaxation needs, put before the species."""
    return "ATOMIC_SPECIES", "&IONS\n/\n" + ("&CELL\npress_conv_thr = 40\n/\n" if cell else "") + "ATOMIC_SPECIES"


def silicon(**given: object) -> Case:
    """A calculation of two atoms of silicon."""
    return Case(**{"atoms": SILICON, "cell": DIAMOND, "k_points": MESH, **given})  # type: ignore[arg-type]


CASES: dict[str, Case] = {
    "scf": silicon(system=SMALL),
    "vc_relax": silicon(
        control={"calculation": "'vc-relax'", "nstep": 9, "forc_conv_thr": "3d-2", "etot_conv_thr": "1d-2"},
        system=SMALL,
        replace=with_ions(cell=True),
    ),
    "relax_ended": silicon(
        control={"calculation": "'relax'", "nstep": 2},
        system=SMALL,
        replace=with_ions(),
    ),
    "unconverged_md": silicon(
        control={"calculation": "'md'", "nstep": 3, "dt": 20},
        system=SMALL,
        electrons={"conv_thr": "1d-8", "electron_maxstep": 3, "scf_must_converge": ".false."},
        replace=with_ions(),
    ),
    "exact_exchange": silicon(
        system={**SMALL, "input_dft": "'hse'", "nqx1": 1, "nqx2": 1, "nqx3": 1, "ecutfock": 24.0}, k_points=GAMMA
    ),
    "d3": silicon(system={**SMALL, "vdw_corr": "'grimme-d3'"}),
    "spin": silicon(system={**SMEARED, "nspin": 2, "starting_magnetization(1)": 0.3}),
    "spin_orbit": silicon(
        system={**SMEARED, "noncolin": ".true.", "lspinorb": ".true."}, k_points=GAMMA.replace("gamma", "automatic\n1 1 1 0 0 0")
    ),
    "charged": silicon(system={**SMEARED, "tot_charge": 1.0}),
    "field": silicon(control={"tefield": ".true."}, system={**SMALL, "edir": 3, "eamp": 0.001, "eopreg": 0.1}, k_points=GAMMA),
    "nscf": silicon(control={"calculation": "'nscf'"}, system=SMALL, command=in_shell(AFTER_SCF)),
}


def record(name: str, case: Case) -> None:
    """Run a case and keep its files."""
    pseudo_dir = str(potentials())
    target = RECORDINGS / name
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "pw.in").write_text(case.text(pseudo_dir))
        done = subprocess.run(
            [*case.command, "-in", "pw.in"],
            cwd=folder,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        document = Path(folder, "out", "pw.save", "data-file-schema.xml")
        text = document.read_text().replace(pseudo_dir, PSEUDO) if document.is_file() else ""
    if text:
        text = re.sub(r'(<created DATE=")[^"]*(" TIME=")[^"]*(">)[^<]*', r"\1 1Jan2026\2 0: 0: 0\3", text)
        text = re.sub(
            r"\s*<(ks_energies|timing_info)>.*?</\1>", "", text, flags=re.DOTALL
        )  # bands and times: large, and not read
        (target / "data-file-schema.xml.gz").write_bytes(gzip.compress(text.encode(), mtime=0))
    (target / "pw.in").write_text(case.text())
    (target / "pw.out").write_text(scrub(done.stdout, pseudo_dir))
    sys.stdout.write(f"{name}: exit code {done.returncode}, {len(done.stdout)} and {len(text)} bytes\n")


if __name__ == "__main__":
    for chosen in sys.argv[1:] or CASES:
        record(chosen, CASES[chosen])
