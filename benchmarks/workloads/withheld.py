"""Known phases that are kept from a node, and what became of them: found by structure, by anion, after how many relaxations."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from workloads.arms import read_clock

if TYPE_CHECKING:
    from collections.abc import Sequence

    from coevo.analysis.comparison.rediscovery import Rediscovery
    from coevo.configs.references import ReferenceStructure
    from coevo.node_store.store import NodeStore
    from coevo.node_store.views import StateView

FILE = Path(__file__).with_name("withheld.json")
LARGEST = 32
"""Atoms in the primitive cell of a withheld phase, at most."""


@dataclass(frozen=True)
class Chemistry:
    """A chemical system and the phases that its nodes are not told of.

    Attributes
    ----------
    elements : tuple of str
    references : str
        Bundled set of the references; those of :attr:`sets` that it holds are excluded from it.
    sets : dict
        Name of a set to the names of its phases, in the bundled set or in ``withheld.json``.
    """

    elements: tuple[str, ...]
    references: str
    sets: dict[str, tuple[str, ...]]

    @property
    def exclude(self) -> list[str]:
        """Names of withheld phases that the bundled set holds, as ``references.exclude`` takes them."""
        bundled = _bundled(self.references, self.elements)
        return sorted(name for names in self.sets.values() for name in names if name in bundled)

    def node(self) -> dict[str, Any]:
        """The sections of a node's configuration that say what it is of."""
        own = {"elements": list(self.elements), "references": self.references}
        return {"node": own, "references": {"exclude": self.exclude}}

    def targets(self) -> list[ReferenceStructure]:
        """All withheld phases, set by set."""
        from coevo.studies.rediscovery import load_targets

        others = {phase.name: phase for phase in load_targets(FILE, self.elements)[0]}
        known = others | _bundled(self.references, self.elements)
        return [known[name] for names in self.sets.values() for name in names]


CHEMISTRIES = {
    "li-p-s": Chemistry(
        ("Li", "P", "S"),
        "li-p-s",
        {
            "textbook": ("Li2S", "Li3P", "beta-Li3PS4 (ordered approximant)", "P2S5 (P4S10)", "mp-1125 Li2S (Pnma)"),
            "database": (
                "gamma-Li3PS4 (Pmn2_1)",
                "Li4P2S6 (P-31m)",
                "mp-1006118 P2S7 (P-1)",
                "mp-1189177 P2S3 (P2_1/m)",
                "mp-1469 P4S3 (Pnma)",
            ),
            "elements": ("P black", "mp-555760 S (P3_221)"),
        },
    ),
    "zn-s": Chemistry(
        ("S", "Zn"),
        "elements",
        {
            "polymorphs": (
                "ZnS zinc blende",
                "mp-560588 ZnS (P6_3mc)",
                "mp-10281 ZnS (P6_3mc)",
                "mp-9946 ZnS (P6_3mc)",
                "mp-1102743 ZnS2 (Pa-3)",
            )
        },
    ),
    "na-cl-o": Chemistry(
        ("Cl", "Na", "O"),
        "elements",
        {
            "salts": (
                "mp-22862 NaCl (Fm-3m)",
                "Na2O antifluorite",
                "mp-1901 NaO2 (Pnnm)",
                "mp-22968 NaClO4 (Cmcm)",
                "mp-23330 NaClO3 (P2_13)",
            )
        },
    ),
}


@cache
def _bundled(references: str, elements: tuple[str, ...]) -> dict[str, ReferenceStructure]:
    from coevo.configs.references import load_references

    return {phase.name: phase for phase in load_references(references, elements, complete=False)}


def lineage(store: NodeStore, node: str) -> list[StateView]:
    """States of the branch main of a node, the seed state first."""
    views = [store.state(f"{node}@main")]
    while views[-1].parents:
        views.append(store.state(f"{node}@{views[-1].parents[0]}"))
    return views[::-1]


def course(store: NodeStore, node: str, place: Path) -> list[dict[str, Any]]:
    """What an arm had after each iteration.

    Returns
    -------
    list of dict
        ``iteration``; ``relaxations`` (candidates that were to be relaxed, those that failed among them) and ``cpu_seconds``
        until then, the making of the node counted; ``entries, formulas, sun`` of the state; ``sampled`` of the iteration's
        candidates, and of these ``distinct`` structures, ``sampled_formulas`` and ``median_e_hull`` (eV/atom, by the state's
        force field on the hull of that state).
    """
    parts, relaxations, rows = read_clock(place), 0, []
    for view in lineage(store, node)[1:]:
        metrics, iteration = view.document["metrics"], view.iteration
        relaxations += metrics["iteration"]["candidates"]
        ruler = (metrics.get("ruler") or {}).get(str(iteration)) or {}
        spread = ruler.get("diversity") or {}
        rows.append(
            {
                "iteration": iteration,
                "relaxations": relaxations,
                "cpu_seconds": round(sum(part["cpu_seconds"] for part in parts if part["iteration"] <= iteration), 1),
                "entries": metrics["population"]["entries"],
                "formulas": metrics["diversity"]["formulas"],
                "sun": metrics["population"]["sun"],
                "sampled": ruler.get("n", 0),
                "distinct": spread.get("distinct"),
                "sampled_formulas": spread.get("formulas"),
                "median_e_hull": ruler.get("q50"),
            }
        )
    return rows


def relaxations(store: NodeStore, node: str) -> int:
    """Candidates of a node's iterations that were to be relaxed."""
    return sum(view.document["metrics"]["iteration"]["candidates"] for view in lineage(store, node)[1:])


def withheld_rows(view: StateView, targets: Sequence[ReferenceStructure], *, motifs: bool = True) -> list[dict[str, Any]]:
    """What became of known phases in a state.

    Returns
    -------
    list of dict
        ``name, formula, nsites``; ``told``: whether the state has it among its references; ``iteration``: the first that admitted
        an entry that is the phase, None if none did; ``anion``: the first iteration after which each of its motifs was in some
        entry, of whatever formula, None if one of them is in none or it has none; ``entries_of_formula``.
    """
    from coevo.studies.rediscovery import rediscover

    return [_row(found) for found in rediscover(view, targets, motifs=motifs)]


def _row(found: Rediscovery) -> dict[str, Any]:
    anions = [motif.first_iteration for motif in found.motifs or ()]
    everywhere = [first for first in anions if first is not None]
    return {
        "name": found.name,
        "formula": found.formula,
        "nsites": found.nsites,
        "told": found.reference is not None,
        "iteration": found.first_iteration,
        "anion": max(everywhere) if anions and len(everywhere) == len(anions) else None,
        "entries_of_formula": found.entries_of_formula,
    }


def withheld_count(view: StateView, chemistry: str = "li-p-s") -> dict[str, int]:
    """Of the withheld compounds of a chemistry those that a state was not told of: how many there are, and how many it found."""
    compounds = [target for target in CHEMISTRIES[chemistry].targets() if len(target.structure.composition) > 1]
    rows = [row for row in withheld_rows(view, compounds, motifs=False) if not row["told"]]
    return {"withheld_found": sum(row["iteration"] is not None for row in rows), "withheld_of": len(rows)}


def found_by(row: dict[str, Any], group: str, kind: str, last: int) -> int:
    """Phases of a set that an arm had found after an iteration; ``kind`` is ``iteration`` (by structure) or ``anion``."""
    return sum(phase[kind] is not None and phase[kind] <= last for phase in row["sets"][group])


def first_hit(row: dict[str, Any], group: str) -> int | None:
    """Relaxations, to the end of an iteration, until an arm had found the first phase of a set; None if it found none."""
    hits = [phase["iteration"] for phase in row["sets"][group] if phase["iteration"] is not None]
    return None if not hits else next(step["relaxations"] for step in row["course"] if step["iteration"] >= min(hits))


def last_within(row: dict[str, Any], key: str, limit: float) -> int:
    """The last iteration of an arm that ended within so many ``relaxations`` or ``cpu_seconds``; 0 if none did."""
    return max((step["iteration"] for step in row["course"] if step[key] <= limit), default=0)


def compare(rows: Sequence[dict[str, Any]], base: str) -> list[dict[str, Any]]:
    """Each arm beside another one: phases found at equal relaxations and at equal CPU seconds, seed by seed.

    Parameters
    ----------
    rows : sequence of dict
        Of one chemistry: ``arm, seed, course, sets``.
    base : str
        The arm that the others are compared with; of each seed the smaller total of the two is where both are looked at, at the
        end of the last iteration that is within.

    Returns
    -------
    list of dict
        One for each arm, set and scheme: ``arm, set, scheme, seeds, found`` and ``found_base`` (of each seed), ``of``.
    """
    by_key = {(row["arm"], row["seed"]): row for row in rows}
    answer = []
    for arm in dict.fromkeys(row["arm"] for row in rows if row["arm"] != base):
        seeds = sorted(seed for name, seed in by_key if name == arm and (base, seed) in by_key)
        if not seeds:
            continue
        pairs = [(by_key[arm, seed], by_key[base, seed]) for seed in seeds]
        for scheme in ("relaxations", "cpu_seconds"):
            limits = [min(row["course"][-1][scheme] for row in pair) for pair in pairs]
            lasts = [[last_within(row, scheme, limit) for row in pair] for pair, limit in zip(pairs, limits, strict=True)]
            for group, phases in pairs[0][0]["sets"].items():
                counts = [
                    [found_by(row, group, "iteration", last) for row, last in zip(pair, both, strict=True)]
                    for pair, both in zip(pairs, lasts, strict=True)
                ]
                found, found_base = (list(column) for column in zip(*counts, strict=True))
                answer.append(
                    {"arm": arm, "set": group, "scheme": scheme, "seeds": seeds, "of": len(phases)}
                    | {"found": found, "found_base": found_base, "limits": limits}
                )
    return answer


def summary(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each arm over its seeds: phases found of each set, with Clopper and Pearson's 95 % intervals of the share, and the costs.

    The phases of a set are no independent draws of anything; the interval says how little so few can tell.
    """
    from coevo.analysis.intervals import clopper_pearson

    answer = []
    for arm in dict.fromkeys(row["arm"] for row in rows):
        own = [row for row in rows if row["arm"] == arm]
        line: dict[str, Any] = {"arm": arm, "seeds": sorted(row["seed"] for row in own), "sets": {}}
        for group, phases in own[0]["sets"].items():
            last = [row["course"][-1]["iteration"] for row in own]
            found = [found_by(row, group, "iteration", n) for row, n in zip(own, last, strict=True)]
            total = len(phases) * len(own)
            line["sets"][group] = {
                "of": len(phases),
                "found": found,
                "median": float(np.median(found)),
                "interval": [round(x, 3) for x in clopper_pearson(sum(found), total)],
                "anions": [found_by(row, group, "anion", n) for row, n in zip(own, last, strict=True)],
                "first_hit": [first_hit(row, group) for row in own],
            }
        line |= {key: [row["course"][-1][key] for row in own] for key in ("relaxations", "cpu_seconds", "entries", "sun")}
        answer.append(line)
    return answer
