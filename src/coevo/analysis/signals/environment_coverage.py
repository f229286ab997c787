"""Whether a node still finds new environments: the rule on the shares of atoms that are far from all older ones."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Any, Literal

from coevo.analysis.intervals import CONFIDENCE, wilson

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Verdict = tuple[Literal["flat", "not flat", "no signal"], str, Literal["", "short", "moving", "few atoms", "not calibrated"]]


def atoms_wanted(tolerance: float) -> int:
    """Atoms among which none must be found before Wilson's upper limit of the share is within the tolerance: z² (1 - p) / p."""
    from scipy.special import ndtri

    z = float(ndtri(0.5 + CONFIDENCE / 2))
    return ceil(z * z * (1.0 - tolerance) / tolerance)


@dataclass(frozen=True)
class Pooled:
    """Atoms of one element that iterations brought together.

    Attributes
    ----------
    symbol : str
    first, last : int
        Iterations, the earliest and the latest of them.
    n : int
        Atoms looked at, each compared with all older ones of its own iteration.
    fraction, low, high : float
        Share of them that are far, and Wilson's 95 % interval; 0 to 1 without an atom.
    """

    symbol: str
    first: int
    last: int
    n: int
    fraction: float
    low: float
    high: float

    def words(self) -> str:
        """``1.5 % of Li (95 %: 0.7 to 3.2) in iterations 3 to 5``."""
        share = f"{100 * self.fraction:.1f} % of {self.symbol} (95 %: {100 * self.low:.1f} to {100 * self.high:.1f})"
        return f"{share} {self.where()}"

    def where(self) -> str:
        """``in iteration 3``, ``in iterations 3 to 5``."""
        return f"in iteration {self.last}" if self.first == self.last else f"in iterations {self.first} to {self.last}"


def pooled(
    course: Sequence[tuple[int, Mapping[str, Mapping[str, Any]]]], symbol: str, tolerance: float
) -> tuple[Pooled, Literal["flat", "moving", "few atoms"]]:
    """Count the atoms of the last iteration, and of those before it, until they are enough to say which side of a tolerance.

    Flat once Wilson's upper limit is within it; moving once the share is above it in :func:`atoms_wanted` atoms or more, or the
    lower limit is above it in fewer; few atoms where all iterations together say neither.

    Parameters
    ----------
    course : sequence of (int, mapping)
        Iterations, ascending, with the share of each element; at least one.
    symbol : str
    tolerance : float
    """
    wanted, count, n = atoms_wanted(tolerance), 0, 0
    found = Pooled(symbol, course[-1][0], course[-1][0], 0, 0.0, 0.0, 1.0)
    for number, shares in reversed(course):
        share = shares.get(symbol) or {"count": 0, "n": 0}
        count, n = count + share["count"], n + share["n"]
        fraction, limits = (count / n, wilson(count, n)) if n else (0.0, (0.0, 1.0))
        found = Pooled(symbol, number, course[-1][0], n, fraction, *limits)
        if found.high <= tolerance:
            return found, "flat"
        if found.low > tolerance or (n >= wanted and found.fraction > tolerance):
            return found, "moving"
    return found, "few atoms"


def judged(calibration: Mapping[str, Any] | None, coverage: Mapping[str, Any] | None, tolerance: float, patience: int) -> Verdict:
    """Judge the shares of the last ``patience + 1`` iterations, each element by itself.

    An iteration of too few atoms is counted together with those before it (:func:`pooled`). Flat: Wilson's upper limit of each
    share is within the tolerance. Not flat: one share is above it. Otherwise there is no signal, with the number of atoms that
    there are and the number wanted, or with the limit.

    Parameters
    ----------
    calibration, coverage : mapping or None
        Metrics ``environment_calibration`` and ``environment_coverage`` of the state.
    tolerance : float
    patience : int

    Returns
    -------
    status, reason, cause : str
        As :class:`coevo.analysis.signals.maturity.Signal` has them.
    """
    if not calibration or calibration.get("delta") is None or not coverage:
        why = (calibration or {}).get("reason") or "environments are not calibrated; the next transition does it"
        return "no signal", f"no signal: {why}", "not calibrated"
    course = sorted((int(number), shares) for number, shares in coverage["iterations"].items())
    if len(course) <= patience:
        return (
            "no signal",
            f"no signal: candidates of {len(course)} iterations are known, {patience + 1} are needed",
            "short",
        )
    symbols = dict.fromkeys(symbol for _, shares in course for symbol in shares)
    ends = range(len(course) - patience, len(course) + 1)
    rows = [pooled(course[:end], symbol, tolerance) for end in ends for symbol in symbols]
    far = f"further than {calibration['delta90']:.3g} 1/Å from all older ones"
    mixed = mixed_words(calibration)
    moving = [row for row, verdict in rows if verdict == "moving"]
    few = [row for row, verdict in rows if verdict == "few atoms"]
    if moving:
        words = ", ".join(row.words() for row in sorted(moving, key=lambda row: -row.fraction)[:3])
        return "not flat", f"not flat: atoms {far}: {words} ({100 * tolerance:.3g} % is flat){mixed}", "moving"
    if few:
        return "no signal", f"no signal: {_few_words(few, far, tolerance)}{mixed}", "few atoms"
    worst = max((row for row, _ in rows), key=lambda row: row.high)
    over = f"over iterations {min(row.first for row, _ in rows)} to {course[-1][0]}"
    return "flat", f"flat: atoms {far}: at most {worst.words()}, {over}{mixed}", ""


def _few_words(rows: Sequence[Pooled], far: str, tolerance: float) -> str:
    """Say what is lacking: atoms, or an upper limit within the tolerance."""
    wanted, least = atoms_wanted(tolerance), min(rows, key=lambda row: row.n)
    if least.n < wanted:
        return (
            f"{least.n} atoms of {least.symbol} {least.where()}; {wanted} of each element are needed, so that none {far} means "
            f"at most {100 * tolerance:.3g} %"
        )
    worst = max(rows, key=lambda row: row.high)
    return f"atoms {far}: {worst.words()}, of {worst.n} atoms; the upper limit of flat is {100 * tolerance:.3g} %"


def mixed_words(calibration: Mapping[str, Any]) -> str:
    """Say which motifs of the references the kernel cannot tell apart: ``; not told apart: S in P2S7 and PS4 …``."""
    found = (calibration.get("told_apart") or {}).get("mixed") or []
    if not found:
        return ""
    first, more = found[0], f" and {len(found) - 1} more pairs" if len(found) > 1 else ""
    names = " and ".join(first["motifs"])
    return f"; not told apart: {first['element']} in {names} (mean kernel {first['mean_kernel']:.2f}){more}"
