"""Train, validation and test after a merge: a frame that is test in either parent is never trained on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from coevo.analysis.comparison.matching import Matching

Label = dict[str, Any]
PRECEDENCE = ("test", "validation", "train")


class _Groups:
    """Disjoint sets of names (union-find)."""

    def __init__(self) -> None:
        self._parent: dict[str, str] = {}

    def find(self, name: str) -> str:
        self._parent.setdefault(name, name)
        while self._parent[name] != name:
            self._parent[name] = self._parent[self._parent[name]]
            name = self._parent[name]
        return name

    def join(self, one: str, other: str) -> None:
        a, b = sorted((self.find(one), self.find(other)))
        self._parent[b] = a


def united_splits(parents: Sequence[Iterable[Label]], matching: Matching) -> dict[str, str]:
    """Assign the labels of several states to splits.

    Frames of one family, of families that are one crystal, and labels of one frame belong together. Such a group is test if
    any of its labels was test in any parent, else validation if any was, else train.

    Parameters
    ----------
    parents : sequence of iterables of dict
        Label documents of each state, with their ``split``.
    matching : Matching
        Tolerances of the uniqueness test.

    Returns
    -------
    dict of str to str
        Label id to split, for the union of all labels without those that others of them supersede. It does not depend on the
        order of the parents.
    """
    from coevo.makers.labels.superseded import without_superseded

    labels: dict[str, Label] = {}
    wanted: dict[str, set[str]] = {}
    groups = _Groups()
    for parent in parents:
        for label in parent:
            identity = label["_id"]
            labels.setdefault(identity, label)
            wanted.setdefault(identity, set()).add(label["split"])
            group = f"label {identity}"
            for kind in ("family", "frame"):
                if label.get(kind):
                    groups.join(group, f"{kind} {label[kind]}")
    if len(parents) > 1:
        for family, representative in _same_crystals(labels.values(), matching).items():
            groups.join(f"family {family}", f"family {representative}")
    splits: dict[str, set[str]] = {}
    for identity, found in wanted.items():
        splits.setdefault(groups.find(f"label {identity}"), set()).update(found)
    return {
        identity: next(split for split in PRECEDENCE if split in splits[groups.find(f"label {identity}")])
        for identity in sorted(label["_id"] for label in without_superseded(labels.values()))
    }


def _same_crystals(labels: Iterable[Label], matching: Matching) -> dict[str, str]:
    """Representative of each family whose relaxed frame is labelled."""
    from coevo.analysis.comparison.uniqueness import Item, find_representatives
    from coevo.node_store.canonical import structure_from_document

    relaxed: dict[str, Label] = {}
    for label in sorted(labels, key=lambda label: label["_id"]):
        if label.get("kind") == "relaxed" and label.get("structure") and label.get("family"):
            relaxed.setdefault(label["family"], label)
    # the energies only order the comparison; a frame without one comes last
    items = [
        Item(family, structure_from_document(x["structure"]), x["energy_per_atom"] if x["energy_per_atom"] is not None else 1e9)
        for family, x in sorted(relaxed.items())
    ]
    return find_representatives(items, [], matching)
