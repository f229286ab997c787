"""Which structures are audited: random parts of strata that the model's verdict alone makes.

Within a stratum the structures have an order, that of sha256 of their id and a seed, which is as good as a random one and stays
when others come or go. What is audited is always a *beginning* of that order, so it is a simple random sample of the
stratum as it is now, and whatever an earlier state audited of it counts without being computed again.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

STRATA = ("sun", "unstable", "rejected")
"""S.U.N. by the model; entries, no duplicates, that it calls unstable; relaxed candidates rejected by their energy alone."""

SHARES = {"sun": 0.6, "unstable": 0.2, "rejected": 0.2}
"""Of what is looked at anew."""


def model_energy_above_hull(document: Mapping[str, Any]) -> float:
    """E_hull by the model's own energy, eV/atom: also where the energy that counts in the state is that of a label."""
    above, by_model = float(document["energy_above_hull"]), document.get("model_energy_per_atom")
    return above if by_model is None else above + float(by_model) - float(document["energy_per_atom"])


def stratum_of(document: Mapping[str, Any], threshold: float) -> str | None:
    """Stratum of an evaluated entry, by the model's verdict alone.

    An entry that a label has refuted stays where its model puts it: without it, what is left would be right by selection.

    Parameters
    ----------
    document : mapping
        An evaluation.
    threshold : float
        E_hull up to which a structure is stable, eV/atom.

    Returns
    -------
    str or None
        None: a reference, a duplicate, or a known phase that is stable.
    """
    if document["kind"] != "entry" or document["duplicate_of"] is not None:
        return None
    if model_energy_above_hull(document) > threshold:
        return "unstable"
    return "sun" if document["is_novel"] else None


def order_of(ids: Collection[str], seed: int) -> list[str]:
    """Ids in the order of sha256(id, seed)."""
    return sorted(set(ids), key=lambda i: (hashlib.sha256(f"{i} {seed}".encode()).hexdigest(), i))


def draw(
    strata: Mapping[str, Collection[str]], audited: Collection[str], budget: int, seed: int
) -> tuple[dict[str, list[str]], list[str]]:
    """Draw from strata.

    The budget is given out one by one, each to the stratum that is furthest behind its share and is not all audited; so a larger
    budget only adds. What was audited already, and comes next in the order, joins the sample for nothing.

    Parameters
    ----------
    strata : mapping of str to collection of str
        Ids of each of :data:`STRATA`; a missing one is empty.
    audited : collection of str
        Ids that need not be computed again.
    budget : int
        How many may be computed.
    seed : int

    Returns
    -------
    samples : dict of str to list of str
        A beginning of the order of each stratum.
    new : list of str
        Those of them that have to be computed, in the order in which they were drawn.
    """
    there = frozenset(audited)
    orders = {name: order_of(strata.get(name, ()), seed) for name in STRATA}
    ends, spent = {name: _past(orders[name], 0, there) for name in STRATA}, dict.fromkeys(STRATA, 0)
    new: list[str] = []
    for number in range(1, budget + 1):
        unfinished = [name for name in STRATA if ends[name] < len(orders[name])]
        if not unfinished:
            break
        chosen = max(unfinished, key=lambda name: (SHARES[name] * number - spent[name], -STRATA.index(name)))
        new.append(orders[chosen][ends[chosen]])
        spent[chosen] += 1
        ends[chosen] = _past(orders[chosen], ends[chosen] + 1, there)
    return {name: orders[name][: ends[name]] for name in STRATA}, new


def _past(order: Sequence[str], start: int, audited: Collection[str]) -> int:
    """First place from a start on that was not audited."""
    while start < len(order) and order[start] in audited:
        start += 1
    return start
