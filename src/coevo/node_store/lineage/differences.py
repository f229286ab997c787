"""What one state has that another has not, both ways; the states may be of different nodes.

Ids are content, so the same structure, label or reference is recognised wherever it was found. Evaluations are read as two
streams in the order of ids, with the fields that are compared and no geometry; documents are read of what only one side has.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

from coevo.configs.loading import config_difference
from coevo.node_store.lineage.difference_documents import (
    CheckpointChange,
    ComparedState,
    EntryRow,
    LabelRow,
    MetricChange,
    OneSided,
    ReferenceRow,
    SplitChange,
    StabilityChange,
    StateDifference,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from coevo.node_store.views import StateView

_COMPARED = ("structure_id", "formula", "energy_above_hull", "is_stable", "is_sun", "iteration_added")


def difference(left: StateView, right: StateView, *, origins: int | None = None) -> StateDifference:
    """Compare two states, of one node or of two.

    Parameters
    ----------
    left, right : StateView
    origins : int, optional
        Of how many entries of each side the origin is read, most stable first: it stands in the document of the structure,
        which must be read whole. All by default.

    Returns
    -------
    StateDifference

    Raises
    ------
    ArtifactNotFoundError
        If a document of a state is not stored.
    """
    lost, gained, stability = _compare_entries(left, right)
    old, new = left.document, right.document
    return StateDifference(
        left=ComparedState(left.node, left.id, left.iteration),
        right=ComparedState(right.node, right.id, right.iteration),
        only_left=_one_sided(left, right, lost, origins),
        only_right=_one_sided(right, left, gained, origins),
        splits=_split_changes(left.manifest["labels"], right.manifest["labels"]),
        checkpoints=_checkpoint_changes(old["checkpoints"], new["checkpoints"]),
        configuration=tuple(config_difference(old["config"], new["config"])),
        metrics=_metric_changes(old["metrics"], new["metrics"]),
        stability=tuple(stability),
    )


def _compare_entries(
    left: StateView, right: StateView
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], list[StabilityChange]]:
    """Merge two streams that are sorted by id: entries of the left only, of the right only, and changes of those of both."""
    lost: list[dict[str, Any]] = []
    gained: list[dict[str, Any]] = []
    changed: list[StabilityChange] = []
    if left.document["evaluations"] == right.document["evaluations"]:  # the same digest: nothing to read
        return lost, gained, changed
    streams = (left.entries(projection=_COMPARED), right.entries(projection=_COMPARED))
    old, new = (next(stream, None) for stream in streams)
    while old is not None or new is not None:
        if new is None or (old is not None and old["structure_id"] < new["structure_id"]):
            assert old is not None
            lost.append(old)
            old = next(streams[0], None)
        elif old is None or new["structure_id"] < old["structure_id"]:
            gained.append(new)
            new = next(streams[1], None)
        else:
            if any(old.get(key) != new.get(key) for key in ("is_stable", "is_sun")):
                changed.append(_stability_change(old, new))
            old, new = (next(stream, None) for stream in streams)
    changed.sort(key=lambda row: (row.change is None, -abs(row.change or 0.0), row.id))
    return lost, gained, changed


def _stability_change(old: dict[str, Any], new: dict[str, Any]) -> StabilityChange:
    before, after = old.get("energy_above_hull"), new.get("energy_above_hull")
    return StabilityChange(
        id=old["structure_id"],
        formula=old["formula"],
        left_energy_above_hull=before,
        right_energy_above_hull=after,
        change=None if before is None or after is None else after - before,
        left_is_stable=old.get("is_stable"),
        right_is_stable=new.get("is_stable"),
        left_is_sun=old.get("is_sun"),
        right_is_sun=new.get("is_sun"),
    )


def _one_sided(view: StateView, other: StateView, entries: list[dict[str, Any]], origins: int | None) -> OneSided:
    """Describe what a state has and the other has not; ``entries`` are its evaluations without counterpart."""
    entries.sort(key=lambda row: (row["energy_above_hull"] is None, row["energy_above_hull"] or 0.0, row["structure_id"]))
    found: dict[str, Any] = {}
    wanted = sorted(row["structure_id"] for row in islice(entries, origins))
    for document in view.structure_documents(wanted):
        found[document["_id"]] = document.get("origin")
    rows = tuple(
        EntryRow(
            id=row["structure_id"],
            formula=row["formula"],
            energy_above_hull=row["energy_above_hull"],
            is_sun=row.get("is_sun"),
            iteration_added=row.get("iteration_added"),
            origin=found.get(row["structure_id"]),
        )
        for row in entries
    )
    return OneSided(rows, tuple(_references(view, other)), tuple(_labels(view, other)))


def _only(mine: Iterable[str], others: Iterable[str]) -> list[str]:
    return sorted(set(mine).difference(others))


def _references(view: StateView, other: StateView) -> Iterator[ReferenceRow]:
    for document in view.documents("references", _only(view.manifest["references"], other.manifest["references"])):
        yield ReferenceRow(document["_id"], document["formula"], document.get("name"), document.get("source"))


def _labels(view: StateView, other: StateView) -> Iterator[LabelRow]:
    splits = view.manifest["labels"]
    for document in view.documents("labels", _only(splits, other.manifest["labels"])):
        described = (document.get(key) for key in ("kind", "code"))
        yield LabelRow(document["_id"], document.get("status"), splits[document["_id"]], *described)


def _split_changes(left: dict[str, str], right: dict[str, str]) -> tuple[SplitChange, ...]:
    both = sorted(left.keys() & right.keys())
    return tuple(SplitChange(label, left[label], right[label]) for label in both if left[label] != right[label])


def _checkpoint_changes(left: dict[str, dict[str, Any]], right: dict[str, dict[str, Any]]) -> tuple[CheckpointChange, ...]:
    def described(document: dict[str, Any] | None) -> dict[str, Any] | None:
        return document and {key: document.get(key) for key in ("family", "sha256", "parent")}

    # the places of the same blob may differ, and say nothing of the state
    pairs = ((model, described(left.get(model)), described(right.get(model))) for model in sorted(left.keys() | right.keys()))
    return tuple(CheckpointChange(model, old, new) for model, old, new in pairs if old != new)


def _metric_changes(left: dict[str, Any], right: dict[str, Any]) -> tuple[MetricChange, ...]:
    old, new = dict(_numbers(left)), dict(_numbers(right))
    changes = []
    for name in [*old, *(name for name in new if name not in old)]:
        before, after = old.get(name), new.get(name)
        if before != after:
            changes.append(MetricChange(name, before, after, None if before is None or after is None else after - before))
    return tuple(changes)


def _numbers(value: Any, path: str = "") -> Iterator[tuple[str, float]]:
    """Yield the numbers of nested metrics with their paths; booleans, texts and nulls are no numbers.

    Records in lists, as of each structure that an audit looked at, are left out: those in one place are of different things.
    """
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _numbers(item, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            if isinstance(item, dict):
                continue
            yield from _numbers(item, f"{path}.{index}")
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield path, value
