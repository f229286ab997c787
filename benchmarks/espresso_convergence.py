"""How far the default settings of Quantum ESPRESSO labels are converged, and the formation energy of Li2S with them.

Prints the tables of docs/espresso.md. ``--formation`` adds alpha sulphur (32 atoms), which takes a quarter of an hour.
Needs ``pw.x`` and ``COEVO_PSEUDOPOTENTIALS``, the directory of the family sg15-pbe.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from pymatgen.core import Lattice, Structure

from coevo.configs.tree import EspressoConfig
from coevo.errors import LabellingError
from coevo.labelling.espresso.labeller import EspressoLabeller
from coevo.labelling.espresso.pseudopotentials import directory_of_potentials, split_command
from coevo.settings import read_settings

if TYPE_CHECKING:
    from coevo.labelling.contract import LabelResult

SULPHUR = "alpha-S8 (Fddd)"
CUTOFFS, SPACINGS = (40, 50, 60, 70, 80, 100), (0.5, 0.35, 0.25, 0.18, 0.12)
GPA = 160.21766208


def phase(name: str) -> Structure:
    """Return the primitive cell of a bundled reference."""
    data = json.loads(files("coevo.configs").joinpath("references/li-p-s.json").read_text(encoding="utf-8"))
    found = next(item for item in data["phases"] if item["name"] == name)
    lattice = Lattice.from_parameters(*(found["lattice"][key] for key in ("a", "b", "c", "alpha", "beta", "gamma")))
    elements, positions = ([site[key] for site in found["sites"]] for key in ("element", "xyz"))
    return Structure.from_spacegroup(found["space_group_number"], lattice, elements, positions).get_primitive_structure()


def label(name: str, **values: float) -> LabelResult:
    """Label one phase with the defaults but for some values."""
    settings = read_settings()
    with tempfile.TemporaryDirectory() as scratch:
        labeller = EspressoLabeller(
            EspressoConfig(**{"max_seconds": 36_000, **values}),
            command=split_command(settings.espresso_command),
            potentials=directory_of_potentials(settings.pseudopotentials),
            scratch=Path(scratch),
        )
        (result,) = labeller.label([phase(name)])
    if result.energy is None:
        raise LabellingError(f"{name}: {result.reason}, {result.detail}")
    return result


def table(key: str, values: tuple[float, ...], fixed: dict[str, float]) -> None:
    """Print energy (meV/atom, relative to the last row) and pressure (GPa) of Li2S and Li against one parameter."""
    rows = [[label(name, **{**fixed, key: value}) for name in ("Li2S", "Li bcc")] for value in values]
    print(f"| {key} | Li2S, meV/atom | GPa | Li bcc, meV/atom | GPa |\n|---|---|---|---|---|")
    for value, row in zip(values, rows, strict=True):
        cells = []
        for result, last in zip(row, rows[-1], strict=True):
            assert result.energy is not None
            assert last.energy is not None
            assert result.stress is not None
            cells.append(f"{1000 * (result.energy - last.energy):+.1f} | {-result.stress.trace() / 3 * GPA:+.2f}")
        print(f"| {value:g} | {' | '.join(cells)} |")
    print()


def formation_energy() -> None:
    """Print the formation energy of Li2S from Li bcc and alpha sulphur."""
    energies = [label(name, k_spacing=k).energy for name, k in (("Li2S", 0.12), ("Li bcc", 0.12), (SULPHUR, 5.0))]
    compound, lithium, sulphur = (energy for energy in energies if energy is not None)
    print(f"Li2S {compound:.4f}, Li {lithium:.4f}, S {sulphur:.4f} eV/atom")
    print(f"formation energy {compound - (2 * lithium + sulphur) / 3:.4f} eV/atom")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--formation", action="store_true", help="the formation energy of Li2S, too")
    arguments = parser.parse_args()
    if read_settings().pseudopotentials is None:
        print("skipped: COEVO_PSEUDOPOTENTIALS is not set")
        sys.exit(0)
    table("ecutwfc", CUTOFFS, {"k_spacing": 0.35})
    table("k_spacing", SPACINGS, {})
    if arguments.formation:
        formation_energy()
