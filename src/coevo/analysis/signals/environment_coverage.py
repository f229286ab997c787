"""Whether a node still finds new environments: the rule on the shares of atoms that are far from all older ones."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, Any, Literal

from coevo.analysis.intervals import CONFIDENCE

if TYPE_CHECKING:
    from collections.abc import Mapping

    Verdict = tuple[Literal["flat", "not flat", "no signal"], str, Literal["", "short", "moving", "few atoms", "not calibrated"]]


def atoms_wanted(tolerance: float) -> int:
    """Atoms among which none must be found before Wilson's upper limit of the share is within the tolerance: z² (1 - p) / p."""
    from scipy.special import ndtri

    z = float(ndtri(0.5 + CONFIDENCE / 2))
    return ceil(z * z * (1.0 - tolerance) / tolerance)


def judged(calibration: Mapping[str, Any] | None, coverage: Mapping[str, Any] | None, tolerance: float, patience: int) -> Verdict:
    """Judge the shares of the last ``patience + 1`` iterations, each element by itself.

    Flat: each share is within the tolerance and counted in enough atoms (:func:`atoms_wanted`). Not flat: one is above it, in
    enough atoms or so far above that Wilson's lower limit is too. Otherwise there is no signal, with the number of atoms wanted.

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
    window = sorted(((int(number), shares) for number, shares in coverage["iterations"].items()))[-patience - 1 :]
    if len(window) <= patience:
        return (
            "no signal",
            f"no signal: candidates of {len(window)} iterations are known, {patience + 1} are needed",
            "short",
        )
    wanted = atoms_wanted(tolerance)
    rows = [(number, symbol, share) for number, shares in window for symbol, share in shares.items()]
    moving = [row for row in rows if row[2]["n"] and _is_above(row[2], tolerance, wanted)]
    few = [row for row in rows if row[2]["n"] < wanted]
    far = f"further than {calibration['delta90']:.3g} 1/Å from all older ones"
    mixed = mixed_words(calibration)
    if moving:
        words = ", ".join(_words(*row) for row in sorted(moving, key=lambda row: -row[2]["fraction"])[:3])
        return "not flat", f"not flat: atoms {far}: {words} ({100 * tolerance:.3g} % is flat){mixed}", "moving"
    if few:
        number, symbol, share = min(few, key=lambda row: row[2]["n"])
        reason = (
            f"no signal: {share['n']} atoms of {symbol} in iteration {number}; {wanted} of each element are needed, so that none "
            f"{far} means less than {100 * tolerance:.3g} %{mixed}"
        )
        return "no signal", reason, "few atoms"
    worst = max(rows, key=lambda row: row[2]["fraction"])
    return "flat", f"flat: atoms {far}: at most {_words(*worst)} over {len(window)} iterations{mixed}", ""


def mixed_words(calibration: Mapping[str, Any]) -> str:
    """Say which motifs of the references the kernel cannot tell apart: ``; not told apart: S in P2S7 and PS4 …``."""
    found = (calibration.get("told_apart") or {}).get("mixed") or []
    if not found:
        return ""
    first, more = found[0], f" and {len(found) - 1} more pairs" if len(found) > 1 else ""
    names = " and ".join(first["motifs"])
    return f"; not told apart: {first['element']} in {names} (mean kernel {first['mean_kernel']:.2f}){more}"


def _is_above(share: Mapping[str, Any], tolerance: float, wanted: int) -> bool:
    return share["fraction"] > tolerance and (share["n"] >= wanted or share["low"] > tolerance)


def _words(number: int, symbol: str, share: Mapping[str, Any]) -> str:
    low, high = 100 * share["low"], 100 * share["high"]
    return f"{100 * share['fraction']:.1f} % of {symbol} (95 %: {low:.1f} to {high:.1f}) in iteration {number}"
