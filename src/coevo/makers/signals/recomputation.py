"""The signals of a state once more, from what the state holds: its structures, samples, labels and force field."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from coevo.makers.checkpoints import load_force_field
from coevo.makers.committee.recomputation import opinions_again
from coevo.makers.evaluate import evaluate_records
from coevo.makers.generators import entries_again
from coevo.makers.labels.stiffness import is_stiffness
from coevo.makers.signals.comparison import Comparison
from coevo.makers.signals.environment_calibration import known_calibration
from coevo.makers.signals.environment_coverage import COVERAGE, coverage_metrics
from coevo.makers.signals.hull_check import compare_hull
from coevo.makers.signals.measures import environment_metrics, ruler_rows, summaries
from coevo.makers.signals.model_comparison import compare_model
from coevo.makers.step import read_records

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from coevo.configs.tree import NodeConfig
    from coevo.models.contracts import ForceField, TrainingFrame
    from coevo.node_store.store import NodeStore
    from coevo.node_store.views import StateView

Record = dict[str, Any]

ENTROPY_TOLERANCE = 1e-6
"""nats. Descriptors and kernel sums of other processors differ in the last digits."""
ENERGY_TOLERANCE = 1e-3
"""eV/atom. Candidates that are relaxed in other batches end apart by less than this."""
ERROR_TOLERANCE = 1e-3
"""Relative; of RMSEs."""


def compare_signals(store: NodeStore, view: StateView, config: NodeConfig, workers: int) -> list[Comparison]:
    """Compute the signals of a state again and compare them with those that it records.

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
        If the state's force field is not here, or came in a bundle and is not trusted.
    """
    force_field = load_force_field(store, view.document["checkpoints"]["force_field"])
    metrics = view.document["metrics"]
    found = {
        **_environments(view, config, workers),
        **_coverage(view, config, workers),
        "ruler": _ruler(store, view, force_field, config, workers),
        **_errors(view, force_field, workers),
    }
    return [
        *_compare_environments(metrics, found),
        *_compare_coverage(metrics, found),
        *_compare_ruler(metrics, found, config.curation.stable_threshold),
        *_compare_errors(metrics, found),
        *compare_hull(store, view, config, workers),
        *compare_model(view, force_field, config, workers),
        *(Comparison(*number) for number in opinions_again(store, view, config, workers)),
        *_compare_generators(view),
    ]


def _compare_generators(view: StateView) -> Iterator[Comparison]:
    """Entries that each generator of a mixture drew, by the checkpoints that their origins name."""
    told = view.document["metrics"].get("generators") or {}
    again = entries_again(view, told) if told else {}
    for family, counts in told.items():
        for key, words in (("entries", "entries"), ("stable", "stable entries"), ("sun", "S.U.N. entries")):
            yield Comparison(f"{words} that {family} drew", "", float(counts[key]), float(again[family][key]), 0.0)


def _environments(view: StateView, config: NodeConfig, workers: int) -> Record:
    evaluations, geometries = _geometries(view)
    return environment_metrics(evaluations, geometries, config.node, config.maturity, view.iteration, workers=workers)


def _coverage(view: StateView, config: NodeConfig, workers: int) -> Record:
    """Shares and entropies at the recorded resolution, of the iterations that the state records."""
    metrics = view.document["metrics"]
    recorded, calibration = metrics.get(COVERAGE), known_calibration(metrics, config.node.elements)
    if not recorded or calibration is None:
        return {}
    evaluations, geometries = _geometries(view)
    numbers = sorted(int(number) for number in recorded["iterations"])
    return coverage_metrics(
        evaluations, geometries, config.node, config.maturity, calibration, numbers, view.iteration, workers=workers
    )


def _geometries(view: StateView) -> tuple[list[Record], dict[str, Record]]:
    """Evaluations of a state, and the present geometry of each by its id."""
    from coevo.node_store.canonical import structure_document

    evaluations = list(view.evaluations())
    return evaluations, {d["structure_id"]: structure_document(view.structure(d["structure_id"])) for d in evaluations}


def _ruler(store: NodeStore, view: StateView, force_field: ForceField, config: NodeConfig, workers: int) -> Record:
    """Samples of all iterations, evaluated by the state's force field and put on its hull."""
    from coevo.makers.populations.hull_members import state_hull, sun_withheld
    from coevo.makers.populations.population import Member, matching_of
    from coevo.node_store.canonical import structure_from_document

    samples = [
        {**row, "kind": "sample", "since": int(since)}
        for since, sha256 in sorted(view.manifest.get("samples", {}).items(), key=lambda item: int(item[0]))
        for row in read_records(store, {"sha256": sha256})
    ]
    rows = evaluate_records(force_field, samples, config.screening, workers)
    refuted = view.manifest.get("refuted", {})  # their energy in the state is the label's
    sampled = [
        Member(r["id"], structure_from_document(r["structure"]), refuted.get(r["id"], r["energy_per_atom"]), r)
        for r in sorted(rows, key=lambda r: r["id"])
        if r["energy_per_atom"] is not None
    ]
    hull = state_hull(view, config.node.elements)
    matching, threshold = matching_of(config.curation), config.curation.stable_threshold
    withheld = sun_withheld(view.evaluations("entry"))
    return summaries(ruler_rows(sampled, hull, config.node.elements, matching, threshold, workers, withheld))


def _errors(view: StateView, force_field: ForceField, workers: int) -> Record:
    """RMSE of the state's force field on the test split of its labels."""
    from coevo.analysis.signals.residuals import errors
    from coevo.models.contracts import Prediction

    frames = [frame for _, frame in test_frames(view, force_field.energy_scale)]
    predictions = force_field.evaluate([frame.structure for frame in frames], workers=workers)
    rows = [(p, f) for p, f in zip(predictions, frames, strict=True) if isinstance(p, Prediction)]
    return asdict(errors([p for p, _ in rows], [f for _, f in rows]))


def test_frames(view: StateView, energy_scale: str) -> list[tuple[Record, TrainingFrame]]:
    """Labels of the test split, which no force field of the state's line was trained on, and each as a frame on a scale."""
    from coevo.analysis.hull.energy_scale import Offsets
    from coevo.makers.labels.training_set import frame_of

    scales = {digest: Offsets.from_dict(stored) for digest, stored in view.manifest.get("offsets", {}).items()}
    labels = [
        label
        for label in view.labels()
        if label["split"] == "test"
        and label["status"] == "admitted"
        and label["settings_digest"] in scales
        and not is_stiffness(label)
    ]
    return [(label, frame_of(label, scales[label["settings_digest"]], energy_scale)) for label in labels]


def _compare_environments(stored: Mapping[str, Any], found: Mapping[str, Any]) -> Iterator[Comparison]:
    for key, name in (("entropy", "entropy"), ("entropy_multicomponent", "entropy, neighbours' species seen")):
        if key not in stored:  # a state of an older coevo
            continue
        one, other = stored[key] or {}, found[key] or {}
        yield Comparison(name, "nats", one.get("mean"), other.get("mean"), ENTROPY_TOLERANCE)
        for symbol in other.get("per_species", {}):
            ours, theirs = ((x.get("per_species", {}).get(symbol) or {}).get("mean") for x in (one, other))
            yield Comparison(f"{name} about {symbol}", "nats", ours, theirs, ENTROPY_TOLERANCE)
    if "new_environments" in stored:
        share, again = ((x["new_environments"] or {}).get("fraction") for x in (stored, found))
        yield Comparison("share of new environments", "", share, again, ENTROPY_TOLERANCE)


def _compare_coverage(stored: Mapping[str, Any], found: Mapping[str, Any]) -> Iterator[Comparison]:
    if not stored.get(COVERAGE):
        return
    one, other = stored[COVERAGE], found.get(COVERAGE) or {"iterations": {}, "entropy": {}}
    for number, shares in sorted(one["iterations"].items(), key=lambda item: int(item[0])):
        for symbol, share in shares.items():
            again = other["iterations"].get(number, {}).get(symbol) or {}
            name = f"share of {symbol} of iteration {number} far from older ones"
            # one atom may be at the distance itself, to the last digits of another processor
            allowed = 1.5 / max(1, share["n"])
            yield Comparison(name, "", share["fraction"], again.get("fraction"), allowed)
    ours, theirs = ({"in all": x["entropy"].get("total"), **x["entropy"].get("per_species", {})} for x in (one, other))
    for name, estimate in ours.items():
        value, again = ((x or {}).get("mean") for x in (estimate, theirs.get(name)))
        words = "entropy at the node's resolution" + ("" if name == "in all" else f" about {name}")
        yield Comparison(words, "nats", value, again, ENTROPY_TOLERANCE)


def _compare_ruler(stored: Mapping[str, Any], found: Mapping[str, Any], threshold: float) -> Iterator[Comparison]:
    for since in sorted({*stored["ruler"], *found["ruler"]}, key=int):
        one, other = stored["ruler"].get(since, {}), found["ruler"].get(since, {})
        for key in ("q05", "q25", "q50", "q75", "q95"):
            name = f"E_hull {key} of iteration {since}"
            yield Comparison(name, "eV/atom", one.get(key), other.get(key), ENERGY_TOLERANCE)
        if one.get("sun") is not None:  # states of an older coevo do not say it
            # those at the threshold may come out on its other side
            close = sum(abs(value - threshold) <= ENERGY_TOLERANCE for value in other.get("values", ()))
            allowed = (close + 0.5) / max(1, other.get("n", 0))
            yield Comparison(f"share of S.U.N. of iteration {since}", "", one["sun"], other.get("sun"), allowed)


def _compare_errors(stored: Mapping[str, Any], found: Mapping[str, Any]) -> Iterator[Comparison]:
    names = {
        "energy_rmse_mev_per_atom": ("test RMSE, energy", "meV/atom"),
        "force_rmse_mev_per_angstrom": ("test RMSE, force", "meV/Å"),
    }
    for key, (name, unit) in names.items():
        if stored.get(key) is not None:
            yield Comparison(name, unit, stored[key], found[key], ERROR_TOLERANCE * stored[key])
