"""The checkpoints of a line of states on one held-out set: what each state recorded, and which did not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from coevo.node_store.views import StateView


@dataclass(frozen=True)
class HeldOutCourse:
    """Errors of states on the set that the newest of them recorded.

    Attributes
    ----------
    about : dict or None
        What that state says of the set (``digest``, ``since``, ``frames``, ``structures``, ``code``, ``functional``, …); None if
        none of the states has one.
    errors : list of (dict or None)
        Of each state, in order; None where they are not known.
    """

    about: Mapping[str, Any] | None
    errors: list[Mapping[str, Any] | None]


def held_out_course(states: Sequence[StateView]) -> HeldOutCourse:
    """Return the errors of a line of states, oldest first, on one set.

    Errors are of a checkpoint: states that share one share them, and the state that recorded the set first has those of the
    checkpoints before it as well. Errors on another set (another digest) are not among them.
    """
    recorded = [(_model(state), state.document["metrics"].get("held_out")) for state in states]
    about = next((found for _, found in reversed(recorded) if found), None)
    if about is None:
        return HeldOutCourse(None, [None] * len(states))
    known: dict[str, Mapping[str, Any]] = {}
    for model, found in recorded:
        if found and found["digest"] == about["digest"]:
            known[model] = found["errors"]
            for row in found.get("before", ()):
                known.setdefault(row["model"], row["errors"])
    return HeldOutCourse(about, [known.get(model) for model, _ in recorded])


def _model(state: StateView) -> str:
    return str(state.document.get("checkpoints", {}).get("force_field", {}).get("sha256", ""))
