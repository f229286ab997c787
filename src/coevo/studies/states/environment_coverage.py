"""What states record of environments at the resolution of their node: the course of the shares, and the calibration in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coevo.makers.signals.environment_calibration import CALIBRATION, recorded_calibration
from coevo.node_store.probes import noted_probe

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from coevo.node_store.backend import Backend
    from coevo.node_store.views import StateView

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


def probe_words(backend: Backend, states: Sequence[StateView]) -> str:
    """Say how new the atoms of a probe's last batch are, beside those of the node's last iteration; empty without a probe.

    Parameters
    ----------
    backend : Backend
    states : sequence of StateView
        The state and those that it continues, newest first: the newest that has a probe counts.
    """
    found = noted_probe(backend, states)
    if found is None:
        return ""
    course = coverage_course([state.document["metrics"] for state in reversed(states)])
    mine = f"; of the node's iteration {max(course)}: {_far(course[max(course)])}" if course else ""
    distance = (states[0].document["metrics"].get("environment_coverage") or {}).get("distance")
    other = "" if distance in (None, found["distance"]) else f" (the node now goes by {distance:.3f})"
    return (
        f"of {found['draws']} draws without parents in {found['batches']} batches (seed {found['seed']}), those within "
        f"{found['e_hull']:g} eV/atom by the force field of iteration {found['iteration']}, further than δ90 = "
        f"{found['distance']:.3f} 1/Å{other} from references and earlier batches, batch by batch: "
        f"{', '.join(_shares(found['far'], symbol) for symbol in found['far'][-1])}{mine}"
    )


def _shares(batches: Sequence[Metrics], symbol: str) -> str:
    """``Li 24, 3, 1.2 %``."""
    shares = [batch[symbol]["fraction"] for batch in batches]
    return f"{symbol} {', '.join('–' if share is None else f'{100 * share:.1f}' for share in shares)} %"


def _far(shares: Metrics) -> str:
    return ", ".join(_shares([shares], symbol) for symbol in shares) + " far from all older ones"


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
