"""Labels that a later import of the same calculation replaced: a state that has the later ones counts them only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    Label = dict[str, Any]

IMPORTED = "imported"
"""Code of labels from files that a user has already."""
ANCHORS = ("reference", "anchor")
"""How a frame was chosen on which the offsets between energy scales are fitted: a reference of the node, or an imported frame of
a pure element of which no reference is labelled."""


def without_superseded(labels: Iterable[Label]) -> list[Label]:
    """Return the labels that none of the others supersedes; of two that supersede each other the one of the lower id."""
    rows = list(labels)
    by_id = {label["_id"]: label for label in rows}
    gone = {
        old
        for label in rows
        for old in label.get("supersedes") or ()
        if old in by_id and not (label["_id"] in (by_id[old].get("supersedes") or ()) and label["_id"] > old)
    }
    return [label for label in rows if label["_id"] not in gone]


def superseded_by(older: Sequence[Label]) -> Callable[[Label], list[str]]:
    """Return what tells the ids of the older labels that a new one replaces.

    They are imported labels of the same frame under another digest that have the same forces and the same energy or stress: the
    same calculation, read again. So are rejected ones from before settings were told apart as they are now.
    """
    by_frame: dict[str, list[Label]] = {}
    for label in older:
        if label.get("code") == IMPORTED and label.get("frame"):
            by_frame.setdefault(label["frame"], []).append(label)

    def find(new: Label) -> list[str]:
        return sorted(
            label["_id"]
            for label in by_frame.get(new["frame"], ())
            if label["settings_digest"] != new["settings_digest"] and _is_same_calculation(new, label)
        )

    return find


def _is_same_calculation(new: Label, old: Label) -> bool:
    if old["status"] != "admitted":
        return "settings_base" not in old and old["status"] == "rejected"
    if new["status"] != "admitted":
        return False
    return bool(
        new["forces"] == old["forces"] and (new["energy_per_atom"] == old["energy_per_atom"] or new["stress"] == old["stress"])
    )
