"""Studies of phonons: what they cost, what other settings make of the same phases, and how many S.U.N. entries are stable.

    python benchmarks/stability.py share REF --database file:DIRECTORY   # S.U.N. entries drawn at random; a study beside the state
    python benchmarks/stability.py settings       # phonopy's defaults, strained cells without relaxed ions, and the settings here
    python benchmarks/stability.py polymorphs     # γ and β-Li3PS4, followed, by CHGNet 0.3.0; draws docs/stability.png
    python benchmarks/stability.py --table        # of the last results

*A model's opinion*: all numbers are those of the force field that is named, none of experiment. Times are CPU seconds of this
process with one worker.

*Other settings*, on the same phases in one run: displacements of 0.01 Å, as phonopy has them by default, and modes that are not
above zero left out of the free energy, as phonopy does; and cells strained by up to ±5 % in length with fractional coordinates as
they were, as matcalc 0.7.0's QHACalc does (by its source; matcalc is not installed here and not run). Who is right is judged by
what does not depend on any setting: the volume that the force field itself relaxes to, and whether a mode that is left out leads
to a lower crystal when it is followed.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import time
from pathlib import Path
from typing import Any

RESULT = Path(__file__).parent / "results" / "stability.json"
FIGURE = Path(__file__).parents[1] / "docs" / "stability.png"
PACKAGES = ("coevo", "chgnet", "torch", "phonopy", "spglib", "pymatgen")
TEMPERATURES = tuple(float(kelvin) for kelvin in range(0, 901, 50))
GAMMA: dict[str, Any] = {
    # Homma et al., Solid State Ionics 182, 53 (2011), 10.1016/j.ssi.2010.10.001, as given in reviews; relaxed before use
    "space_group": "Pmn2_1",
    "lengths": (7.708, 6.535, 6.136),
    "sites": [
        ("Li", (0.248, 0.328, 0.986)),
        ("Li", (0.5, 0.843, 0.989)),
        ("P", (0.0, 0.8243, 0.0)),
        ("S", (0.208, 0.6863, 0.8964)),
        ("S", (0.0, 0.1067, 0.899)),
        ("S", (0.5, 0.1855, 0.813)),
    ],
}


def gamma_li3ps4() -> Any:
    """Return γ-Li3PS4."""
    from pymatgen.core import Lattice, Structure

    species, places = zip(*GAMMA["sites"], strict=True)
    return Structure.from_spacegroup(GAMMA["space_group"], Lattice.orthorhombic(*GAMMA["lengths"]), species, places)


def bundled(*names: str) -> list[Any]:
    """Return bundled references by name."""
    from coevo.configs.references import load_references

    found = {each["name"]: each["structure"] for each in load_references("li-p-s")}
    return [found[name] for name in names]


def main() -> None:
    """Run what is asked for, keep its numbers, print its table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", nargs="?", choices=("share", "settings", "polymorphs"))
    parser.add_argument("ref", nargs="?", help="of share: the state")
    parser.add_argument("--database", help="of share: file:DIRECTORY; a study is written beside the state")
    parser.add_argument("--number", type=int, default=30, help="of share: entries that are drawn")
    parser.add_argument("--atoms", type=int, default=12, help="of share: in the cell of an entry, at most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--table", action="store_true", help="print the tables of the last results")
    options = parser.parse_args()
    kept = json.loads(RESULT.read_text()) if RESULT.is_file() else {}
    if options.what:
        started = time.process_time()
        kept[options.what] = {"share": share, "settings": settings, "polymorphs": polymorphs}[options.what](options)
        kept[options.what]["cpu_seconds"] = round(time.process_time() - started, 1)
        kept[options.what]["packages"] = {name: importlib.metadata.version(name) for name in PACKAGES}
        RESULT.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n")
    for name in [options.what] if options.what else kept:
        print(json.dumps({name: kept[name]}, indent=1, sort_keys=True))


def share(options: argparse.Namespace) -> dict[str, Any]:
    """Draw S.U.N. entries at random and ask which are dynamically stable."""
    import numpy as np

    os.environ["COEVO_DATABASE"] = options.database
    from coevo.analysis.intervals import wilson
    from coevo.campaigns.study import run_study
    from coevo.campaigns.study_phases import StudyPhases, choose_phases
    from coevo.configs.studies.phonons import PhononStudy
    from coevo.node_store.current import current_store

    view = current_store().state(options.ref)
    all_sun = choose_phases(view, "is_sun=TRUE").phases
    small = choose_phases(view, f"is_sun=TRUE AND nsites<={options.atoms}").phases
    order = np.random.default_rng(options.seed).permutation(len(small))[: options.number]
    drawn = StudyPhases(tuple(small[index] for index in sorted(order)))
    study = run_study(current_store(), view, "phonons", PhononStudy(), drawn)
    said = [fields["dynamically_stable"] for fields in study.document["entries"].values()]
    rows = study.document["results"]["phases"]
    return {
        "node": view.node,
        "state": view.id,
        "force_field": view.document["checkpoints"]["force_field"]["sha256"],
        "sun": len(all_sun),
        "sun_of_so_few_atoms": len(small),
        "atoms_at_most": options.atoms,
        "seed": options.seed,
        "drawn": len(drawn.phases),
        "known": len(said),
        "stable": sum(said),
        "interval": wilson(sum(said), len(said)),
        "lowest_thz": sorted(round(row["lowest_thz"], 2) + 0.0 for row in rows if row["lowest_thz"] is not None),
        "supercells": sum(row["supercells"] or 0 for row in rows),
        "atoms_of_supercells": sum((row["supercells"] or 0) * (row["supercell_atoms"] or 0) for row in rows),
    }


def settings(options: argparse.Namespace) -> dict[str, Any]:
    """Compare settings on the same phases."""
    raise NotImplementedError


def polymorphs(options: argparse.Namespace) -> dict[str, Any]:
    """Free energies of γ and β-Li3PS4."""
    raise NotImplementedError


if __name__ == "__main__":
    main()
