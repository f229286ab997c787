"""What a state records of its environments at the node's resolution: shares of atoms far from all older ones, and entropies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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
"""In an earlier iteration, whose share is told and not judged."""


def iterations_to_look_at(
    evaluations: Iterable[Mapping[str, Any]], generated: Iterable[int], maturity: MaturityConfig, *, every: bool
) -> list[int]:
    """Iterations whose share a state records, ascending.

    Parameters
    ----------
    evaluations : iterable of dict
        Of the state; iterations that entries come from count.
    generated : iterable of int
        Further iterations that made candidates.
    maturity : MaturityConfig
    every : bool
        All of them: no state before has recorded them. Otherwise those that maturity is judged by.
    """
    since = {d["iteration_added"] for d in evaluations if d["kind"] == "entry"}
    found = sorted({*since, *generated} - {0})
    return found if every else found[-maturity.patience - 1 :]


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
