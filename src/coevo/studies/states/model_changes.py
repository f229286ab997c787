"""What became of the force field in a state, told from the checkpoints: a fit that ends where it began is no new model."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Literal

from coevo.errors import CorruptArtifactError

if TYPE_CHECKING:
    from coevo.node_store.views import StateView

Change = Literal["published", "new", "unchanged", "parent's"]


def force_field_change(view: StateView) -> Change:
    """Say what became of the force field.

    Returns
    -------
    {"published", "new", "unchanged", "parent's"}
        Published: the first state of a node. Parent's: no fit was made, or it was not adopted. Unchanged: it was adopted, and no
        epoch was better than none, so its weights are those of a parent, by their sha256.
    """
    outcome = view.document["metrics"].get("force_field")
    if outcome is None:
        return "parent's" if view.parents else "published"
    if not outcome["adopted"]:
        return "parent's"
    return "unchanged" if view.document["checkpoints"]["force_field"]["sha256"] in _parents_force_fields(view) else "new"


def _parents_force_fields(view: StateView) -> set[str]:
    found = {str(view.document["checkpoints"]["force_field"].get("parent"))}
    with suppress(CorruptArtifactError):  # a parent that cannot be read is told of by coevo verify
        found |= {parent.document["checkpoints"]["force_field"]["sha256"] for parent in view.parent_views()}
    return found
