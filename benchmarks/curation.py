"""Curation at scale: groups, hull and environments against the tools that a user would else take, and the growth of our cost.

``peers``: the same relaxed crystals of coevo's own generator (``workloads/curation_pool.py``), in one run and
in turns, one thread each:

- groups: ``StructureMatcher.group_structures`` of pymatgen on the order by energy, and coevo's, with the fragment veto off. Pairs
  that are in one group for both: precision and recall;
- hull: ``PhaseDiagram`` and ``get_e_above_hull`` of every entry;
- entropy: ``quests`` on the same descriptors (numba, one thread; and as it comes, on all cores).

``growth``: coevo alone at 2,000 to 70,000 structures on all cores, each size in a process of its own: wall and CPU seconds and
peak memory (parent and workers). ``recall``: what the cut-off in average minimum distances loses against comparing all pairs.
``batch``: 1,000 more structures against a node of each size whose fingerprints are stored.

    python benchmarks/curation.py --pool DIR          # makes the pool first if it is not there (an hour on two cores)
"""

from __future__ import annotations

import argparse
import datetime as dt
import importlib.metadata
import json
import os
import platform
import re
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import psutil

if TYPE_CHECKING:
    from collections.abc import Callable

    from workloads.curation_pool import Crystal

RESULT = Path(__file__).parent / "results" / "curation.json"
ELEMENTS = ("Li", "P", "S")
PEER_SIZES = (200, 600, 2000)
GROWTH_SIZES = (2000, 10_000, 70_000)
ENTROPY_SIZES = (1000, 3000, 10_000)
BANDWIDTH = 0.015
BATCH = 1000
VETO_SIZE = 10_000
"""Larger sets are grouped once only, without the veto, which is the longer work."""
VERSIONS = ("coevo", "numpy", "scipy", "pymatgen", "pymatgen-core", "quests", "numba", "spglib")


def processes() -> list[psutil.Process]:
    """This process and its workers, which are children of a fork server."""
    own = psutil.Process()
    return [own, *own.children(recursive=True)]


def workers_cpu_seconds() -> float:
    """User and system time of the workers, which live on between calls, and of finished children."""
    finished = resource.getrusage(resource.RUSAGE_CHILDREN)
    workers = [process.cpu_times() for process in processes()[1:]]
    return sum(t.user + t.system for t in workers) + finished.ru_utime + finished.ru_stime


def timed(work: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    """Result, CPU seconds of all processes and wall seconds; looking at the workers takes milliseconds and is not counted."""
    workers, cpu, wall = workers_cpu_seconds(), time.process_time(), time.perf_counter()
    result = work()
    own, elapsed = time.process_time() - cpu, time.perf_counter() - wall
    return result, {"cpu_seconds": round(own + workers_cpu_seconds() - workers, 4), "wall_seconds": round(elapsed, 4)}


def median_of(work: Callable[[], Any], repeats: int) -> tuple[Any, float]:
    """Result and the median of CPU seconds."""
    found = [timed(work) for _ in range(repeats)]
    return found[0][0], float(np.median([times["cpu_seconds"] for _, times in found]))


def items_of(crystals: list[Crystal]) -> list[Any]:
    """As the uniqueness test takes them; what was not relaxed comes after what was."""
    from coevo.analysis.comparison.uniqueness import Item

    return [Item(c.id, c.structure, c.energy_per_atom if c.energy_per_atom == c.energy_per_atom else 1e9) for c in crystals]


def pairs(groups: dict[str, str]) -> set[tuple[str, str]]:
    """Pairs of structures in one group."""
    members: dict[str, list[str]] = {}
    for name, representative in groups.items():
        members.setdefault(representative, []).append(name)
    return {(a, b) for group in members.values() for a in group for b in group if a < b}


def compare_groups(crystals: list[Crystal]) -> dict[str, Any]:
    """Groups by coevo and by pymatgen."""
    from pymatgen.core.structure_matcher import StructureMatcher

    from coevo.analysis.comparison.matching import Matching
    from coevo.analysis.comparison.uniqueness import find_representatives, in_order

    items = in_order(items_of(crystals))
    names = {id(item.structure): item.id for item in items}
    matcher = StructureMatcher(ltol=0.2, stol=0.3, angle_tol=5)
    found, ours = timed(lambda: find_representatives(items, [], Matching(fragment_veto=False)))
    groups, theirs = timed(lambda: matcher.group_structures([item.structure for item in items]))
    _, parallel = timed(lambda: find_representatives(items, [], Matching(fragment_veto=False), workers=os.cpu_count() or 1))
    wanted = pairs({names[id(member)]: names[id(group[0])] for group in groups for member in group})
    mine = pairs(found)
    return {
        "coevo": ours,
        "coevo_all_cores": parallel,
        "pymatgen": theirs,
        "ratio_cpu": round(theirs["cpu_seconds"] / ours["cpu_seconds"], 2),
        "ratio_wall_all_cores": round(theirs["wall_seconds"] / parallel["wall_seconds"], 2),
        "unique": len(set(found.values())),
        "pairs_pymatgen": len(wanted),
        "pairs_both": len(mine & wanted),
        "pair_precision": len(mine & wanted) / len(mine) if mine else 1.0,
        "pair_recall": len(mine & wanted) / len(wanted) if wanted else 1.0,
    }


def compare_fits(crystals: list[Crystal], n: int) -> dict[str, Any]:
    """CPU ms of one ``StructureMatcher.fit``, which reduces both cells each time: what comparing pairs one by one costs."""
    from pymatgen.core.structure_matcher import StructureMatcher

    matcher = StructureMatcher(ltol=0.2, stol=0.3, angle_tol=5)
    by_formula: dict[str, list[Any]] = {}
    for crystal in crystals:
        by_formula.setdefault(crystal.structure.composition.formula, []).append(crystal.structure)
    candidates = [(a, b) for group in by_formula.values() for i, a in enumerate(group) for b in group[:i]]
    chosen = [candidates[k] for k in np.random.default_rng(0).permutation(len(candidates))[:n]]
    _, times = timed(lambda: [matcher.fit(a, b) for a, b in chosen])
    return {"pairs_of_one_formula": len(candidates), "cpu_ms_per_fit": round(1e3 * times["cpu_seconds"] / len(chosen), 3)}


def compare_with_mattergen(crystals: list[Crystal], python: Path, kind: Literal["ordered", "disordered"]) -> dict[str, Any]:
    """Unique structures by coevo and by MatterGen's evaluation, in its own environment, on the order by energy.

    MatterGen lays a structure on a representative and coevo the representative on the structure, which is not quite the same.
    """
    from coevo.analysis.comparison.matching import Matching
    from coevo.analysis.comparison.uniqueness import find_representatives, in_order

    items = in_order(items_of(crystals))
    script = Path(__file__).parent / "workloads" / "mattergen_uniqueness.py"
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "structures.json"
        file.write_text(json.dumps([{"id": item.id, "structure": item.structure.as_dict()} for item in items]))
        command = [str(python), str(script), str(file), kind]
        output = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
    theirs = json.loads(output.splitlines()[-1])
    found, ours = timed(lambda: find_representatives(items, [], Matching(fragment_veto=False, kind=kind)))
    mine = {name for name, representative in found.items() if name == representative}
    return {
        "coevo_cpu_seconds": ours["cpu_seconds"],
        "mattergen_cpu_seconds": theirs["cpu_seconds"],
        "ratio_cpu": round(theirs["cpu_seconds"] / ours["cpu_seconds"], 1),
        "unique_coevo": len(mine),
        "unique_mattergen": len(theirs["unique"]),
        "unique_to_one": len(mine ^ set(theirs["unique"])),
    }


def compare_hulls(crystals: list[Crystal]) -> dict[str, Any]:
    """E_hull of every entry by coevo and by pymatgen, from compositions; elements are added where none was drawn."""
    from pymatgen.analysis.phase_diagram import PDEntry, PhaseDiagram
    from pymatgen.core import Composition

    from coevo.analysis.composition import fractions
    from coevo.analysis.hull.hull import Hull

    compositions = [c.structure.composition for c in crystals] + [Composition(element) for element in ELEMENTS]
    energies = np.array([c.energy_per_atom for c in crystals] + [-1.9, -5.4, -4.1])

    def ours() -> Any:
        x = fractions(compositions, ELEMENTS)
        return Hull.from_points(ELEMENTS, x, energies).energy_above_hull(x, energies)

    def theirs() -> Any:
        entries = [PDEntry(c, e * c.num_atoms) for c, e in zip(compositions, energies, strict=True)]
        diagram = PhaseDiagram(entries)
        return np.array([diagram.get_e_above_hull(entry) for entry in entries])

    x = fractions(compositions, ELEMENTS)
    _, arrays = median_of(lambda: Hull.from_points(ELEMENTS, x, energies).energy_above_hull(x, energies), 5)
    mine, whole = median_of(ours, 5)
    other, peer = median_of(theirs, 3)
    return {
        "coevo_cpu_seconds": whole,
        "coevo_from_arrays_cpu_seconds": arrays,
        "pymatgen_cpu_seconds": peer,
        "ratio_cpu": round(peer / whole, 1),
        "ratio_cpu_from_arrays": round(peer / arrays, 1),
        "largest_difference_ev_per_atom": float(np.abs(mine - other).max()),
    }


def compare_entropies(crystals: list[Crystal], n: int) -> dict[str, Any]:
    """Entropy of n environments by coevo and by quests, on the same descriptors."""
    import numba
    from quests.entropy import entropy as quests_entropy

    from coevo.analysis.environments.descriptors import descriptors_of
    from coevo.analysis.environments.entropy import entropy

    X, _ = descriptors_of([c.structure for c in crystals])
    if len(X) < n:
        raise SystemExit(f"the {len(crystals)} crystals have {len(X)} environments; {n} are needed")
    sample = X[np.sort(np.random.default_rng(0).choice(len(X), size=n, replace=False))]
    quests_entropy(sample[:50], h=BANDWIDTH)
    threads = numba.get_num_threads()
    mine, ours = median_of(lambda: entropy(sample, BANDWIDTH), 3)
    _, all_cores = median_of(lambda: quests_entropy(sample, h=BANDWIDTH), 3)
    numba.set_num_threads(1)
    other, theirs = median_of(lambda: quests_entropy(sample, h=BANDWIDTH), 3)
    numba.set_num_threads(threads)
    return {
        "coevo_cpu_seconds": ours,
        "quests_cpu_seconds": theirs,
        "quests_all_cores_cpu_seconds": all_cores,
        "ratio_cpu": round(theirs / ours, 2),
        "entropy_nats": float(mine),
        "difference_nats": float(abs(mine - other)),
    }


def energies_for(crystals: list[Crystal]) -> np.ndarray:
    """Energies of the hull's timing: those of the relaxed crystals, drawn again for the others (eV/atom)."""
    known = np.array([c.energy_per_atom for c in crystals])
    relaxed = known[np.isfinite(known)]
    return np.where(np.isfinite(known), known, np.random.default_rng(0).choice(relaxed, len(known)))


def grow(pool: Path, n: int) -> dict[str, Any]:
    """Everything that curation does with n structures, on all cores; to be run in a process of its own."""
    from coevo.analysis.comparison.fingerprint_table import FingerprintTable, fingerprints
    from coevo.analysis.comparison.grouping import group
    from coevo.analysis.comparison.matching import Matching
    from coevo.analysis.comparison.uniqueness import in_order
    from coevo.analysis.composition import fractions
    from coevo.analysis.environments.descriptors import descriptors_of
    from coevo.analysis.environments.entropy import sampled_entropy
    from coevo.analysis.hull.hull import Hull
    from workloads.curation_pool import crystals

    workers = os.cpu_count() or 1
    found, read = timed(lambda: crystals(pool, n))
    items = in_order(items_of(found))
    report: dict[str, Any] = {"structures": n, "environments": sum(len(c.structure) for c in found), "read": read}
    table, report["fingerprints"] = timed(lambda: fingerprints(items, workers=workers))
    groups, report["groups"] = timed(lambda: group(table, 0, Matching(fragment_veto=False), workers=workers))
    report["unique"] = int((groups == np.arange(n)).sum())
    report["grouping_wall_seconds"] = round(report["fingerprints"]["wall_seconds"] + report["groups"]["wall_seconds"], 2)
    if n <= VETO_SIZE:
        _, report["groups_with_fragment_veto"] = timed(lambda: group(table, 0, Matching(), workers=workers))
    stored = table.to_bytes()
    report["fingerprint_bytes_per_structure"] = round(len(stored) / n, 1)
    report["peak_gb_after_grouping"] = peak_gb()
    energies = energies_for(found)
    structures = [c.structure for c in found]
    x, report["fractions"] = timed(lambda: fractions(structures, ELEMENTS))
    pure = np.concatenate([x, np.eye(len(ELEMENTS))])
    points = np.concatenate([energies, [-1.9, -5.4, -4.1]])
    _, report["hull"] = timed(lambda: Hull.from_points(ELEMENTS, pure, points).energy_above_hull(x, energies))
    (X, _), report["descriptors"] = timed(lambda: descriptors_of(structures, workers=workers))
    _, report["entropy_of_5_samples_of_2000"] = timed(lambda: sampled_entropy(X, 2000, BANDWIDTH, subsamples=5, seed=0))
    report["peak_gb"] = peak_gb()
    if n > BATCH:
        order = np.random.default_rng(1).permutation(n)
        known, batch = np.sort(order[BATCH:]), np.sort(order[:BATCH])
        fresh = [items[k] for k in batch]

        def add() -> Any:
            node = FingerprintTable.from_bytes(stored).take(known)
            both = FingerprintTable.joined([node, fingerprints(fresh)])
            return group(both, len(node), Matching(fragment_veto=False))

        _, report[f"batch_of_{BATCH}_against_stored"] = timed(add)
    return report


def peak_gb() -> float:
    """Sum of the largest resident memory of this process and of each of its workers so far."""
    peaks = [re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{p.pid}/status").read_text()) for p in processes()]
    return round(sum(int(peak[1]) for peak in peaks if peak) / 2**20, 3)


def measure_recall(crystals: list[Crystal]) -> dict[str, Any]:
    """Pairs in one group with and without the cut-off, and how far apart matching crystals are."""
    from dataclasses import replace

    from coevo.analysis.comparison.fingerprint_table import fingerprints
    from coevo.analysis.comparison.grouping import group
    from coevo.analysis.comparison.matching import DISTANCE_CUTOFF, Matching
    from coevo.analysis.comparison.uniqueness import in_order

    workers = os.cpu_count() or 1
    table = fingerprints(in_order(items_of(crystals)), workers=workers)
    plain = Matching(fragment_veto=False)
    every, exact = timed(lambda: group(table, 0, replace(plain, distance_cutoff=None), workers=workers))
    cut, fast = timed(lambda: group(table, 0, plain, workers=workers))
    matched = np.flatnonzero(every != np.arange(len(table)))
    gaps = [float(np.abs(np.subtract(*table.distances_of([row, every[row]]))).max()) for row in matched.tolist()]
    everything, kept = (pairs({str(row): str(r) for row, r in enumerate(found.tolist())}) for found in (every, cut))
    return {
        "structures": len(table),
        "cutoff": DISTANCE_CUTOFF,
        "all_pairs": exact,
        "with_cutoff": fast,
        "matches": len(matched),
        "pairs": len(everything),
        "recall_of_cutoff": len(everything & kept) / len(everything) if everything else 1.0,
        "precision_of_cutoff": len(everything & kept) / len(kept) if kept else 1.0,
        "distance_of_matches_quantiles": {
            str(q): round(float(np.quantile(gaps, q)), 4) for q in (0.5, 0.9, 0.99, 0.999, 1.0) if gaps
        },
    }


def exponent(growth: dict[str, Any], of: Callable[[dict[str, Any]], float]) -> float | None:
    """Slope of log cost against log size, between the first and the last size."""
    sizes = sorted(growth, key=int)
    if len(sizes) < 2:
        return None
    first, last = growth[sizes[0]], growth[sizes[-1]]
    return round(float(np.log(of(last) / of(first)) / np.log(int(sizes[-1]) / int(sizes[0]))), 2)


def headline(report: dict[str, Any]) -> dict[str, Any]:
    """The numbers that the aims are about."""
    peers, growth = report.get("peers", {}), report.get("growth", {})
    found: dict[str, Any] = {}
    if largest := peers.get("groups", {}).get("2000"):
        found["grouping_ratio_2000"] = largest["ratio_cpu"]
        found["grouping_ratio_2000_wall_all_cores"] = largest["ratio_wall_all_cores"]
        found["pair_recall"], found["pair_precision"] = largest["pair_recall"], largest["pair_precision"]
        one_by_one = 1e-3 * peers["fit"]["pairs_of_one_formula"] * peers["fit"]["cpu_ms_per_fit"]
        found["grouping_ratio_2000_pairwise_fit"] = round(one_by_one / largest["coevo"]["cpu_seconds"], 1)
        found["hull_ratio"] = peers["hull"]["2000"]["ratio_cpu"]
        found["hull_ratio_from_arrays"] = peers["hull"]["2000"]["ratio_cpu_from_arrays"]
    if "10000" in peers.get("entropy", {}):
        found["entropy_ratio_10000"] = peers["entropy"]["10000"]["ratio_cpu"]
    if big := growth.get("70000"):
        found["seconds_70000"] = big["grouping_wall_seconds"]
        found["hull_seconds_70000"] = round(big["hull"]["cpu_seconds"], 3)
        found["hull_and_fractions_seconds_70000"] = round(big["fractions"]["cpu_seconds"] + big["hull"]["cpu_seconds"], 3)
        found["peak_gb_70000"] = big["peak_gb"]
    for name, of in {
        "exponent_fingerprints": lambda row: row["fingerprints"]["cpu_seconds"],
        "exponent_groups": lambda row: row["groups"]["cpu_seconds"],
        "exponent_grouping": lambda row: row["fingerprints"]["cpu_seconds"] + row["groups"]["cpu_seconds"],
        "exponent_memory": lambda row: row["peak_gb"],
    }.items():
        found[name] = exponent(growth, of)
    return found


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pool", type=Path, default=Path("curation-pool"), help="directory of the crystals")
    parser.add_argument("--parts", nargs="*", default=["peers", "growth", "recall"], choices=["peers", "growth", "recall"])
    parser.add_argument("--peer-sizes", nargs="+", type=int, default=list(PEER_SIZES))
    parser.add_argument("--growth-sizes", nargs="+", type=int, default=list(GROWTH_SIZES))
    parser.add_argument("--mattergen", type=Path, metavar="PYTHON", help="interpreter of an environment that has MatterGen")
    parser.add_argument("--mattergen-sizes", nargs="+", type=int, default=[200, 600])
    parser.add_argument("--recall-size", type=int, default=10_000)
    parser.add_argument("--output", type=Path, default=RESULT)
    parser.add_argument("--plot", type=Path, help="write the plot here")
    parser.add_argument("--grow", type=int, help=argparse.SUPPRESS)
    return parser.parse_args()


def measure_peers(pool: Path, sizes: list[int]) -> dict[str, Any]:
    from workloads.curation_pool import crystals

    peers: dict[str, Any] = {"groups": {}, "hull": {}, "entropy": {}}
    for n in sizes:
        some = crystals(pool, n)
        if not all(np.isfinite(c.energy_per_atom) for c in some):
            raise SystemExit(f"of the first {n} crystals in {pool} not all are relaxed")
        peers["groups"][str(n)] = compare_groups(some)
        peers["hull"][str(n)] = compare_hulls(some)
        print(json.dumps({"n": n, "groups": peers["groups"][str(n)], "hull": peers["hull"][str(n)]}), flush=True)
    peers["fit"] = compare_fits(some, 500)
    for n in ENTROPY_SIZES:
        peers["entropy"][str(n)] = compare_entropies(some, n)
        print(json.dumps({"environments": n, **peers["entropy"][str(n)]}), flush=True)
    return peers


def measure_growth(pool: Path, sizes: list[int]) -> dict[str, Any]:
    found = {}
    for n in sizes:
        command = [sys.executable, "-W", "ignore", __file__, "--pool", str(pool), "--grow", str(n)]
        output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        found[str(n)] = json.loads(output.splitlines()[-1])
        print(output.splitlines()[-1], flush=True)
    return found


def main() -> None:
    """Run the benchmark and write its result; parts that are not run are kept from the last record."""
    chosen = options()
    warnings.simplefilter("ignore")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    if chosen.grow:
        print(json.dumps(grow(chosen.pool, chosen.grow)))
        return
    from workloads.curation_pool import build, crystals

    most = max([*chosen.peer_sizes, *(chosen.growth_sizes if "growth" in chosen.parts else [0]), chosen.recall_size])
    if not chosen.pool.exists():
        build(chosen.pool, 2050, most, os.cpu_count() or 1)
    report: dict[str, Any] = json.loads(chosen.output.read_text()) if chosen.output.is_file() else {}
    if "peers" in chosen.parts:
        report["peers"] = measure_peers(chosen.pool, chosen.peer_sizes)
    if chosen.mattergen:
        report["mattergen"] = {
            kind: {
                str(n): compare_with_mattergen(crystals(chosen.pool, n), chosen.mattergen, kind) for n in chosen.mattergen_sizes
            }
            for kind in ("ordered", "disordered")
        }
        print(json.dumps(report["mattergen"]), flush=True)
    if "recall" in chosen.parts:
        report["recall"] = measure_recall(crystals(chosen.pool, chosen.recall_size))
        print(json.dumps(report["recall"]), flush=True)
    if "growth" in chosen.parts:
        report["growth"] = measure_growth(chosen.pool, chosen.growth_sizes)
    report = {
        "benchmark": "curation",
        "date": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "machine": {"cores": os.cpu_count(), "processor": platform.machine(), "python": platform.python_version()},
        "versions": {name: importlib.metadata.version(name) for name in VERSIONS},
        **headline(report),
        **{part: report[part] for part in ("peers", "mattergen", "recall", "growth") if part in report},
    }
    chosen.output.parent.mkdir(parents=True, exist_ok=True)
    chosen.output.write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps({key: value for key, value in report.items() if not isinstance(value, dict)}, indent=2))
    if chosen.plot:
        from workloads.curation_plot import draw

        draw(report, chosen.plot)


if __name__ == "__main__":
    main()
