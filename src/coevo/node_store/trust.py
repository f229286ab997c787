"""Which checkpoints may be loaded: those of this database, and those of bundles whose format cannot run code.

Pickle formats run code of their author when they are loaded. A checkpoint that comes in a bundle is therefore marked untrusted
unless its declared format is one of :data:`SAFE_FORMATS` and its first bytes are those of that format.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Literal

from coevo.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from coevo.node_store.store import NodeStore
    from coevo.node_store.views import StateView

Condition = Literal["here", "untrusted", "not here"]

SAFE_FORMATS = ("safetensors", "json")
"""Formats that hold numbers and text only; a version may follow after a hyphen (``safetensors-1``)."""

HEAD = 16
"""First bytes of a checkpoint that :func:`suspicion` looks at."""

UNSEEN = "its bytes were not in the bundle, so nobody has looked at them"
"""Reason of a checkpoint that a thin bundle left out; dropped when its bytes come and are harmless."""

_DECLARED = re.compile(rf"({'|'.join(SAFE_FORMATS)})([-+.][A-Za-z0-9+._-]*)?")
_PICKLE = re.compile(rb"\x80[\x00-\x05]")
_SAFETENSORS_HEADER = 100_000_000
"""Largest header that the safetensors library itself reads, bytes."""


def suspicion(declared: str, head: bytes | None, size: int) -> str:
    """Say why a checkpoint that comes from elsewhere is not to be loaded; empty if it may be.

    Parameters
    ----------
    declared : str
        Its format, as its state says.
    head : bytes or None
        Its first :data:`HEAD` bytes; None if it is not there.
    size : int
        Bytes.
    """
    match = _DECLARED.fullmatch(declared)
    if not match:
        return f"its format {declared!r} is not one of those that cannot run code ({', '.join(SAFE_FORMATS)})"
    if head is None:
        return UNSEEN
    if _looks_like(match[1], head, size):
        return ""
    what = (
        "begins like a pickle" if _PICKLE.match(head) else "is a zip file, as torch.save writes them" if head[:2] == b"PK" else ""
    )
    return f"it is declared as {declared!r} and {what or 'does not begin like one'}"


def _looks_like(kind: str, head: bytes, size: int) -> bool:
    if kind == "json":
        return head.lstrip(b" \t\r\n")[:1] in {b"{", b"["}
    header = int.from_bytes(head[:8], "little")
    return len(head) > 8 and head[8:9] == b"{" and 2 <= header <= min(_SAFETENSORS_HEADER, size - 8)


def condition(store: NodeStore, checkpoint: dict[str, Any]) -> Condition:
    """Say whether a checkpoint can be loaded here."""
    sha256 = checkpoint["sha256"]
    if not store.artifacts.has(sha256):
        return "not here"
    return "untrusted" if sha256 in store.backend.untrusted() else "here"


def fetch_checkpoint(store: NodeStore, checkpoint: dict[str, Any]) -> Path:
    """Return a verified local file with a checkpoint that may be loaded.

    Parameters
    ----------
    store : NodeStore
    checkpoint : dict
        As a state or a job result holds it.

    Raises
    ------
    CheckpointError
        If it is not here, or came in a bundle and is not trusted.
    CorruptArtifactError
        If its bytes are damaged.
    """
    sha256, family = checkpoint["sha256"], checkpoint.get("family", "unknown")
    reason = store.backend.untrusted().get(sha256)
    if not store.artifacts.has(sha256):
        uri = checkpoint.get("uri")
        where = f"its state says that it was written to {uri}" if uri else (reason or "nothing says where it was written")
        raise CheckpointError(
            f"checkpoint {sha256} (family {family}) is not in {store.artifacts.uri}: a bundle without checkpoints was imported, "
            f"or the blob was removed; {where}; get it by importing a bundle that has it, by `coevo import FILE "
            f"--fetch-checkpoints` if you trust that place, or copy the file to {store.artifacts.uri_of(sha256)}"
        )
    if reason is not None:
        raise CheckpointError(
            f"checkpoint {sha256} (family {family}, format {checkpoint.get('format', 'unknown')}) is not trusted and was not "
            f"loaded: {reason}; loading it may run code of whoever made it; if you know where it comes from: coevo trust {sha256}"
        )
    return store.artifacts.fetch(sha256)


def checkpoints_of(views: Iterable[StateView]) -> set[str]:
    """Names of all checkpoints of states."""
    return {checkpoint["sha256"] for view in views for checkpoint in view.document["checkpoints"].values()}


def trust(store: NodeStore, names: Iterable[str]) -> list[str]:
    """Allow checkpoints to be loaded; return those that were not trusted before, sorted."""
    marked = store.backend.untrusted()
    found = sorted(set(names).intersection(marked))
    for sha256 in found:
        store.backend.mark_trusted(sha256)
    return found
