"""How many atoms of a probe's low draws have an environment that neither the references nor earlier batches have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coevo.makers.signals.environment_calibration import known_calibration
from coevo.makers.signals.environment_coverage import MOST_LOOKED_AT
from coevo.node_store.seeds import seed_for

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pymatgen.core import Structure

    from coevo.flows.probe import Probe
    from coevo.node_store.views import StateView
    from coevo.studies.completeness.minima import Draw


def far_from_older(
    view: StateView, probe: Probe, low: Sequence[Draw], references: Sequence[Structure], workers: int
) -> dict[str, Any] | None:
    """Count, batch by batch, the atoms that are far from all older ones: the course of a population that does not learn.

    Returns
    -------
    dict or None
        ``distance`` (δ90 of the state, 1/Å) and ``batches``, of each the
        :class:`coevo.analysis.environments.distant.DistantShare` of each element; None of a state without a calibration.
    """
    from coevo.analysis.environments.distant import distant_shares

    node = probe.config.node
    calibration = known_calibration(view.document["metrics"], node.elements)
    if calibration is None:
        return None
    numbers = range(1, len(probe.batches) + 1)
    shares = distant_shares(
        [*references, *(draw.item.structure for draw in low)],
        [*(None for _ in references), *(draw.batch + 1 for draw in low)],
        numbers,
        elements=node.elements,
        neighbours=node.descriptor.neighbours,
        cutoff=node.descriptor.cutoff,
        distance=calibration["delta90"],
        limit=MOST_LOOKED_AT,
        seed=seed_for(node, 0, "distant-environments"),
        workers=workers,
    )
    batches = [{symbol: share.to_dict() for symbol, share in shares[number].items()} for number in numbers]
    return {"distance": calibration["delta90"], "batches": batches}
