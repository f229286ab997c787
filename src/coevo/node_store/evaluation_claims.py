"""What an evaluation claims beyond its numbers, held against what it follows from: formula, standing, the state's audit."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from coevo.configs.electrons import electron_excess

if TYPE_CHECKING:
    from collections.abc import Mapping

TOLERANCE = 1e-6
"""e-/atom."""
NOT_SUN = ("refuted", "in_doubt")
"""``hull_status`` of entries that are not S.U.N. however stable."""


def untrue_claim(evaluation: Mapping[str, Any], metrics: Mapping[str, Any]) -> str:
    """Say what an evaluation claims that cannot be so; empty if nothing is wrong.

    Parameters
    ----------
    evaluation : mapping
        Of an entry or reference.
    metrics : mapping
        Of its state.
    """
    said = evaluation.get("electron_excess")
    if said is not None:  # states of earlier versions do not say it
        found = _excess_of(evaluation["formula"])
        if found is None or not abs(said - found) <= TOLERANCE:
            return f"electron_excess: got {said:g}, {evaluation['formula']} has {'none' if found is None else f'{found:g}'}"
    status = evaluation.get("hull_status")
    if evaluation.get("is_sun") and status in NOT_SUN:
        return f"is_sun: got true of an entry that is {status.replace('_', ' ')}, allowed: false"
    verdict = evaluation.get("audit_verdict")
    if verdict is not None:
        audit = metrics.get("audit")
        relation = audit.get("relation") if isinstance(audit, dict) else None
        if relation != "independent":
            looked = "nobody looked" if relation is None else f"who looked is {str(relation)[:40]}"
            return f"audit_verdict: got {verdict}, and by the metrics of its state {looked}; allowed: of an independent auditor"
    return ""


@lru_cache(maxsize=4096)
def _excess_of(formula: str) -> float | None:
    from pymatgen.core import Composition

    return electron_excess(Composition(formula).get_el_amt_dict())
