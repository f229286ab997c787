"""What names a state and a label: the hashes, and what they cover."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from coevo.node_store.canonical import digest, dump_plain
from coevo.node_store.documents import DERIVED_EVALUATION_FIELDS

if TYPE_CHECKING:
    from collections.abc import Iterable

LABEL_IDENTITY = ("status", "reason", "energy_per_atom", "forces", "stress")
"""Fields of a label that its id covers, besides the frame and the digest of the settings."""


def identity_digest(document: dict[str, Any]) -> str:
    """Compute the id of a state from its document.

    :data:`coevo.node_store.documents.LEFT_OUT_OF_STATE_ID` lists what does not enter.
    """
    config = {key: value for key, value in document["config"].items() if key != "resources"}
    if isinstance(config.get("node"), dict):
        config["node"] = {key: value for key, value in config["node"].items() if key not in {"name", "description"}}
    # what came later is named where it is there: earlier states keep their ids
    origin = {"started_from": document["started_from"]["state"]} if document.get("started_from") is not None else {}
    return digest(
        {
            **origin,
            "schema_version": document["schema_version"],
            "parents": list(document["parents"]),
            "iteration": document["iteration"],
            "elements": sorted(document["elements"]),
            "config": config,
            "checkpoints": {
                kind: {key: checkpoint[key] for key in ("sha256", "family", "format")}
                for kind, checkpoint in document["checkpoints"].items()
            },
            "metrics": document["metrics"],
            "manifest": document["manifest"]["sha256"],
            "evaluations": document["evaluations"]["digest"],
        }
    )


class EvaluationsDigest:
    """The hash over all evaluations of a state, fed one by one in the order of kind and structure id."""

    def __init__(self) -> None:
        self._hasher = hashlib.sha256()
        self.count = 0

    def add(self, evaluation: dict[str, Any]) -> None:
        """Add the next evaluation, in plain JSON types; derived fields are left out."""
        content = {key: value for key, value in evaluation.items() if key not in DERIVED_EVALUATION_FIELDS}
        self.add_text(dump_plain(content))

    def add_text(self, text: bytes) -> None:
        """Add the next evaluation, in canonical JSON without derived fields."""
        self._hasher.update(text + b"\n")
        self.count += 1

    def hexdigest(self) -> str:
        """Return the digest of what was added so far."""
        return self._hasher.hexdigest()


def evaluations_digest(evaluations: Iterable[dict[str, Any]]) -> str:
    """Hash evaluations, given in any order."""
    hasher = EvaluationsDigest()
    for evaluation in sorted(evaluations, key=lambda document: (document["kind"], document["structure_id"])):
        hasher.add(evaluation)
    return hasher.hexdigest()


def label_id(label: dict[str, Any]) -> str:
    """Return the content id of a label: its frame, the digest of its settings, and its numbers or why it has none.

    The family, the kind of frame and how it was chosen are not covered: the same frame computed with the same settings is the
    same label wherever it was wanted.
    """
    numbers = {key: label.get(key) for key in LABEL_IDENTITY}
    return digest({"frame": label.get("frame"), "settings": label.get("settings_digest"), **numbers})
