"""A force field that took no part in a node judges its candidates as they were relaxed, and its S.U.N. entries.

Its hull is that of all known phases, those that the node was not told of among them: a node without Li2S calls much stable that
decomposes into it. Single points at the geometries of the state; those of known phases that are no reference, at the geometries
of their sources.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from local_run import cpu_seconds
from workloads.judges import STABLE, in_order, judge_named
from workloads.withheld import lineage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pymatgen.core import Structure

    from coevo.configs.references import ReferenceStructure
    from coevo.node_store.store import NodeStore


def judge_arm(
    store: NodeStore, node: str, targets: Sequence[ReferenceStructure], judge_name: str, wanted: int, seed: int
) -> dict[str, Any]:
    """Judge the candidates of each iteration, and the S.U.N. entries of the last state.

    Parameters
    ----------
    store : NodeStore
    node : str
    targets : sequence of ReferenceStructure
        Withheld phases.
    judge_name : str
        FAMILY:WEIGHTS, or dpa3:PATH.
    wanted : int
        Candidates of each iteration, of those that the state keeps as samples; and S.U.N. entries.
    seed : int

    Returns
    -------
    dict
        ``candidates``: of each iteration ``n``, quartiles of E_hull by the judge in eV/atom (``q25, q50, q75``), a 95 % interval
        of the median by the bootstrap, and ``stable``, ``interval`` (Wilson); ``sun``: of the state's S.U.N. entries that are no
        withheld phase, ``entries`` in all, ``n`` judged, and share ``stable`` with its ``interval``; ``judge_cpu_seconds``.
    """
    from coevo.makers.populations.population import hull_of, members
    from coevo.makers.step import read_records
    from coevo.node_store.canonical import structure_from_document
    from coevo.studies.rediscovery import rediscover

    view = lineage(store, node)[-1]
    known = [m.structure for m in members(view, "reference")] + [target.structure for target in targets]
    back = {found.best.entry.id for found in rediscover(view, targets, motifs=False) if found.best is not None}
    sun = in_order([m for m in members(view, "entry") if m.document["is_sun"] and m.id not in back], seed)
    samples = {
        iteration: [
            structure_from_document(row["structure"])
            for row in sorted(read_records(store, {"sha256": sha256}), key=lambda row: row["id"])[:wanted]
        ]
        for iteration, sha256 in sorted(view.manifest["samples"].items(), key=lambda item: int(item[0]))
    }
    asked: list[Structure] = [*known, *(m.structure for m in sun[:wanted]), *(s for group in samples.values() for s in group)]
    before = cpu_seconds()
    energies = [getattr(p, "energy", None) for p in judge_named(judge_name).evaluate(asked, workers=1)]
    cost = cpu_seconds() - before
    points = [(s, energy) for s, energy in zip(known, energies, strict=False) if energy is not None]
    if len(points) < len(known):
        raise SystemExit(f"{judge_name} gave no energy of a known phase, so it has no hull")
    hull = hull_of(view.document["elements"], points)
    values, start = [], len(known)
    for group in ([m.structure for m in sun[:wanted]], *samples.values()):
        values.append(_above(hull, group, energies[start : start + len(group)]))
        start += len(group)
    return {
        "judged_by": judge_name.rsplit("/", 1)[-1] if "/" in judge_name else judge_name,
        "judge_cpu_seconds": round(cost, 1),
        "sun": {"entries": len(sun), **_share(values[0])},
        "candidates": [
            {"iteration": int(i), **_quartiles(found, seed), **_share(found)}
            for i, found in zip(samples, values[1:], strict=True)
        ],
    }


def _above(hull: Any, structures: Sequence[Structure], energies: Sequence[float | None]) -> np.ndarray:
    """E_hull by the judge of those that it gave an energy, eV/atom."""
    from coevo.analysis.composition import fractions

    there = [(s, energy) for s, energy in zip(structures, energies, strict=True) if energy is not None]
    if not there:
        return np.empty(0)
    return np.asarray(hull.energy_above_hull(fractions([s for s, _ in there], hull.elements), [energy for _, energy in there]))


def _share(above: np.ndarray) -> dict[str, Any]:
    from coevo.analysis.intervals import wilson

    if not len(above):
        return {"n": 0, "stable": None, "interval": None}
    count = int((above <= STABLE).sum())
    return {"n": len(above), "stable": count / len(above), "interval": [round(x, 4) for x in wilson(count, len(above))]}


def _quartiles(above: np.ndarray, seed: int, draws: int = 1000) -> dict[str, Any]:
    if not len(above):
        return {}
    rng = np.random.default_rng(seed)
    medians = np.median(rng.choice(above, (draws, len(above))), axis=1)
    quartiles = {name: round(float(np.quantile(above, q)), 4) for name, q in (("q25", 0.25), ("q50", 0.5), ("q75", 0.75))}
    return {**quartiles, "q50_interval": [round(float(x), 4) for x in np.quantile(medians, (0.025, 0.975))]}
