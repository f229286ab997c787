"""Time of a step of molecular dynamics against ASE with the same network and with the published package; a framework at 1000 K.

    python benchmarks/transport.py [--steps 10] [--framework-steps 1000] [--output benchmarks/results/transport.json]

Times are CPU seconds of this process, on one thread. D is not estimated: that takes 16 ps at least.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

NAMES = ("beta-Li3PS4 (ordered approximant)", "Li7P3S11")
CONDUCTORS = ("Li7P3S11", "Li7PS6 (cubic argyrodite model)", "beta-Li3PS4 (ordered approximant)", "Li2S", "Li3P")


def phases() -> dict:
    """Known phases that coevo brings, by name."""
    from coevo.configs.references import load_references

    return {one.name: one.structure for one in load_references("li-p-s", ["Li", "P", "S"])}


def per_step(function, steps: int) -> float:
    """CPU milliseconds of a step: a longer run less a shorter one, so that no start is in it; the first call is not counted."""
    function(1)
    spent = []
    for n in (2, 2 + steps):
        start = time.process_time()
        function(n)
        spent.append(time.process_time() - start)
    return (spent[1] - spent[0]) / steps * 1000.0


def ase_steps(atoms, temperature: float, steps: int) -> None:
    from ase import units
    from ase.md.langevin import Langevin

    Langevin(atoms, 2.0 * units.fs, temperature_K=temperature, friction=0.001 / units.fs, rng=np.random.default_rng(0)).run(steps)


def rates(name: str, structure, steps: int) -> dict:
    """Milliseconds per step and cell."""
    from chgnet.model.dynamics import CHGNetCalculator
    from pymatgen.io.ase import AseAtomsAdaptor

    from coevo.makers.studies.transport import supercell
    from coevo.models.chgnet.force_field import ChgnetForceField
    from coevo.models.molecular_dynamics import Dynamics, begin, move
    from coevo.models.relaxing.crystal import crystal_from_structure

    force_field = ChgnetForceField.published()
    cell = supercell(structure, 10.0)
    crystal = crystal_from_structure(cell, range(1, 95), "benchmark")
    row = {"phase": name, "atoms": len(cell)}
    for number in (1, 4):
        motions = [begin(crystal, 1000.0, seed) for seed in range(number)]

        def moved(n: int, motions=motions) -> None:
            move(force_field, motions, Dynamics(2.0, 1.0, n, n), batch_atoms=100_000)

        row[f"coevo_x{number}"] = per_step(moved, steps) / number
    for label, calculator in (("ase_coevo", force_field.calculator()), ("ase_stock", CHGNetCalculator(use_device="cpu"))):
        atoms = AseAtomsAdaptor.get_atoms(cell)
        atoms.calc = calculator
        row[label] = per_step(lambda n, atoms=atoms: ase_steps(atoms, 1000.0, n), steps)
    row["cpu_h_per_100_ps"] = row["coevo_x1"] * 50_000 / 3.6e6
    row["ms_per_atom_and_step"] = row["coevo_x1"] / len(cell)
    return row


def framework(structure, steps: int) -> dict:
    """What becomes of a framework in a short run at 1000 K."""
    from dataclasses import asdict

    from coevo.analysis.transport.framework import judge_framework
    from coevo.makers.studies.transport import supercell
    from coevo.models.chgnet.force_field import ChgnetForceField
    from coevo.models.molecular_dynamics import Dynamics, begin, move
    from coevo.models.relaxing.crystal import crystal_from_structure

    cell = supercell(structure, 8.0)
    crystal = crystal_from_structure(cell, range(1, 95), "benchmark")
    start = time.process_time()
    [found] = move(ChgnetForceField.published(), [begin(crystal, 1000.0, 0)], Dynamics(2.0, 1.0, steps, 25))
    mobile = crystal.numbers == 3
    judged, settled = judge_framework(crystal.numbers, crystal.cell, crystal.positions, found.frames, mobile)
    half = len(settled) // 2
    square = {
        symbol: float(((settled[half:] - settled[: len(settled) - half])[:, crystal.numbers == z] ** 2).sum(axis=-1).mean())
        for symbol, z in (("Li", 3), ("P", 15), ("S", 16))
        if (crystal.numbers == z).any()
    }
    return {
        "atoms": len(cell),
        "ps": steps * 0.002,
        "mean_temperature": float(found.temperatures[half:].mean()),
        "framework": asdict(judged),
        "msd_over_half_A2": square,
        "cpu_seconds": time.process_time() - start,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=10, help="0: keep the times that the file has")
    parser.add_argument(
        "--framework-steps", type=int, default=1000, help="at 1000 K, of the phases that the file does not have; 0: none"
    )
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "transport.json")
    options = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    known = phases()
    before = json.loads(options.output.read_text()) if options.output.exists() else {}
    found = {**before, "machine": platform.machine(), "processor": platform.processor(), "torch": torch.__version__}
    found["rates"] = [] if options.steps else found.get("rates", [])
    for name in NAMES if options.steps else ():
        found["rates"].append(rates(name, known[name], options.steps))
        print(found["rates"][-1], flush=True)
        options.output.write_text(json.dumps(found, indent=1) + "\n")
    kept = found.setdefault("frameworks_1000K", {})
    for name in CONDUCTORS if options.framework_steps else ():
        if name not in kept:
            kept[name] = framework(known[name], options.framework_steps)
            print(name, kept[name], flush=True)
            options.output.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
