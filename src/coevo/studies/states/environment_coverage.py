"""What states record of environments at the resolution of their node: the course of the shares, and the calibration in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coevo.makers.signals.environment_calibration import CALIBRATION, recorded_calibration

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Metrics = Mapping[str, Any]

_SHOWN = 3
"""Pairs of motifs that are not told apart."""


def coverage_course(metrics: Sequence[Metrics]) -> dict[int, dict[str, Any]]:
    """Shares of atoms far from all older ones, by iteration and element.

    Parameters
    ----------
    metrics : sequence of mappings
        Of states, oldest first. Each records some iterations; what a later one says of an iteration counts.
    """
    found: dict[int, dict[str, Any]] = {}
    for document in metrics:
        recorded = document.get("environment_coverage") or {}
        found |= {int(number): dict(shares) for number, shares in (recorded.get("iterations") or {}).items()}
    return dict(sorted(found.items()))


def environment_words(metrics: Metrics) -> str:
    """Say at what resolution a state looks at environments and what made it; empty for one that is not calibrated."""
    if not metrics.get(CALIBRATION):
        return ""
    found = recorded_calibration(metrics)
    if found is None:
        return "not calibrated: what the state records is none that coevo makes; the next transition calibrates"
    if found["delta"] is None:
        return f"not calibrated: {found['reason']}"
    crystals = ", ".join(f"{row['formula']} {row['delta']:.3f}" for row in found["crystals"])
    lost = "".join(f"; {row['formula']} left out: {row['reason']}" for row in found["left_out"])
    lacking = f"; none holds {', '.join(found['not_held'])}" if found["not_held"] else ""
    quests = found["quests"]
    words = (
        f"two environments differ by more than δ = {found['delta']:.3f} 1/Å, which sites wander at {found['temperature']:.0f} K "
        f"by the force field {found['force_field'][:12]} (median of {crystals}{lost}{lacking}), surely by more than δ90 = "
        f"{found['delta90']:.3f}; QUESTS takes {quests['bandwidth']:.3g}, and {quests['of_volume']:.3f} for the volume"
    )
    return f"{words}; {_told_apart(found['told_apart'])}{_merged(found)}"


def _told_apart(found: Mapping[str, Any]) -> str:
    if not found["pairs"]:
        return "no two kinds of motifs in the references to tell apart"
    mixed = found["mixed"]
    pairs = f"{found['pairs'] - len(mixed)} of {found['pairs']} pairs of motifs in the references are told apart"
    left = f" ({found['left_out']} motifs not compared)" if found["left_out"] else ""
    if not mixed:
        return pairs + left
    shown = ", ".join(f"{row['element']} in {' and '.join(row['motifs'])} ({row['mean_kernel']:.2f})" for row in mixed[:_SHOWN])
    more = f" and {len(mixed) - _SHOWN} more" if len(mixed) > _SHOWN else ""
    return f"{pairs}{left}, not (mean kernel): {shown}{more}"


def _merged(found: Mapping[str, Any]) -> str:
    """Of a merge: what each parent had."""
    if "merged" not in found:
        return ""
    parents = ", ".join("none" if one is None else f"{one['delta']:.3f} by {one['force_field'][:12]}" for one in found["merged"])
    return f"; of the merged states: δ = {parents}"
