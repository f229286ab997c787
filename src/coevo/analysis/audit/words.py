"""What an audit says, in words: the one place that says who looked, and what that may be called.

*Audited* is said of first-principles labels that took no part in training, *agreed* of another force field that took none. What
the labeller says of a state that learned from it is agreement with the labeller and nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

NOT_AUDITED = "S.U.N. by the model alone, not audited"

BY_THE_MODEL = "S.U.N.: by the model alone"
"""Beside numbers and marks of S.U.N. entries that no auditor's stand beside."""

STRATUM_WORDS = {"sun": "S.U.N. by the model", "unstable": "entries not stable", "rejected": "candidates rejected by energy"}
"""What the strata of :data:`coevo.analysis.audit.draw.STRATA` are called."""


def who_looked(told: Mapping[str, Any]) -> str:
    """Who looked, and in which capacity: ``audited by espresso PBE``, ``agreed by FAMILY/WEIGHTS``, ``agreement with …``."""
    shared = told.get("shared_data")
    words = _looked(told)
    if told["relation"] != "independent" or not shared:
        return words
    return f"{words} (its data, {str(shared)[:200].replace('+', ' and ')}, are those of the state's force field too)"


def _looked(told: Mapping[str, Any]) -> str:
    auditor = told["auditor"]
    name = str(auditor["name"])
    if told["relation"] == "labeller":
        return f"agreement with the labeller, {name}"
    if told["relation"] != "independent":
        return f"agreement with {name}, of which it is not known that it took no part in training"
    if auditor["kind"] != "first_principles":
        return f"agreed by {name}"
    return f"audited by {name} {auditor['functional']}".rstrip()


def audit_title(metrics: Mapping[str, Any]) -> str:
    """What the row that holds :func:`audit_words` is called: ``audited``, ``agreed``, ``agreement`` or ``not audited``."""
    told = metrics.get("audit")
    return who_looked(told).split()[0] if told and told.get("precision") else "not audited"


def audit_words(metrics: Mapping[str, Any]) -> str:
    """How many of the model's S.U.N. entries are stable by who took no part, with 95 % intervals; or that nobody looked.

    Parameters
    ----------
    metrics : mapping
        Of a state.
    """
    told, sun = metrics.get("audit"), metrics["population"]["sun"]
    if not told:
        return f"{sun} {NOT_AUDITED}"
    found = told.get("precision")
    if told["reason"] or not found:
        return f"{sun} {NOT_AUDITED}: {told['reason'] or 'no entry is S.U.N. by the model'}"
    low, high = told["sun"]["interval"]
    undecided = found["high_count"] - found["low_count"]
    count, share = _range(told["sun"]["count"], told["sun"]["high"], 0), _range(found["share"], found["share_high"], 2)
    ends = [f"{end:.2f}" for end in found["interval"]]
    return (
        f"{who_looked(told)}: {count} ({low:.0f} to {high:.0f}) of {found['population']} S.U.N. by the model; precision {share} "
        f"({ends[0]} to {ends[1]}, 95 %), {found['n']} looked at"
        + (f", {undecided} of them undecided" if undecided else "")
        + "".join(f"; {words}" for words in (_limits(told), _references(told)) if words)
    )


def _limits(told: Mapping[str, Any]) -> str:
    auditor = told["auditor"]
    if auditor["kind"] != "first_principles":
        return ""
    if _relaxes(auditor):
        steps = auditor["relaxed"].get("steps")
        return f"relaxed by at most {steps} steps of its own: what is not relaxed by then can be confirmed and not rejected"
    return "by single points of structures and references that it did not relax: these can confirm and not reject"


def _relaxes(auditor: Mapping[str, Any]) -> bool:
    """Whether an auditor relaxes: a force field does, a code where it was told how many steps."""
    return auditor["kind"] != "first_principles" or isinstance(auditor.get("relaxed"), dict)


def _references(told: Mapping[str, Any]) -> str:
    """How many references are missing on the auditor's hull, and how many are there as they were."""
    counts = told.get("references") or {"asked": 0, "answered": 0, "not_relaxed": 0}
    silent, asked = counts["asked"] - counts["answered"], counts["asked"]
    loose = counts["not_relaxed"] if _relaxes(told["auditor"]) else 0
    parts = [
        f"{silent} of {asked} references without an energy, what has their elements is not called stable" if silent else "",
        f"{loose} of {asked} references not relaxed to the end" if loose else "",
    ]
    return "; ".join(filter(None, parts))


def count_words(metrics: Mapping[str, Any]) -> str:
    """The number alone, for a column: ``agreed 41 (32 to 48)``; empty where nobody looked."""
    told = metrics.get("audit")
    if not told or not told.get("precision"):
        return ""
    low, high = told["sun"]["interval"]
    return f"{audit_title(metrics)} {_range(told['sun']['count'], told['sun']['high'], 0)} ({low:.0f} to {high:.0f})"


def error_words(metrics: Mapping[str, Any]) -> str:
    """How often the model's verdicts were wrong, by who looked, and by how much its E_hull was off; empty where nobody looked."""
    told = metrics.get("audit")
    if not told or told["reason"] or not told.get("strata"):
        return ""
    parts = [_rate(told["false_stable"], "false stable"), _rate(told["false_unstable"], "false unstable")]
    off = [
        f"{words} {1000 * told['strata'][name]['error']['mean']:+.0f}"
        for name, words in STRATUM_WORDS.items()
        if told["strata"][name]["error"]["n"]
    ]
    parts.append(f"mean E_hull less the auditor's: {', '.join(off)} meV/atom" if off else "")
    excess = told.get("electron_excess")
    parts.append(f"with an electron excess {excess['low_count']} of {excess['n']} are stable" if excess else "")
    failed = ", ".join(f"{count} {reason}" for reason, count in told["failed"].items())
    parts.append(f"not relaxed or failed: {failed}" if failed else "")
    return "; ".join(filter(None, parts))


def audit_rows(metrics: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Rows of the table of a state."""
    rows = [(audit_title(metrics), audit_words(metrics))]
    return [*rows, ("model's errors", words)] if (words := error_words(metrics)) else rows


def entry_rows(row: Mapping[str, Any], metrics: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Rows of the table of an entry; none if nobody looked at it."""
    verdict, told = row.get("audit_verdict"), metrics.get("audit")
    if not verdict or not told:
        return []
    above = row.get("energy_above_hull_audit")
    energy = "no E_hull" if above is None else f"E_hull {above:.4f} eV/atom"
    single = "" if _relaxes(told["auditor"]) else ", single points"
    return [(_looked(told).split()[0], f"{verdict} ({_looked(told)}{single}): {energy}")]


def verdict_word(row: Mapping[str, Any]) -> str:
    """What the auditor says of an entry, beside ``S.U.N.``; empty where it did not look."""
    verdict = row.get("audit_verdict")
    return f"auditor: {verdict}" if isinstance(verdict, str) else ""


def _rate(found: Mapping[str, Any] | None, name: str) -> str:
    if not found:
        return ""
    low, high = found["interval"]
    share = _range(found["share"], found["share_high"], 2)
    return f"{name} {share} ({low:.2f} to {high:.2f}; {found['n']} looked at of {found['population']})"


def _range(low: float, high: float, digits: int) -> str:
    one, other = f"{low:.{digits}f}", f"{high:.{digits}f}"
    return one if one == other else f"{one} to {other}"
