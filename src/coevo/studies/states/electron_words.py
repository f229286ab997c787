"""What is said of electrons beyond what elements can take (:mod:`coevo.configs.electrons`): of a state and of one entry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coevo.configs.electrons import has_electron_excess
from coevo.output.plain_text import counted

if TYPE_CHECKING:
    from collections.abc import Mapping

RULE = "more electrons than their elements can take"


def excess_rows(metrics: Mapping[str, Any]) -> list[tuple[str, str]]:
    """One row on the entries of a state; none in states of earlier versions, which did not count."""
    population = metrics["population"]
    found = population.get("electron_excess")
    if found is None:
        return []
    entries, sun = counted(population["entries"], "entries"), population.get("sun_electron_excess", 0)
    return [("electron excess", f"{found} of {entries}, {sun} of {population['sun']} S.U.N., hold {RULE}")]


def candidates_rows(counts: Mapping[str, Any]) -> list[tuple[str, str]]:
    """One row on the candidates of an iteration, from its counts."""
    found = counts.get("electron_excess")
    return [] if found is None else [("excess of them", f"{found} of {counts['relaxed']} relaxed hold {RULE}")]


def entry_excess_rows(row: Mapping[str, Any]) -> list[tuple[str, str]]:
    """One row on an entry or reference, from its evaluation."""
    if "electron_excess" not in row:
        return []
    value = row["electron_excess"]
    if value is None:
        words = "not counted: no oxidation state is known of one of its elements"
    elif has_electron_excess(value):
        words = f"{value:.3f} e⁻/atom more than its elements can take, by common oxidation states"
    else:
        words = "no excess, by common oxidation states"
    return [("electrons", words)]
