"""What a database records of a blob's origin and of the trust in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Mark:
    """The record of a blob that came from elsewhere, or that was computed here as a checkpoint.

    Attributes
    ----------
    sha256 : str
    reason : str
        Where it came from.
    trusted : str
        When it was said, by the user or by the step that computed it, that it is trusted (ISO 8601 UTC); empty if nobody did.
    """

    sha256: str
    reason: str
    trusted: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON dictionary, as it is stored; an older coevo reads it as not trusted."""
        plain = {"sha256": self.sha256, "reason": self.reason}
        return plain | {"trusted": self.trusted} if self.trusted else plain

    @classmethod
    def from_dict(cls, sha256: str, document: Mapping[str, Any]) -> Mark:
        """Read what :meth:`to_dict` wrote."""
        return cls(sha256, str(document["reason"]), str(document.get("trusted") or ""))
