"""Documents of a difference between two states: what :func:`coevo.node_store.lineage.differences.difference` returns."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class ComparedState:
    """One of the two states: ``node``, ``id`` and ``iteration``."""

    node: str
    id: str
    iteration: int


@dataclass(frozen=True)
class EntryRow:
    """An entry that one side has.

    Attributes
    ----------
    id, formula : str
    energy_above_hull : float or None
        In the state that has it, eV/atom.
    is_sun : bool or None
    iteration_added : int or None
    origin : dict or None
        Generator, operator, seed, …; None where it was not asked for, or the entry has none.
    """

    id: str
    formula: str
    energy_above_hull: float | None
    is_sun: bool | None
    iteration_added: int | None
    origin: dict[str, Any] | None


@dataclass(frozen=True)
class ReferenceRow:
    """A reference that one side has: ``id``, ``formula``, ``name`` and ``source``."""

    id: str
    formula: str
    name: str | None
    source: str | None


@dataclass(frozen=True)
class LabelRow:
    """A label that one side has: ``id``, ``status`` (admitted, rejected, failed), ``split``, ``kind`` of frame and ``code``."""

    id: str
    status: str | None
    split: str
    kind: str | None
    code: str | None


@dataclass(frozen=True)
class OneSided:
    """What only one of two states has.

    Attributes
    ----------
    entries : tuple of EntryRow
        Most stable first.
    references, labels : tuple of ReferenceRow, of LabelRow
        In the order of ids.
    """

    entries: tuple[EntryRow, ...] = ()
    references: tuple[ReferenceRow, ...] = ()
    labels: tuple[LabelRow, ...] = ()

    def label_counts(self) -> dict[str, dict[str, int]]:
        """Count the labels by status and split: ``{"admitted": {"train": 12, "test": 3}}``."""
        counts: dict[str, dict[str, int]] = {}
        for label in self.labels:
            splits = counts.setdefault(label.status or "unknown", {})
            splits[label.split] = splits.get(label.split, 0) + 1
        return {status: dict(sorted(splits.items())) for status, splits in sorted(counts.items())}


@dataclass(frozen=True)
class SplitChange:
    """A label of both states that one of them has in another split."""

    id: str
    left: str
    right: str


@dataclass(frozen=True)
class CheckpointChange:
    """A model that differs: ``family``, ``sha256`` and ``parent`` on each side; None where the state has no such model."""

    model: str
    left: dict[str, Any] | None
    right: dict[str, Any] | None


@dataclass(frozen=True)
class MetricChange:
    """A number of the metrics that differs.

    Attributes
    ----------
    name : str
        Its path, ``entropy.mean``; items of lists by number.
    left, right : float or None
        None where the state has no such number.
    change : float or None
        Right minus left.
    """

    name: str
    left: float | None
    right: float | None
    change: float | None


@dataclass(frozen=True)
class StabilityChange:
    """An entry of both states that is stable, or S.U.N., in one of them only; E_hull in eV/atom, change is right minus left."""

    id: str
    formula: str
    left_energy_above_hull: float | None
    right_energy_above_hull: float | None
    change: float | None
    left_is_stable: bool | None
    right_is_stable: bool | None
    left_is_sun: bool | None
    right_is_sun: bool | None


@dataclass(frozen=True)
class StateDifference:
    """What two states have not in common.

    Attributes
    ----------
    left, right : ComparedState
    only_left, only_right : OneSided
    splits : tuple of SplitChange
    checkpoints : tuple of CheckpointChange
    configuration : tuple of str
        ``key: left value -> right value``.
    metrics : tuple of MetricChange
    stability : tuple of StabilityChange
        Largest change of E_hull first.
    """

    left: ComparedState
    right: ComparedState
    only_left: OneSided = field(default_factory=OneSided)
    only_right: OneSided = field(default_factory=OneSided)
    splits: tuple[SplitChange, ...] = ()
    checkpoints: tuple[CheckpointChange, ...] = ()
    configuration: tuple[str, ...] = ()
    metrics: tuple[MetricChange, ...] = ()
    stability: tuple[StabilityChange, ...] = ()

    def is_empty(self) -> bool:
        """Whether the states have everything in common that is compared."""
        one_sided = (self.only_left, self.only_right)
        changes = (self.splits, self.checkpoints, self.configuration, self.metrics, self.stability)
        return all(side == OneSided() for side in one_sided) and not any(changes)

    def to_dict(self) -> dict[str, Any]:
        """Return the difference as JSON, with the counts of labels by status and split on each side."""
        document = asdict(self)
        for name, side in (("only_left", self.only_left), ("only_right", self.only_right)):
            document[name]["label_counts"] = side.label_counts()
        return document
