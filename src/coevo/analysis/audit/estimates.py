"""What the audited samples say of their strata: shares with Wilson's interval, weighted where strata are joined.

A verdict is ``stable``, ``unstable`` or ``undecided``. Undecided structures make a share an interval by themselves: from none of
them to all of them. Wilson's interval is taken of both ends, and the outer bounds are reported.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from coevo.analysis.intervals import wilson

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

VERDICTS = ("stable", "unstable", "undecided")


@dataclass(frozen=True)
class Audited:
    """One structure that was looked at.

    Attributes
    ----------
    verdict : {"stable", "unstable", "undecided"}
    model, auditor : float or None
        E_hull, eV/atom; that of the auditor is None where it has none, or one of a structure that it did not relax.
    """

    verdict: str
    model: float
    auditor: float | None = None


@dataclass(frozen=True)
class Stratum:
    """A stratum and its sample.

    Attributes
    ----------
    population : int
        N_h.
    sample : sequence of Audited, length n_h
        A simple random sample without replacement.
    """

    population: int
    sample: Sequence[Audited]

    def count(self, verdict: str) -> int:
        """How many of the sample have a verdict."""
        return sum(each.verdict == verdict for each in self.sample)


def verdict_of(above: float | None, *, is_bound: bool, threshold: float) -> str:
    """Verdict on a structure.

    Parameters
    ----------
    above : float or None
        The auditor's E_hull, eV/atom; None where it failed.
    is_bound : bool
        Whether the structure is not relaxed by the auditor: its energy is an upper bound, which can confirm and never reject.
    threshold : float
        eV/atom.
    """
    if above is None:
        return "undecided"
    if above <= threshold:
        return "stable"
    return "undecided" if is_bound else "unstable"


def share(strata: Sequence[Stratum], verdict: str) -> dict[str, Any] | None:
    """Share of a verdict over strata together, each weighted by its size.

    With W_h = N_h/N the estimate is p = Σ W_h p_h, of variance Σ W_h² p_h(1 - p_h)/n_h, and Wilson's interval is taken of the
    number n of draws of one stratum that would have this variance, n = p(1 - p)/var (Korn and Graubard, Survey Methodology 1998,
    24, 193, with Wilson's interval in place of the exact one). For var and n the shares are those of Agresti and Coull,
    (k + 1)/(n_h + 2), so that samples of one verdict alone have an interval too; of one stratum n = n_h whatever they are.

    Parameters
    ----------
    strata : sequence of Stratum
        Empty ones do not count.
    verdict : str

    Returns
    -------
    dict or None
        ``low_count`` and ``high_count`` (of the verdict in the samples, without and with the undecided), ``n``,
        ``population``, ``share`` and ``share_high`` (equal where nothing is undecided), ``interval`` (95 %), ``effective_n``.
        None without structures, or where a stratum that has some has no sample: nothing is known of it.
    """
    there = [each for each in strata if each.population]
    if not there or not all(each.sample for each in there):
        return None
    sizes = np.array([len(each.sample) for each in there], dtype=float)
    weights = np.array([each.population for each in there], dtype=float)
    weights /= weights.sum()
    low = np.array([each.count(verdict) for each in there], dtype=float)
    high = low + [each.count("undecided") if verdict != "undecided" else 0 for each in there]
    ends, effective = [], []
    for counts in (low, high):
        p = float(np.clip(np.sum(weights * counts / sizes), 0.0, 1.0))
        n = _effective(weights, counts, sizes)
        ends.append((p, *wilson(p * n, n)))
        effective.append(n)
    return {
        "low_count": int(low.sum()),
        "high_count": int(high.sum()),
        "n": int(sizes.sum()),
        "population": sum(each.population for each in there),
        "share": ends[0][0],
        "share_high": ends[1][0],
        "interval": [ends[0][1], ends[1][2]],
        "effective_n": min(effective),
    }


def _effective(weights: Any, counts: Any, sizes: Any) -> float:
    """Draws of one stratum with the variance of the weighted estimate, at most those that were made."""
    if len(sizes) == 1:
        return float(sizes[0])
    smoothed = (counts + 1.0) / (sizes + 2.0)
    p = float(np.sum(weights * smoothed))
    variance = float(np.sum(weights**2 * smoothed * (1.0 - smoothed) / sizes))
    return min(p * (1.0 - p) / variance, float(sizes.sum()))


def errors(sample: Sequence[Audited]) -> dict[str, Any]:
    """Signed error of E_hull, model less auditor, over those with a value: ``n``, ``mean`` and ``median``, eV/atom."""
    found = np.array([each.model - each.auditor for each in sample if each.auditor is not None])
    if not len(found):
        return {"n": 0, "mean": None, "median": None}
    return {"n": len(found), "mean": float(found.mean()), "median": float(np.median(found))}


def _within_what_was_seen(sun: Stratum, interval: Sequence[float]) -> list[float]:
    """Interval of a number in this population, which what was counted bounds; where all were looked at, it is the count."""
    least, most = sun.count("stable"), sun.population - sun.count("unstable")
    return [float(min(max(sun.population * end, least), most)) for end in interval]


def estimates(strata: Mapping[str, Stratum]) -> dict[str, Any]:
    """What an audit says of a state.

    Parameters
    ----------
    strata : mapping of str to Stratum
        By the names of :data:`coevo.analysis.audit.draw.STRATA`.

    Returns
    -------
    dict
        ``precision`` (share of the model's S.U.N. that the auditor calls stable), ``sun`` (``count``, ``high`` and
        ``interval``: their number, N times the precision, in these N no fewer than were seen to be stable and no more than
        were not seen to be unstable), ``false_stable`` (share of the model's S.U.N. that it calls unstable),
        ``false_unstable`` (share of what the model calls unstable, entries and rejected candidates weighted by their numbers,
        that it calls stable), each as :func:`share` or None; ``strata`` (name to ``population``, ``n``, one count for each
        verdict, and ``error``).
    """
    sun, others = strata["sun"], [each for name, each in strata.items() if name != "sun"]
    precision = share([sun], "stable")
    return {
        "precision": precision,
        "sun": None
        if precision is None
        else {
            "count": sun.population * precision["share"],
            "high": sun.population * precision["share_high"],
            "interval": _within_what_was_seen(sun, precision["interval"]),
        },
        "false_stable": share([sun], "unstable"),
        "false_unstable": share(others, "stable"),
        "strata": {
            name: {
                "population": each.population,
                "n": len(each.sample),
                **{verdict: each.count(verdict) for verdict in VERDICTS},
                "error": errors(each.sample),
            }
            for name, each in strata.items()
        },
    }
