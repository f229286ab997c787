"""Unite: the populations, labels and samples of one state or two, as one, before they are evaluated by one force field.

Also here, train, validation and test after a merge: a frame that is test in either parent is never trained on.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from coevo.configs.tree import CurationConfig, NodeSection
from coevo.makers.labels.same_crystals import same_crystals
from coevo.makers.labels.stiffness import is_stiffness
from coevo.makers.step import StepMaker, current_store, read_records, step, write_records

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from coevo.analysis.comparison.matching import Matching
    from coevo.makers.outputs import United
    from coevo.makers.step import Document, Record, ShardReference
    from coevo.node_store.store import NodeStore
    from coevo.node_store.views import StateView


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


def united_splits(parents: Sequence[Iterable[Record]], matching: Matching) -> dict[str, str]:
    """Assign the labels of several states to splits.

    Frames of one family, of families that are one crystal, and labels of one frame belong together. Such a group is test if
    any of its labels was test in any parent, else validation if any was, else train. Labels of stiffness stay what they are.

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
    from coevo.makers.labels.imported import without_superseded

    labels: dict[str, Record] = {}
    wanted: dict[str, set[str]] = {}
    groups = _Groups()
    for parent in parents:
        for label in parent:
            identity = label["_id"]
            labels.setdefault(identity, label)
            wanted.setdefault(identity, set()).add(label["split"])
            group = f"label {identity}"
            for kind in () if is_stiffness(label) else ("family", "frame"):
                if label.get(kind):
                    groups.join(group, f"{kind} {label[kind]}")
    if len(parents) > 1:
        for family, representative in same_crystals(labels.values(), matching).items():
            groups.join(f"family {family}", f"family {representative}")
    splits: dict[str, set[str]] = {}
    for identity, found in wanted.items():
        splits.setdefault(groups.find(f"label {identity}"), set()).update(found)
    return {
        identity: next(split for split in PRECEDENCE if split in splits[groups.find(f"label {identity}")])
        for identity in sorted(label["_id"] for label in without_superseded(labels.values()))
    }


@dataclass
class UniteMaker(StepMaker):
    """Unite what the parents of a merge (or the one parent of an extension) hold.

    Attributes
    ----------
    node : NodeSection
        Of the new state.
    curation : CurationConfig
        Its tolerances decide which label families are frames of one crystal.
    """

    name: str = "unite"
    node: NodeSection = field(kw_only=True)
    curation: CurationConfig = field(default_factory=CurationConfig)

    packages: ClassVar[tuple[str, ...]] = ("numpy", "scipy", "pymatgen-core")

    @step
    def make(self, parents: list[str], start: str, iteration: int, references: ShardReference | None = None) -> United:
        """Unite.

        Parameters
        ----------
        parents : list of str
            State ids, in the order in which the new state names them.
        start : str
            The parent whose force field the new state starts from; where both have a structure, its geometry and energy count.
        iteration : int
            Of the new state.
        references : dict or None
            Shard reference of reference documents that are new.

        Returns
        -------
        dict
            ``population`` (shard of ``{id, kind, structure, energy_per_atom, fmax, note, since, model}``), ``samples`` (iteration
            to shard reference), ``splits`` (shard of ``{id, split}`` for all labels), ``offsets``, ``references`` (shard of the
            new reference documents), ``counts``.
        """
        from coevo.makers.populations.population import matching_of, open_state, population_records

        store = current_store()
        views = [open_state(store, self.node.name, parent) for parent in parents]
        # what both have is taken from the start, then from the state with the lower id: the order of the parents does not count
        views.sort(key=lambda view: (view.id != start, view.id))
        known = {identifier for view in views for identifier in view.manifest["references"]}
        added = [row for row in read_records(store, references or []) if row["_id"] not in known]
        records, counts = united_population(
            [*(population_records(view) for view in views), [_to_be_evaluated(row, iteration) for row in added]]
        )
        labels = [list(view.labels()) for view in views]
        splits = united_splits(labels, matching_of(self.curation))
        counts |= {
            "labels": len(splits),
            "labels_in_both": sum(len(rows) for rows in labels) - len(splits),
            "references_added": len(added),
            "origins": _other_origins(views),
        }
        return {
            "population": write_records(store, records),
            "samples": {since: write_records(store, rows) for since, rows in _samples(store, views).items()},
            "splits": write_records(store, [{"id": i, "split": split} for i, split in sorted(splits.items())]),
            "offsets": {k: v for view in reversed(views) for k, v in view.manifest["offsets"].items()},
            "references": write_records(store, added),
            "counts": counts,
        }


def united_population(populations: Sequence[Sequence[Record]]) -> tuple[list[Record], Document]:
    """Return the union of populations by id, sorted, and counts; the first that has a structure gives its geometry.

    A structure that is a reference anywhere is a reference. It entered when the first of them admitted it.
    """
    united: dict[str, Record] = {}
    shared = became_reference = 0
    for records in populations:
        for record in records:
            found = united.get(record["id"])
            if found is None:
                united[record["id"]] = record
                continue
            shared += 1
            became_reference += found["kind"] != record["kind"]
            kind = "reference" if "reference" in {found["kind"], record["kind"]} else "entry"
            united[record["id"]] = {**found, "kind": kind, "since": min(found["since"], record["since"])}
    rows = [united[identifier] for identifier in sorted(united)]
    kinds = [row["kind"] for row in rows]
    return rows, {
        "entries": kinds.count("entry"),
        "references": kinds.count("reference"),
        "in_both": shared,
        "entries_that_became_references": became_reference,
    }


def _to_be_evaluated(reference: Record, iteration: int) -> Record:
    return {"id": reference["_id"], "kind": "reference", "structure": reference["structure"], "since": iteration, "model": ""}


def _other_origins(views: Sequence[StateView]) -> Document:
    """Origins of entries that both parents found, each in its own way; the structure document keeps one of them."""
    if len(views) < 2:
        return {}
    first, second = views
    both = sorted(set(first.manifest["structures"]) & set(second.manifest["structures"]))
    pairs = zip(first.structure_documents(both), second.structure_documents(both), strict=True)
    return {a["_id"]: [a.get("origin"), b.get("origin")] for a, b in pairs if a.get("origin") != b.get("origin")}


def _samples(store: NodeStore, views: Sequence[StateView]) -> dict[str, list[Record]]:
    """Samples of all iterations: where both parents have one, both together, in the order of ids."""
    found: dict[str, dict[str, Record]] = {}
    for view in views:
        for since, sha256 in view.manifest["samples"].items():
            for row in read_records(store, {"sha256": sha256}):
                found.setdefault(since, {}).setdefault(row["id"], row)
    return {since: [rows[i] for i in sorted(rows)] for since, rows in sorted(found.items())}
