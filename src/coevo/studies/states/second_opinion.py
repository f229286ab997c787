"""What a state's second opinion says, in words and rows: of the state, of its members, and of one entry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coevo.output.plain_text import counted

if TYPE_CHECKING:
    from collections.abc import Mapping

ONE_FAMILY = "one family"


def opinion_words(metrics: Mapping[str, Any]) -> str:
    """One sentence: on whose word entries are S.U.N."""
    told = metrics.get("committee")
    if not told:
        return f"{ONE_FAMILY}: no second opinion (docs/force-fields.md)"
    agreement = told["agreement"]
    silent = sum(1 for member in told["members"].values() if member["reason"])
    members = counted(len(told["members"]), "members") + (f", {silent} of them without a say" if silent else "")
    if not agreement["independent"]:
        return f"{ONE_FAMILY}: {members}; none of another family with another training"
    confident, sun = agreement["confidently_sun"] or 0, agreement["sun"]
    return f"{members}; {confident} of {sun} S.U.N. entries confidently, by families with different training"


def sun_count_words(metrics: Mapping[str, Any]) -> str:
    """``(one family)`` or ``(3 confidently)``, behind a count of S.U.N. entries."""
    agreement = (metrics.get("committee") or {"agreement": {"independent": False}})["agreement"]
    return f"({agreement['confidently_sun'] or 0} confidently)" if agreement["independent"] else f"({ONE_FAMILY})"


def agreement_words(metrics: Mapping[str, Any]) -> str:
    """How many entries the voices call stable; empty where fewer than two have a say."""
    agreement = (metrics.get("committee") or {}).get("agreement")
    if not agreement or len(agreement["voices"]) < 2:
        return ""
    each = ", ".join(
        f"{'its force field' if name == 'force_field' else name} {count}"
        for name, count in zip(agreement["voices"], agreement["stable"], strict=True)
    )
    return f"of {agreement['compared']} entries all call {agreement['all']} stable, any {agreement['any']} ({each})"


def calibration_words(metrics: Mapping[str, Any]) -> str:
    """How the errors on the new labels went with what the members had said; empty if nothing was compared."""
    found = ((metrics.get("committee") or {}).get("calibration") or {}).get("energy")
    if not found:
        return ""
    rank = "no rank correlation" if found["spearman"] is None else f"rank correlation {found['spearman']:.2f}"
    ratio = "" if found["ratio"] is None else f", error over spread {found['ratio']:.1f}"
    return f"{counted(found['n'], 'new labels')}: {rank}{ratio}"


def opinion_rows(metrics: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Rows of the table of a state."""
    rows = [("second opinion", opinion_words(metrics))] if metrics.get("committee") else []
    rows += [
        (
            f"member {name}",
            f"{member['training']}" + (f"; no say: {member['reason']}" if member["reason"] else _fit_words(member)),
        )
        for name, member in (metrics.get("committee") or {"members": {}})["members"].items()
    ]
    if words := agreement_words(metrics):
        rows.append(("agreement", words))
    if words := calibration_words(metrics):
        rows.append(("calibration", words))
    if note := (metrics.get("selection") or {}).get("note"):
        rows.append(("selection", str(note)[:300]))
    return rows


def _fit_words(member: Mapping[str, Any]) -> str:
    fit = member.get("fit")
    if not fit:
        return ""
    return f"; {'fitted' if fit['adopted'] else 'kept as it was'}: {fit['reason']}"


def sun_words(row: Mapping[str, Any]) -> str:
    """On whose word an S.U.N. entry is one: ``confident``, ``disputed`` or ``one family``; empty in states of one model alone."""
    if not row.get("is_sun") or "energies_above_hull" not in row:
        return ""
    confident = row.get("is_confidently_sun")
    return ONE_FAMILY if confident is None else "confident" if confident else "disputed"


def entry_rows(row: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Rows of the table of one entry; none in states of one model alone."""
    values = row.get("energies_above_hull")
    if not values:
        return []
    spread = row.get("energy_above_hull_std")
    each = ", ".join(f"{name} {value:.4f}" for name, value in sorted(values.items()))
    return [("E_hull by members", f"{each} eV/atom" + ("" if spread is None else f"; standard deviation {spread:.4f} eV/atom"))]
