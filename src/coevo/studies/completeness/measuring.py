"""How complete the low minima are that a probe met, and which of them a state has.

The probe is made by :mod:`coevo.campaigns.probing`, the estimators are those of :mod:`coevo.analysis.completeness`.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from coevo.analysis.audit.draw import model_energy_above_hull
from coevo.analysis.completeness import MIN_DRAWS, completeness
from coevo.analysis.intervals import clopper_pearson
from coevo.configs.loading import config_from_dict
from coevo.makers.populations.hull_members import state_hull
from coevo.makers.populations.population import matching_of, members, model_energy
from coevo.studies.completeness.environments import far_from_older
from coevo.studies.completeness.minima import find_minima, read_draws
from coevo.studies.completeness.withheld import met_phases

if TYPE_CHECKING:
    from collections.abc import Sequence

    from coevo.configs.references import ReferenceStructure
    from coevo.flows.probe import Probe
    from coevo.node_store.views import StateView
    from coevo.studies.completeness.minima import Draw, Minima

    Document = dict[str, Any]

SAME_ENERGY = 1e-3
"""eV/atom; a minimum that is lower by less is not called the lower one."""


def measure(
    view: StateView,
    probe: Probe,
    *,
    e_hull: float,
    phases: Sequence[ReferenceStructure] | None = None,
    workers: int = 1,
) -> Document:
    """Say how complete the low minima are that a probe has met, and which of them the state has.

    Parameters
    ----------
    view : StateView
        Whose force field relaxed the probe.
    probe : Probe
    e_hull : float
        Window above the state's hull, eV/atom: higher structures of the probe are not looked at.
    phases : sequence of ReferenceStructure, optional
        Known phases that were withheld (:func:`coevo.studies.completeness.withheld.phases_to_meet`).
    workers : int
        Processes; the answer does not depend on it.

    Returns
    -------
    dict
        Plain JSON types; docs/completeness.md has the fields.
    """
    config = config_from_dict(view.document["config"], f"configuration of {view.node}@{view.id[:12]}")
    matching = matching_of(config.curation)
    population = [*members(view, "reference"), *members(view, "entry")]
    references = [member.structure for member in population if member.document["kind"] == "reference"]
    draws = read_draws(probe, state_hull(view, config.node.elements))
    low = [draw for draw in draws if draw.energy_above_hull <= e_hull]
    minima = find_minima(view, probe, low, population, matching, e_hull, workers)
    batches = len(probe.batches)
    enough = sum(count >= MIN_DRAWS for count in Counter(draw.formula for draw in low).values())
    names = sorted({d.formula for d in low} | {m.document["formula"] for m in minima.members})
    rows = [_formula(name, minima, [d for d in low if d.formula == name], batches, max(1, enough)) for name in names]
    rows.sort(key=lambda row: (-row["draws"], row["formula"]))
    return {
        "state": view.id,
        "node": view.node,
        "iteration": view.iteration,
        "claim": _claim(view, probe, e_hull),
        "e_hull": e_hull,
        "units": {"energy": "eV/atom"},
        "probe": _probe_numbers(probe, draws, low),
        "overall": _estimates(minima, low, batches, 1) | _in_the_node(minima),
        "formulas": rows,
        "environments": far_from_older(view, probe, low, references, workers),
        "withheld": None if phases is None else met_phases(view, probe, draws, phases, matching, workers),
    }


def _estimates(minima: Minima, draws: Sequence[Draw], batches: int, samples: int) -> Document:
    of_draw = {draw.item.id: name for name, group in minima.species.items() for draw in group}
    sample: list[list[str]] = [[of_draw[d.item.id] for d in draws if d.batch == batch] for batch in range(batches)]
    found = completeness(sample, bred=sum(d.bred for d in draws), samples=samples)
    return found.to_dict()


def _formula(formula: str, minima: Minima, draws: Sequence[Draw], batches: int, samples: int) -> Document:
    row = {"formula": formula} | _estimates(minima, draws, batches, samples) | _in_the_node(minima, formula)
    return row | {"lowest": _lowest(formula, minima, batches)}


def _in_the_node(minima: Minima, formula: str | None = None) -> Document:
    """Which minima of the probe the state has, and the other way round."""
    species = {n: g for n, g in minima.species.items() if formula in (None, g[0].formula)}
    mine = [m for m in minima.members if formula in (None, m.document["formula"])]
    held = {name: member for name in species if (member := minima.held[name]) is not None}
    draws, known = sum(map(len, species.values())), sum(len(species[name]) for name in held)
    return {
        "node": {
            "probe_minima_held": len(held),
            "as_references": sum(m.document["kind"] == "reference" for m in held.values()),
            "draws_of_them": known,
            "share_of_draws": known / draws if draws else None,
            "share_of_draws_95": list(clopper_pearson(known, draws)) if draws else None,
            "minima": len(mine),
            "minima_met_by_probe": sum(minima.met[m.id] is not None for m in mine),
        }
    }


def _lowest(formula: str, minima: Minima, batches: int) -> Document:
    """In how many batches the lowest minimum of a formula was met, whether the probe or the state has it.

    One that the probe alone has was chosen because a batch met it, so that batch says nothing of how often one does: counted are
    the others.
    """
    species = [(group[0].item.energy_per_atom, name) for name, group in minima.species.items() if group[0].formula == formula]
    mine = [(model_energy(m.document), m.id) for m in minima.members if m.document["formula"] == formula]
    if mine and (not species or min(mine)[0] < min(species)[0] - SAME_ENERGY):
        member = next(m for m in minima.members if m.id == min(mine)[1])
        name, source, above = minima.met[member.id], member.document["kind"], model_energy_above_hull(member.document)
    else:
        name = min(species)[1]
        held = minima.held[name]
        source = "probe" if held is None else held.document["kind"]
        above = minima.species[name][0].energy_above_hull
    met = sorted({draw.batch for draw in minima.species[name]}) if name else []
    count = len(met) - (source == "probe")
    asked = batches - (source == "probe")
    return {
        "of": source,
        "energy_above_hull": above,
        "batches": asked,
        "batches_that_met_it": count,
        "share_95": list(clopper_pearson(count, asked)) if asked else None,
    }


def _probe_numbers(probe: Probe, draws: Sequence[Draw], low: Sequence[Draw]) -> Document:
    rejected: Counter[str] = Counter()
    drawn = 0
    for shards in probe.batches:
        for generated, screened in shards:
            drawn += generated["candidates"]["count"]
            rejected.update(screened["rejected"])
    generator = probe.config.generator
    return {
        "generator": f"{generator.family}, unfitted, no parents",
        "max_atoms": generator.max_atoms,
        "formulas": _drawn_formulas(generator.compositions),
        "seed": probe.config.node.seed,
        "batches": len(probe.batches),
        "asked": probe.draws,
        "drawn": drawn,
        "rejected": dict(sorted(rejected.items())),
        "relaxed": len(draws),
        "within_e_hull": len(low),
        "force_field": {key: probe.force_field[key] for key in ("family", "sha256")},
        "screening": {"fmax_ev_per_angstrom": probe.config.screening.fmax, "max_steps": probe.config.screening.max_steps},
    }


def _drawn_formulas(compositions: Sequence[str]) -> list[str]:
    """What a generator that is asked for compositions draws multiples of: their reduced formulas, each once."""
    from pymatgen.core import Composition

    return list(dict.fromkeys(Composition(formula).reduced_formula for formula in compositions))


def _claim(view: StateView, probe: Probe, e_hull: float) -> str:
    generator, curation = probe.config.generator, probe.config.curation
    formulas = _drawn_formulas(generator.compositions)
    of = f" of {', '.join(formulas)}" if generator.compositions else ""
    return (
        f"of what the {generator.family} generator, unfitted and without parents, can make{of} at ≤ {generator.max_atoms} atoms "
        f"in {'-'.join(probe.config.node.elements)}, as far as this matcher's tolerances tell minima apart (ltol "
        f"{curation.ltol}, stol {curation.stol}, {curation.angle_tol}°), within {e_hull:g} eV/atom of the hull by the force "
        f"field of {view.node}@{view.id[:8]} ({probe.force_field['family']}); nothing is said of chemical space"
    )
