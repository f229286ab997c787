"""Labels behind what evaluations say of a hull of labelled phases: an entry is confirmed or refuted by a label, or by nobody."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

JUDGED = ("confirmed", "refuted")
"""``hull_status`` of an entry by its label."""

Said = tuple[str, str]
"""Family and digest of the settings of a label that says the energy of a relaxed frame."""


def energies_said(labels: Iterable[Mapping[str, Any]]) -> dict[str, Said]:
    """Return family and settings digest, by id, of the admitted labels of relaxed frames."""
    return {
        label["_id"]: (str(label.get("family")), str(label.get("settings_digest")))
        for label in labels
        if label.get("status") == "admitted" and label.get("kind") == "relaxed"
    }


def judged_entry(evaluation: Mapping[str, Any]) -> dict[str, str]:
    """Return id and ``hull_status`` of an entry that a label is said to confirm or refute, and nothing of others."""
    status = evaluation.get("hull_status")
    return {evaluation["structure_id"]: status} if status in JUDGED else {}


def without_label(judged: Mapping[str, str], manifest: Mapping[str, Any], said: Mapping[str, Said]) -> str:
    """Say which entries are confirmed or refuted without a label; empty if none is.

    Parameters
    ----------
    judged : mapping of str to str
        Of a state: entries and their ``hull_status`` (:func:`judged_entry`).
    manifest : mapping
        Of the state: its ``labels`` and ``offsets``.
    said : mapping of str to tuple
        :func:`energies_said` of at least the state's labels.
    """
    own = (said[identifier] for identifier in manifest["labels"] if identifier in said) if judged else ()
    labelled = {family for family, digest in own if digest in manifest["offsets"]}
    lacking = sorted(judged.keys() - labelled)
    if not lacking:
        return ""
    more = f", and {len(lacking) - 1} more are" if len(lacking) > 1 else ""
    return (
        f"entry {lacking[0]} is {judged[lacking[0]]}{more} by its evaluations, and the state has no admitted label of its "
        "relaxed frame with energy offsets"
    )
