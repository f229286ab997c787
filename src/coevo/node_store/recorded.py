"""What a state records of how it was made: seconds of work for each step of the loop, and metrics as this coevo writes them.

Also here, what became of the force field in a state, told from the checkpoints: a fit that ends where it began is no new model.
"""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from coevo.errors import ArtifactNotFoundError, CoevoError, CorruptArtifactError, NodeNotFoundError, StateNotFoundError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from coevo.node_store.views import StateView


STEPS = (
    "generate",
    "race",
    "screen",
    "breed",
    "curate",
    "spread",
    "select",
    "label",
    "train-force-field",
    "calibrate",
    "train-member",
    "evaluate-references",
    "fit-offsets",
    "re-evaluate",
    "re-evaluate-member",
    "assess",
    "opinions",
    "audit",
    "audit-label",
    "judge-audit",
    "train-generator",
    "calibrate-environments",
    "measure",
)

GENERATOR_STEPS = ("generate", "train-generator")
"""Steps whose jobs name the family, in a node of several generators."""

NOT_FOUND = (ArtifactNotFoundError, NodeNotFoundError, StateNotFoundError)
"""Lookups that failed for another reason than a number that is not there."""


@contextmanager
def readable(view: StateView) -> Iterator[None]:
    """Turn numbers that are not there, as in a state that somebody else's code made, into one error.

    Raises
    ------
    CorruptArtifactError
    """
    try:
        yield
    except (LookupError, ArithmeticError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, NOT_FOUND):
            raise
        raise CorruptArtifactError(
            f"the metrics of {view.node}@{view.id[:12]} are not those that this coevo writes ({type(error).__name__}: {error}); "
            "there is no table of them; --format json shows them as they are"
        ) from error


@contextmanager
def readable_configuration(view: StateView) -> Iterator[None]:
    """Turn a configuration that is none, as in a state that somebody else's code made, into one error.

    Raises
    ------
    CorruptArtifactError
    """
    try:
        yield
    except CoevoError:
        raise
    except (LookupError, ArithmeticError, TypeError, ValueError, AttributeError) as error:
        told = " ".join(str(error).split())[:200]
        raise CorruptArtifactError(
            f"the configuration of {view.node}@{view.id[:12]} is none of this coevo ({type(error).__name__}: {told}); "
            f"nothing was made of it; coevo show {view.node}@{view.id[:12]} --format json shows it as it is"
        ) from error


def recorded_members(view: StateView) -> dict[str, dict[str, Any]]:
    """What a state records of the members of its second opinion, by name; nothing of what this coevo would not write."""
    told = view.document["metrics"].get("committee")
    members = told.get("members") if isinstance(told, dict) else None
    return {name: each for name, each in members.items() if isinstance(each, dict)} if isinstance(members, dict) else {}


def step_seconds(view: StateView) -> dict[str, float]:
    """Seconds of work per step of the loop; a shard that was reused counts with the time of its first run.

    Shards that ran side by side in one process, whose start is known to the millisecond, count with the time that passed.
    """
    seconds = _seconds(view, _step_of)
    return {name: seconds[name] for name in STEPS if name in seconds}


def generator_seconds(view: StateView) -> dict[str, dict[str, float]]:
    """Seconds of work of each family of a mixture, counted as :func:`step_seconds` does, by step (generate, train-generator).

    Jobs that were done first in a node of one generator name no family, and are in no sum.
    """

    def family_of(run: Mapping[str, Any]) -> tuple[str, str]:
        step, parts = _step_of(run), run["name"].split("/")
        after = parts[parts.index(step) + 1 :] if step in parts else []
        return step, after[0] if step in GENERATOR_STEPS and after and not after[0].isdecimal() else ""

    found: dict[str, dict[str, float]] = {}
    for (step, family), spent in _seconds(view, family_of).items():
        if family:
            found.setdefault(family, {})[step] = spent
    return found


def _seconds(view: StateView, of: Callable[[Mapping[str, Any]], Any]) -> Counter[Any]:
    """Seconds of work of the runs of a state, by what a run is of."""
    seconds: Counter[Any] = Counter()
    until: dict[tuple[Any, str], float] = {}
    for run in sorted(view.document.get("provenance", {}).get("jobs", []), key=lambda run: str(run.get("started", ""))):
        what, spent = of(run), run["seconds"]
        began, place = _moment(str(run.get("started", ""))), (what, str(run.get("host")))
        if began is not None:
            spent = max(0.0, began + spent - max(began, until.get(place, began)))
            until[place] = max(until.get(place, 0.0), began + run["seconds"])
        seconds[what] += spent
    return seconds


def halved_batches(view: StateView) -> dict[str, dict[str, int]]:
    """Steps whose batches a force field answered in parts: step to reason to structures of the smallest part."""
    found: dict[str, dict[str, int]] = {}
    for run in view.document.get("provenance", {}).get("jobs", []):
        for reason, size in (run.get("halved_batches") or {}).items():
            smallest = found.setdefault(_step_of(run), {})
            smallest[reason] = min(int(size), smallest.get(reason, int(size)))
    return {name: dict(sorted(found[name].items())) for name in sorted(found, key=_place_of)}


def _place_of(step: str) -> int:
    return STEPS.index(step) if step in STEPS else len(STEPS)


def _step_of(run: Mapping[str, Any]) -> str:
    parts: list[str] = run["name"].split("/")
    return next((part for part in parts if part in STEPS), parts[-1])


def _moment(started: str) -> float | None:
    """Seconds since the epoch, if the start is known to the millisecond."""
    with suppress(ValueError):
        return datetime.fromisoformat(started).timestamp() if "." in started else None
    return None


Change = Literal["published", "new", "unchanged", "parent's"]


def force_field_change(view: StateView) -> Change:
    """Say what became of the force field.

    Returns
    -------
    {"published", "new", "unchanged", "parent's"}
        Published: the first state of a node. Parent's: no fit was made, or it was not adopted. Unchanged: it was adopted, and no
        epoch was better than none, so its weights are those of a parent, by their sha256. Of the first state of a node that
        started from another one's state, parent's: it goes on with the force field of that state, which was trained there.
    """
    outcome = view.document["metrics"].get("force_field")
    if not view.parents and (outcome is None or view.started_from):
        return "parent's" if view.document["checkpoints"]["force_field"].get("parent") else "published"
    if outcome is None:
        return "parent's"
    if not outcome["adopted"]:
        return "parent's"
    return "unchanged" if view.document["checkpoints"]["force_field"]["sha256"] in _parents_force_fields(view) else "new"


def _parents_force_fields(view: StateView) -> set[str]:
    found = {str(view.document["checkpoints"]["force_field"].get("parent"))}
    with suppress(CorruptArtifactError):  # a parent that cannot be read is told of by coevo verify
        found |= {parent.document["checkpoints"]["force_field"]["sha256"] for parent in view.parent_views()}
    return found
