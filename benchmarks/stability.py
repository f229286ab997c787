"""Studies of phonons: what they cost, what other settings make of the same phases, and how many S.U.N. entries are stable.

    python benchmarks/stability.py share REF --database file:DIRECTORY --atoms 16 --number 24  # S.U.N. entries at random; a study
    python benchmarks/stability.py settings       # phonopy's defaults and strained cells as they are, beside the settings here
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

    found = {each.name: each.structure for each in load_references("li-p-s", ["Li", "P", "S"])}
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
    if options.what:
        started = time.process_time()
        found = {"share": share, "settings": settings, "polymorphs": polymorphs}[options.what](options)
    kept = json.loads(RESULT.read_text()) if RESULT.is_file() else {}  # now: another part may have ended meanwhile
    part = f"share_of_{options.atoms}_atoms" if options.what == "share" else options.what
    if part:
        kept[part] = found
        kept[part]["cpu_seconds"] = round(time.process_time() - started, 1)
        kept[part]["packages"] = {name: importlib.metadata.version(name) for name in PACKAGES}
        RESULT.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n")
    for name in [part] if part else kept:
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


def settings(options: argparse.Namespace) -> dict[str, Any]:  # noqa: ARG001 - all are handed the same
    """Compare settings on the same phases: Li2S over its volumes, and β-Li3PS4 with an unstable mode."""
    import numpy as np

    from coevo.configs.studies.phonons import PhononSettings
    from coevo.makers.studies.free_energies import scaled
    from coevo.makers.studies.lattice_dynamics import dynamics_of, relax_tightly
    from coevo.models.chgnet.force_field import ChgnetForceField

    force_field = ChgnetForceField.published("0.3.0")
    ours, defaults = PhononSettings(), PhononSettings(displacement=0.01)
    relaxed = relax_tightly(force_field, bundled("Li2S", "P black", "beta-Li3PS4 (ordered approximant)"), ours, 1)
    rows: dict[str, Any] = {}
    for name, result in zip(("Li2S", "P black"), relaxed[:2], strict=True):
        factors = np.linspace(0.95, 1.05, 9) ** 3
        strained = [scaled(result.structure, factor) for factor in factors]
        moved = [each.structure for each in relax_tightly(force_field, strained, ours, 1, fixed_volume=True)]
        energies = {
            "ions as they were": [each.energy for each in force_field.evaluate(strained)],
            "relaxed": [each.energy for each in force_field.evaluate(moved)],
        }
        row: dict[str, Any] = {"energy_of_unrelaxed_mev": _at_ends(energies)}
        for label, cells, how in (("0.01 Å, strained", strained, defaults), ("0.1 Å, relaxed", moved, ours)):
            found = dynamics_of(force_field, cells, how, 1)
            free = np.array([_as_phonopy(each) if how is defaults else _ours(each) for each in found])
            left = free - np.polynomial.polynomial.polyval(factors, np.polynomial.polynomial.polyfit(factors, free, 2))
            row[label] = {
                "free_energies_300_mev": (1e3 * free).round(2).tolist(),
                "scatter_mev": round(float(1e3 * np.sqrt((left**2).sum() / (len(free) - 3))), 2),
                "lowest_thz": [round(each.lowest, 2) + 0.0 for each in found],
            }
        rows[name] = row
    (beta,) = dynamics_of(force_field, [relaxed[2].structure], ours, 1)
    rows["beta-Li3PS4"] = {
        "lowest_thz": round(beta.lowest, 2),
        "unstable_share": round(beta.unstable_share, 3),
        "free_energy_300_modes_dropped_mev": round(1e3 * _as_phonopy(beta), 2),
        "free_energy_300_modes_dropped_900_mev": round(1e3 * _as_phonopy(beta, 900.0), 2),
    }
    return rows


def _at_ends(energies: dict[str, list[float]]) -> list[float]:
    """How much higher unrelaxed cells are at both ends of the strains, meV/atom."""
    unrelaxed, relaxed = energies["ions as they were"], energies["relaxed"]
    return [round(1e3 * (unrelaxed[end] - relaxed[end]), 2) for end in (0, -1)]


def _as_phonopy(found: Any, temperature: float = 300.0) -> float:
    """Free energy as phonopy sums it: modes that are not above zero are left out; eV/atom."""
    found.phonopy.run_mesh(60.0)
    free = found.phonopy.run_thermal_properties(temperatures=[temperature], exclude_gamma_acoustic=True).free_energy[0]
    return float(free) / 96.48533 / found.atoms


def _ours(found: Any) -> float:
    return float(found.thermodynamics([300.0]).free_energy[0])


def polymorphs(options: argparse.Namespace) -> dict[str, Any]:  # noqa: ARG001
    """Free energies of γ and β-Li3PS4 by CHGNet 0.3.0, unstable modes followed; draws the figure of the documentation."""
    from coevo.configs.studies.phonons import PhononSettings
    from coevo.makers.studies.free_energies import FreeEnergyMaker
    from coevo.makers.studies.phonons import phonons_of_phases
    from coevo.makers.studies.stability import StabilityResultMaker
    from coevo.models.chgnet.force_field import ChgnetForceField
    from coevo.node_store.canonical import structure_document
    from coevo.report.figures.stability import draw_stability

    names = {"gamma": "γ", "beta": "β, ordered"}
    structures = {"gamma": gamma_li3ps4(), "beta": bundled("beta-Li3PS4 (ordered approximant)")[0]}
    force_field = ChgnetForceField.published("0.3.0")
    given = [{"id": name, "structure": structure_document(structure)} for name, structure in structures.items()]
    records = phonons_of_phases(force_field, given, PhononSettings(), 1)
    FreeEnergyMaker(settings=PhononSettings(), temperatures=list(TEMPERATURES), workers=1).add_free_energies(force_field, records)
    phases = [{"id": name, "formula": "Li3PS4", "kind": "reference", "name": names[name]} for name in structures]
    maker = StabilityResultMaker(phases=phases, temperatures=list(TEMPERATURES), pressures=[0.0], formula="Li3PS4")
    results = maker.results_of({record["id"]: record for record in records})
    draw_stability({"results": results}, FIGURE)
    rows = {row["id"]: row for row in results["phases"]}
    harmonic = {name: rows[name]["energy"] for name in rows}
    return {
        "phases": {
            name: {key: row[key] for key in ("status", "reason", "path", "supercells", "supercell_atoms", "left_out")}
            for name, row in rows.items()
        },
        "difference_at_rest_mev": round(1e3 * (harmonic["beta"] - harmonic["gamma"]), 2),
        "temperatures": list(TEMPERATURES),
        "difference_mev": [
            None if a is None or b is None else round(1e3 * (a - b), 2)
            for a, b in zip(rows["beta"]["gibbs"][0], rows["gamma"]["gibbs"][0], strict=True)
        ],
        "error_mev": [
            None if a is None or b is None else round(1e3 * (a**2 + b**2) ** 0.5, 2)
            for a, b in zip(rows["beta"]["errors"][0], rows["gamma"]["errors"][0], strict=True)
        ],
        "harmonic_difference_mev": _harmonic(records),
        "transitions": results["polymorphs"][0]["pressures"][0]["transitions"],
    }


def _harmonic(records: list[Any]) -> list[float]:
    """Difference of harmonic free energies at the volumes nearest to the relaxed ones, meV/atom."""
    found = {}
    for record in records:
        near = min(range(len(record["volumes"])), key=lambda place: record["energies"][place])
        found[record["id"]] = [record["energies"][near] + free for free in record["free_energies"][near]]
    return [round(1e3 * (b - g), 2) for b, g in zip(found["beta"], found["gamma"], strict=True)]


if __name__ == "__main__":
    main()
