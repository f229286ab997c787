"""What a state records of its environments at the node's resolution: shares of atoms far from all older ones, and entropies."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

from coevo.analysis.signals.environment_coverage import atoms_wanted
from coevo.makers.signals.environment_calibration import CALIBRATION
from coevo.node_store.seeds import seed_for
from coevo.output.progress import task

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from coevo.analysis.environments.distant import DistantShare
    from coevo.configs.tree import MaturityConfig, NodeSection

Record = dict[str, Any]

COVERAGE = "environment_coverage"
"""The metric of a state."""

MOST_LOOKED_AT = 2000
"""Atoms of an element in one of the iterations that maturity is judged by; a share of 2 % is known to 0.3 % then."""
MOST_BEFORE = 500
"""In an earlier iteration, whose share is told, and judged with those of later ones where these have too few atoms."""


def iterations_to_look_at(
    evaluations: Iterable[Mapping[str, Any]],
    geometries: Mapping[str, Record],
    generated: Iterable[int],
    elements: Sequence[str],
    maturity: MaturityConfig,
    *,
    every: bool,
) -> list[int]:
    """Iterations whose share a state records, ascending.

    Parameters
    ----------
    evaluations : iterable of dict
        Of the state; iterations that entries come from count.
    geometries : mapping of str to dict
        As in :func:`coverage_metrics`.
    generated : iterable of int
        Further iterations that made candidates.
    elements : sequence of str
    maturity : MaturityConfig
    every : bool
        All of them: no state before has recorded them. Otherwise those that maturity is judged by: the last ``patience + 1``, and
        of those before as many as it takes to have enough atoms of each element to count together, if they ever are enough.
    """
    atoms: dict[int, Counter[str]] = defaultdict(Counter)
    since = set(generated)
    for entry in evaluations:
        if entry["kind"] != "entry":
            continue
        since.add(entry["iteration_added"])
        if entry["duplicate_of"] is None:
            sites = geometries[entry["structure_id"]]["sites"]
            atoms[entry["iteration_added"]].update(site["species"][0]["element"] for site in sites)
    found = sorted(since - {0})
    judged = 0 if every else max(0, len(found) - maturity.patience - 1)
    enough = max(MOST_LOOKED_AT, 2 * atoms_wanted(maturity.coverage_tolerance))
    pool, limit = Counter[str](), MOST_LOOKED_AT
    for first in range(judged, 0, -1):
        pool.update({symbol: min(number, limit) for symbol, number in atoms[found[first]].items()})
        if all(pool[symbol] >= enough for symbol in elements):
            return found[first:]
        limit = MOST_BEFORE
    return found


def coverage_metrics(
    evaluations: Sequence[Record],
    geometries: Mapping[str, Record],
    node: NodeSection,
    maturity: MaturityConfig,
    calibration: Record,
    iterations: Sequence[int],
    iteration: int,
    *,
    workers: int,
) -> Record:
    """Measure the environments of a state at the resolution of its node.

    Parameters
    ----------
    evaluations : sequence of dict
        Evaluation documents of its entries and references; duplicates do not count.
    geometries : mapping of str to dict
        Present geometry of each, by its id, as a structure document.
    node : NodeSection
    maturity : MaturityConfig
    calibration : dict
        As :func:`coevo.makers.signals.environment_calibration.calibrated` gives it.
    iterations : sequence of int
        Whose shares are wanted, ascending.
    iteration : int
        Of the state, part of the seed.
    workers : int

    Returns
    -------
    dict
        The calibration and, unless it has no δ, ``environment_coverage``: ``distance`` (δ90) and ``bandwidth`` (δ), 1/Å;
        ``iterations``, of each the :class:`coevo.analysis.environments.distant.DistantShare` of each element; and ``entropy``
        (:func:`coevo.analysis.environments.resolved_entropy.resolved_entropies`).
    """
    from coevo.analysis.environments.distant import distant_shares
    from coevo.analysis.environments.resolved_entropy import resolved_entropies
    from coevo.node_store.canonical import structure_from_document

    if calibration["delta"] is None:
        return {CALIBRATION: calibration, COVERAGE: None}
    alive = {d["structure_id"]: d for d in evaluations if d["kind"] == "reference" or d["duplicate_of"] is None}
    ids = sorted(alive)
    structures = [structure_from_document(geometries[i]) for i in ids]
    since = [None if alive[i]["kind"] == "reference" else alive[i]["iteration_added"] for i in ids]
    description: dict[str, Any] = {
        "elements": node.elements,
        "neighbours": node.descriptor.neighbours,
        "cutoff": node.descriptor.cutoff,
        "workers": workers,
    }
    judged = iterations[-maturity.patience - 1 :]
    before = iterations[: -maturity.patience - 1]
    shares: dict[int, dict[str, DistantShare]] = {}
    with task("environments far from older ones", 2 * len(structures), "structures") as advance:
        for part, limit in ((before, MOST_BEFORE), (judged, MOST_LOOKED_AT)):
            shares |= distant_shares(
                structures,
                since,
                part,
                distance=calibration["delta90"],
                limit=limit,
                seed=seed_for(node, 0, "distant-environments"),
                progress=advance,
                **description,
            )
    entropy = resolved_entropies(
        [structure for structure, age in zip(structures, since, strict=True) if age is not None],
        maturity.environments,
        bandwidth=calibration["delta"],
        subsamples=maturity.subsamples,
        seed=seed_for(node, iteration, "resolved-entropy"),
        **description,
    )
    return {
        CALIBRATION: calibration,
        COVERAGE: {
            "distance": calibration["delta90"],
            "bandwidth": calibration["delta"],
            "iterations": {
                str(number): {symbol: share.to_dict() for symbol, share in shares[number].items()} for number in sorted(shares)
            },
            "entropy": entropy,
        },
    }
