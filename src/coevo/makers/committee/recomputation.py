"""The numbers of the second opinion once more, from what the state holds: members, population, and the labels that it added."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coevo.errors import CoevoError
from coevo.makers.checkpoints import load_force_field
from coevo.makers.committee.errors_and_spreads import calibrated, not_seen
from coevo.makers.committee.judging import judge_member, with_opinions
from coevo.makers.committee.members import checkpoints_of_members, kinds_of, sources_of, training_of, wanted_names
from coevo.makers.committee.population import population_of
from coevo.makers.committee.teachers import teachers_of, training_of_teacher
from coevo.node_store.recorded import recorded_members

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from coevo.analysis.signals.agreement import Training
    from coevo.configs.tree import NodeConfig
    from coevo.makers.outputs import Checkpoint
    from coevo.node_store.store import NodeStore
    from coevo.node_store.views import StateView

Number = tuple[str, str, float | None, float | None, float]
"""Name, unit, as recorded, as found again, and by how much they may differ."""

ENERGY_TOLERANCE = 1e-5
"""eV/atom, of single points in other batches."""
ERROR_TOLERANCE = 1e-3
"""Relative, of calibrations."""


def opinions_again(store: NodeStore, view: StateView, config: NodeConfig, workers: int) -> Iterator[Number]:
    """Compute what the members say again.

    Parameters
    ----------
    store : NodeStore
    view : StateView
    config : NodeConfig
        The state's own.
    workers : int

    Raises
    ------
    CheckpointError
        If a member is not here, or came in a bundle and is not trusted.
    """
    told = view.document["metrics"].get("committee")
    if not told:
        return
    documents, agreement = _judged(store, view, config, workers)
    before = {d["structure_id"]: d for d in view.evaluations()}
    away = [
        abs(one - other)
        for d in documents
        for name, one in d["energies_above_hull"].items()
        if (other := (before[d["structure_id"]].get("energies_above_hull") or {}).get(name)) is not None
    ]
    yield "E_hull by members, largest difference", "eV/atom", 0.0, max(away, default=0.0), ENERGY_TOLERANCE
    recorded = told["agreement"]
    yield "median spread of E_hull", "eV/atom", recorded["median_spread"], agreement["median_spread"], ENERGY_TOLERANCE
    for name, count in zip(recorded["voices"], recorded["stable"], strict=True):
        found = dict(zip(agreement["voices"], agreement["stable"], strict=True)).get(name)
        yield f"entries that {name} calls stable", "", float(count), None if found is None else float(found), 0.0
    for key, name in (
        ("all", "called stable by all"),
        ("any", "called stable by any"),
        ("confidently_sun", "confidently S.U.N."),
    ):
        one, other = recorded[key], agreement[key]
        yield name, "", None if one is None else float(one), None if other is None else float(other), 0.0
    yield from _calibration(store, view, config, told, workers)


def _judged(store: NodeStore, view: StateView, config: NodeConfig, workers: int) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    from coevo.models.contracts import Prediction
    from coevo.node_store.canonical import structure_document

    evaluations = sorted(view.evaluations(), key=lambda d: (d["kind"] != "reference", d["structure_id"]))
    records = [
        {"id": d["structure_id"], "kind": d["kind"], "structure": structure_document(view.structure(d["structure_id"]))}
        for d in evaluations
    ]
    population = population_of(evaluations, records)
    told = (config.screening.force_field, config.labelling, sources_of(view.labels()), _taught(store, view, config))
    others, judged = kinds_of(config.uncertainty.others), {}
    for name, checkpoint in sorted(_wanted(config, view.document["checkpoints"]).items()):
        found = load_force_field(store, checkpoint).evaluate(population.structures, workers=workers)
        rows = [
            {"id": i, "energy_per_atom": p.energy if isinstance(p, Prediction) else None}
            for i, p in zip(population.ids, found, strict=True)
        ]
        training = training_of(checkpoint, others.get(name), *told)
        judged[name] = judge_member(population, population.energies(rows), checkpoint, others.get(name), training, config.node)
    own = training_of(view.document["checkpoints"]["force_field"], None, *told)
    return with_opinions(evaluations, judged, own, config.curation.stable_threshold)


def _taught(store: NodeStore, view: StateView, config: NodeConfig) -> list[Training] | None:
    """What the teachers of the labels were trained on; None: a state that goes by its configuration alone."""
    if "teachers" not in view.document["metrics"]["committee"]["force_field"]:
        return None
    parents = view.parent_views()
    older = {identifier for parent in parents for identifier in parent.manifest["labels"]}
    new = [label for label in view.labels() if label["_id"] not in older]
    return [training_of_teacher(teacher) for teacher in teachers_of(store, parents, new, config.labelling).values()]


def _wanted(config: NodeConfig, checkpoints: Mapping[str, Checkpoint]) -> dict[str, Checkpoint]:
    """Members that the configuration of a state wants; nothing says what others would be, and there may be any number."""
    there = checkpoints_of_members(checkpoints)
    return {name: there[name] for name in wanted_names(config) if name in there}


def _calibration(store: NodeStore, view: StateView, config: NodeConfig, told: dict[str, Any], workers: int) -> Iterator[Number]:
    """Errors on the labels that the state added, by the models of its parent, if that is here."""
    parent = view.parent()
    recorded = told.get("calibration")
    if not recorded or parent is None or len(view.parents) != 1:
        return
    known = set(parent.manifest["labels"])
    labels = not_seen((x for x in view.labels() if x["_id"] not in known), parent.labels())
    checkpoints = parent.document["checkpoints"]
    members = {n: c for n, c in _wanted(config, checkpoints).items() if n in recorded["voices"]}
    try:
        found = calibrated(
            store,
            labels,
            view.manifest["offsets"],
            checkpoints["force_field"],
            members,
            recorded_members(parent),
            config.node,
            config.uncertainty,
            workers,
        )["calibration"]
    except CoevoError:  # a model of the parent is not here: nothing can be said of it
        return
    for quantity in ("energy", "force"):
        one, other = recorded.get(quantity), (found or {}).get(quantity)
        for key in ("spearman", "ratio"):
            before, again = (each[key] if each else None for each in (one, other))
            yield f"calibration of {quantity}, {key}", "", before, again, ERROR_TOLERANCE * max(1.0, abs(before or 0.0))
