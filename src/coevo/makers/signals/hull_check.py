"""How many of the phases on the hull that an iteration labelled the labels refute: the force field before it learned of them.

Also here, what labels say of the entries of a state, computed once more from what the state holds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coevo.errors import CoevoError
from coevo.makers.labels.standing import labelled_frames, standing_of_state
from coevo.makers.populations.hull_members import ASKED, IN_DOUBT, REFUTED, is_counted
from coevo.makers.populations.population import members
from coevo.makers.signals.comparison import Comparison

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from coevo.configs.tree import CurationConfig, NodeConfig, NodeSection
    from coevo.makers.labels.standing import LabelledFrame
    from coevo.node_store.store import NodeStore
    from coevo.node_store.views import StateView

    Record = dict[str, Any]

ENERGY_TOLERANCE = 1e-3
"""eV/atom. What is nearer than this to the limit may come out on the other side of it on another processor."""


def hull_frames(labels: Iterable[Record], offsets: Mapping[str, Record], node: NodeSection) -> dict[str, LabelledFrame]:
    """Return the new labels of phases on the hull, one for each phase."""
    asked = [label for label in labels if label["how"] == ASKED]
    return {family: frames[0] for family, frames in labelled_frames(asked, offsets, node.energy_scale).items()}


def hull_check(
    frames: Mapping[str, LabelledFrame], energies: Mapping[str, float], wanted: int, curation: CurationConfig
) -> dict[str, Any]:
    """Count the phases that labels refute.

    Parameters
    ----------
    frames : mapping of str to LabelledFrame
        By phase; see :func:`hull_frames`.
    energies : mapping of str to float
        Of the same frames by the force field of the parent state, which chose them, eV/atom.
    wanted : int
        Phases without a label that were on the hull or near it.
    curation : CurationConfig

    Returns
    -------
    dict
        ``wanted``, ``labelled`` and ``refuted``; ``limit``, beyond which they refute, eV/atom: the largest, of labels by several
        settings, and None without labels.
    """
    compared = {family: frame for family, frame in frames.items() if family in energies}
    refuted = [f for f, frame in compared.items() if abs(frame.energy - energies[f]) > frame.limit(curation.refuted_above)]
    limit = max((frame.limit(curation.refuted_above) for frame in compared.values()), default=None)
    return {"wanted": wanted, "labelled": len(compared), "refuted": len(refuted), "limit": limit}


def compare_hull(store: NodeStore, view: StateView, config: NodeConfig, workers: int) -> Iterator[Comparison]:
    """Compute once more what labels say of the entries of a state whose hull is made of labelled phases.

    Parameters
    ----------
    store : NodeStore
    view : StateView
    config : NodeConfig
        The state's own.
    workers : int
    """
    if config.curation.of_hull() is None:
        return
    yield from _compare_standing(view, config)
    yield from _compare_check(store, view, config, workers)


def _compare_standing(view: StateView, config: NodeConfig) -> Iterator[Comparison]:
    """Which entries have a label, which of them it refutes and with which energy, and how many are S.U.N."""
    recorded = dict(view.manifest.get("refuted", {}))
    evaluations = {d["structure_id"]: d for d in view.evaluations("entry")}
    references, entries = members(view, "reference"), members(view, "entry")
    only = bool(view.document["metrics"]["population"].get("first_principles_only"))
    scale = config.node.energy_scale
    found = standing_of_state(view, references, entries, config.curation, scale, first_principles=only)
    counted = {identifier for identifier, document in evaluations.items() if is_counted(document)}
    again = {entry.id for entry in entries if found.counts(entry)}
    yield Comparison("entries that make the hull, other than recorded", "", 0.0, float(len(counted ^ again)), 0.0)
    yield Comparison("refuted entries", "", float(len(recorded)), float(len(recorded.keys() & found.refuted.keys())), 0.0)
    yield Comparison("refuted entries, not recorded", "", 0.0, float(len(found.refuted.keys() - recorded.keys())), 0.0)
    away = [abs(energy - found.refuted[i]) for i, energy in recorded.items() if i in found.refuted]
    yield Comparison("energy of refuted entries, largest difference", "eV/atom", 0.0, max(away, default=0.0), ENERGY_TOLERANCE)
    believed = [i for i, d in evaluations.items() if d["is_sun"] and d.get("hull_status") in {REFUTED, IN_DOUBT}]
    yield Comparison("S.U.N. entries that are refuted or in doubt", "", 0.0, float(len(believed)), 0.0)


def _compare_check(store: NodeStore, view: StateView, config: NodeConfig, workers: int) -> Iterator[Comparison]:
    """How many new labels refute, by single points of the parent's force field, if that is here."""
    from coevo.makers.checkpoints import load_force_field
    from coevo.models.contracts import Prediction
    from coevo.node_store.canonical import structure_from_document

    recorded, parent = view.document["metrics"].get("hull_check"), view.parent()
    if not recorded or parent is None:
        return
    known = set(parent.manifest["labels"])
    frames = hull_frames((x for x in view.labels() if x["_id"] not in known), view.manifest["offsets"], config.node)
    try:
        force_field = load_force_field(store, parent.document["checkpoints"]["force_field"])
    except CoevoError:  # it is not here: nothing can be said
        return
    families = sorted(frames)
    points = force_field.evaluate([structure_from_document(frames[f].label["structure"]) for f in families], workers=workers)
    energies = {f: p.energy for f, p in zip(families, points, strict=True) if isinstance(p, Prediction)}
    found = hull_check(frames, energies, recorded["wanted"], config.curation)
    yield Comparison("newly labelled phases on the hull", "", recorded["labelled"], found["labelled"], 0.0)
    limits = {f: frames[f].limit(config.curation.refuted_above) for f in energies}
    close = [f for f in energies if abs(abs(frames[f].energy - energies[f]) - limits[f]) <= ENERGY_TOLERANCE]
    yield Comparison("of which labels refute", "", recorded["refuted"], found["refuted"], float(len(close)))
