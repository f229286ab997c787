"""Which teacher made which labels: that of the configuration of the state that had them first, whoever teaches now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coevo.configs.uncertainty_section import OtherForceField
from coevo.errors import CheckpointError, CoevoError
from coevo.labelling.imported.functionals import base_of
from coevo.makers.committee.members import sources_of, training_of_published

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from coevo.analysis.signals.agreement import Training
    from coevo.configs.tree import LabellingConfig, NodeSection
    from coevo.makers.step import Record
    from coevo.node_store.store import NodeStore
    from coevo.node_store.views import StateView

Teachers = dict[tuple[str, str], OtherForceField | None]
"""By functional and digest of the settings of labels; None: it is not known who made them."""


def teachers_of(store: NodeStore, views: Sequence[StateView], labels: Iterable[Record], labelling: LabellingConfig) -> Teachers:
    """Find the teachers of the admitted labels of a state.

    Digests of settings hold the version of a package, so one teacher may have several; and names of weights stand in
    configurations alone. So the labels that a state has and none of its parents has are those of its configuration's teacher.

    Parameters
    ----------
    store : NodeStore
    views : sequence of StateView
        Parents of the state.
    labels : iterable of dict
        Label documents that are new in it.
    labelling : LabellingConfig
        Of the state.
    """
    keys = {label["_id"]: _key(label) for view in views for label in view.labels() if _is_taught(label)}
    now = OtherForceField(labelling.teacher.family, labelling.teacher.weights) if labelling.code == "teacher" else None
    found: dict[tuple[str, str], set[OtherForceField | None]] = {}
    for label in labels:
        if _is_taught(label):
            found.setdefault(_key(label), set()).add(now)
    ids: dict[str, frozenset[str]] = {}
    descent: dict[str, tuple[StateView, list[StateView]]] = {}
    queue = list(views) if keys else []
    while queue:
        view = queue.pop()
        if view.id not in descent:
            ids[view.id] = frozenset(keys).intersection(view.manifest["labels"])
            descent[view.id] = view, view.parent_views() or _origin(store, view)
            queue += descent[view.id][1] if ids[view.id] else []
    for identifier, (view, parents) in descent.items():
        # what a first state brought along is its configuration's teacher's in name only
        who = None if view.started_from else teacher_named(view.document.get("config"))
        for label_id in ids[identifier].difference(*(ids.get(parent.id, frozenset()) for parent in parents)):
            found.setdefault(keys[label_id], set()).add(who)
    return {key: _checked(key[0], who) for key, who in found.items()}


def sources_in(
    node: NodeSection, parents: Collection[str], labels: Any, labelling: LabellingConfig
) -> tuple[set[tuple[str, str, str]], Teachers]:
    """Codes, functionals and settings of the labels of a state, those of its parents and new ones; and their teachers."""
    from coevo.makers.populations.population import open_state
    from coevo.makers.step import current_store, read_records

    store = current_store()
    new = list(read_records(store, labels or []))
    views = [open_state(store, node.name, parent) for parent in parents]
    found = sources_of(new).union(*(sources_of(view.labels()) for view in views))
    return found, teachers_of(store, views, new, labelling)


def teacher_named(config: Any) -> OtherForceField | None:
    """Teacher that labels by the configuration of a state, which may be somebody else's; None if it names none."""
    labelling = config.get("labelling") if isinstance(config, dict) else None
    teacher = labelling.get("teacher") if isinstance(labelling, dict) and labelling.get("code") == "teacher" else None
    if not isinstance(teacher, dict):
        return None
    family, weights = teacher.get("family"), teacher.get("weights")
    return OtherForceField(family, weights) if isinstance(family, str) and isinstance(weights, str) else None


def training_of_teacher(teacher: OtherForceField | None) -> Training:
    """What a teacher was trained on; nothing is known of one whose family is not installed here."""
    from coevo.analysis.signals.agreement import Training

    if teacher is None:
        return Training("", words="teachers that are not known")
    try:
        return training_of_published(teacher)
    except CheckpointError:
        return Training(teacher.family, words="not known")


def _origin(store: NodeStore, view: StateView) -> list[StateView]:
    """The state of another node that a first state began with, if it is here."""
    told = view.started_from
    if not isinstance(told, dict):
        return []
    try:
        return [store.state(f"{told['node']}@{told['state']}")]
    except (CoevoError, LookupError, TypeError):
        return []


def _is_taught(label: Mapping[str, Any]) -> bool:
    return label.get("code") == "teacher" and label.get("status") == "admitted"


def _key(label: Mapping[str, Any]) -> tuple[str, str]:
    return str(label.get("functional") or ""), str(label.get("settings_digest") or "")


def _checked(functional: str, who: set[OtherForceField | None]) -> OtherForceField | None:
    """The one teacher; None if there are several, or its labels are of another functional than it is.

    One digest is that of one file of weights, so labels of which nobody knows are those of the teacher who has it.
    """
    named = who - {None}
    teacher = next(iter(named)) if len(named) == 1 else None
    if teacher is None:
        return None
    known = training_of_teacher(teacher).functional
    return teacher if not known or known == base_of(functional) else None
