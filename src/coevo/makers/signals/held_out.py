"""The held-out set of a node: labelled frames, the same for all its states, that none of its force fields is ever trained on.

The test split grows with the labels, so its errors of two states are not of one set. The held-out set is fixed by the first state
that has labels of the test split, and that state records the ids. Later ones look them up along the line of their force field: of
a merge the parent whose force field was continued, whichever was merged into the other.

What is in it was never trained on, and never will be: a label is left out if its family or its frame has labels in another split
(of other settings, say), and the split of a label that is test never changes. Where a state says otherwise, as one of somebody
else's could, its errors are of the rest, which is another set with another digest.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from coevo.makers.labels.stiffness import is_stiffness
from coevo.makers.labels.training_set import frame_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from coevo.models.contracts import ForceField
    from coevo.node_store.views import StateView

    Label = dict[str, Any]
    Document = dict[str, Any]

MOST_FRAMES = 500
"""Frames of a held-out set; of more, those of the lowest ids, which are hashes."""


@dataclass(frozen=True)
class HeldOut:
    """A held-out set.

    Attributes
    ----------
    since : int
        Iteration of the state that fixed it.
    labels : list of dict
        Label documents, in the order of ids.
    is_new : bool
        No state has recorded it yet, so the one that is being measured records the ids.
    """

    since: int
    labels: list[Label]
    is_new: bool = False

    @property
    def ids(self) -> list[str]:
        """Ids of the labels."""
        return [label["_id"] for label in self.labels]

    def to_dict(self) -> Document:
        """What a state records of the set, whatever its model says of it; the ids where it is fixed."""
        from coevo.node_store.canonical import digest

        return {
            "digest": digest(self.ids),
            "since": self.since,
            "structures": len({label["family"] for label in self.labels}),
            "frames": len(self.labels),
            **{name: self.labels[0][name] for name in ("settings_digest", "code", "functional")},
            **({"ids": self.ids} if self.is_new else {}),
        }


def model_line(view: StateView) -> Iterator[StateView]:
    """Yield a state and those that its force field was continued from, newest first."""
    found: StateView | None = view
    while found is not None:
        yield found
        found = _continued(found)


def _continued(view: StateView) -> StateView | None:
    parents = view.parent_views()
    if len(parents) < 2:
        return parents[0] if parents else None
    checkpoint = view.document["checkpoints"]["force_field"]
    origins = (checkpoint["sha256"], checkpoint.get("parent"))
    of_start = [p for p in parents if p.document["checkpoints"]["force_field"]["sha256"] in origins]
    own = _digest(view)
    # both parents may have that force field; the set that was measured is of one of them
    same_set = [p for p in of_start if own is not None and _digest(p) == own]
    return next(iter((*same_set, *of_start, *parents)))


def _digest(view: StateView) -> Any:
    recorded = view.document["metrics"].get("held_out")
    return recorded.get("digest") if isinstance(recorded, dict) else None


def held_out_of(view: StateView) -> HeldOut | None:
    """Return the held-out set of a state, recorded along its line, or else that of the first labelled state of the line."""
    line = list(model_line(view))
    found = next(filter(None, (_recorded(state) for state in line)), None)
    if found is None:  # states of before
        for state in reversed(line):
            if state.manifest["labels"] and (labels := eligible(list(state.labels()), state.manifest.get("offsets", {}))):
                found = HeldOut(state.iteration, labels, is_new=True)
                break
    return None if found is None else _never_trained(found, view.manifest["labels"])


def _recorded(state: StateView) -> HeldOut | None:
    """Return the set that a state fixed; of what somebody else's state says, only labels that could be held out."""
    recorded = state.document["metrics"].get("held_out")
    if not isinstance(recorded, dict):
        return None
    ids, since = recorded.get("ids"), recorded.get("since")
    if not isinstance(ids, list) or type(since) is not int:  # True is none
        return None
    wanted = {name for name in ids[:MOST_FRAMES] if isinstance(name, str)}
    offsets = state.manifest.get("offsets", {})
    labels = _of_one_digest([label for label in state.labels() if label["_id"] in wanted and _can_be_held_out(label, offsets)])
    return HeldOut(since, labels) if labels else None


def _can_be_held_out(label: Label, offsets: Mapping[str, Any]) -> bool:
    return (
        label["split"] == "test"
        and label["status"] == "admitted"
        and label["settings_digest"] in offsets
        and not is_stiffness(label)
    )


def _of_one_digest(labels: Sequence[Label]) -> list[Label]:
    """Return those of the digest of settings that most have, in the order of ids."""
    counts = Counter(label["settings_digest"] for label in labels)
    chosen = min(counts, key=lambda name: (-counts[name], name)) if counts else None
    return sorted((label for label in labels if label["settings_digest"] == chosen), key=lambda label: label["_id"])


def _never_trained(found: HeldOut, splits: Mapping[str, str]) -> HeldOut | None:
    """Return the set without what is not in the test split; a label that was superseded is in none."""
    kept = [label for label in found.labels if splits.get(label["_id"], "test") == "test"]
    return replace(found, labels=kept) if kept else None


def held_out_for(
    view: StateView | None,
    labels: Sequence[Label],
    offsets: Mapping[str, Any],
    iteration: int,
    known: Sequence[str] | None = None,
) -> HeldOut | None:
    """Return the held-out set of a state that is being made, or None without labels that could be held out.

    Parameters
    ----------
    view : StateView or None
        The state whose force field it goes on with.
    labels : sequence of dict
        Its label documents, with their ``split``.
    offsets : mapping
        Its energy offsets, by digest of the settings of labels.
    iteration : int
    known : sequence of str or None
        Ids to choose from, where the force field goes on from a state of another node.
    """
    found = held_out_of(view) if view is not None else None
    if found is not None:
        return _never_trained(found, {label["_id"]: label["split"] for label in labels})
    chosen = eligible(labels, offsets, known)
    return HeldOut(iteration, chosen, is_new=True) if chosen else None


def eligible(labels: Sequence[Label], offsets: Mapping[str, Any], known: Collection[str] | None = None) -> list[Label]:
    """Return the labels of a state that can be held out, in the order of ids: of one digest, the one with most of them.

    Parameters
    ----------
    labels : sequence of dict
        All of the state, with their ``split``.
    offsets : mapping
        By digest; energies of labels without them cannot be compared.
    known : collection of str or None
        Ids to choose from; any if None.
    """
    kinds = ("family", "frame")
    trained = {(kind, label.get(kind)) for label in labels if label["split"] != "test" for kind in kinds}
    usable = [
        label
        for label in labels
        if _can_be_held_out(label, offsets)
        and not trained.intersection((kind, label.get(kind)) for kind in kinds)
        and (known is None or label["_id"] in known)
    ]
    return _of_one_digest(usable)[:MOST_FRAMES]


def held_out_errors(force_field: ForceField, held_out: HeldOut, offsets: Mapping[str, Any], workers: int) -> Document:
    """Return the errors of a force field on a held-out set (:class:`coevo.analysis.signals.residuals.Errors`), and ``failed``.

    ``failed`` counts the frames that it does not evaluate.
    """
    from coevo.analysis.hull.energy_scale import Offsets
    from coevo.analysis.signals.residuals import errors
    from coevo.models.contracts import Prediction

    scale = Offsets.from_dict(offsets[held_out.labels[0]["settings_digest"]])
    frames = [frame_of(label, scale, force_field.energy_scale) for label in held_out.labels]
    found = force_field.evaluate([frame.structure for frame in frames], workers=workers)
    rows = [(p, f) for p, f in zip(found, frames, strict=True) if isinstance(p, Prediction)]
    return {**asdict(errors([p for p, _ in rows], [f for _, f in rows])), "failed": len(frames) - len(rows)}
