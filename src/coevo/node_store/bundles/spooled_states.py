"""A state as it was spooled for a bundle, read back and checked as an import checks it: nothing else is written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

from coevo.errors import CorruptArtifactError
from coevo.node_store.bundles.documents import decompressed, lines, read_line, read_manifest, read_state
from coevo.node_store.bundles.format import SEGMENTS, BundleLimits, segment_member, state_member
from coevo.node_store.lineage.transfers import check_whole
from coevo.node_store.prepared_documents import PreparedState, ReadTexts

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path


@dataclass
class Source:
    """A member and where its bytes are: at ``offset`` of the spool, or in the file ``path``."""

    name: str
    size: int
    uncompressed: int
    sha256: str
    offset: int = 0
    path: Path | None = None

    def to_dict(self) -> dict[str, Any]:
        """Describe it for the table of contents."""
        return {"name": self.name, "size": self.size, "uncompressed": self.uncompressed, "sha256": self.sha256}


class _Slice:
    """A part of a file, read from its beginning; others may move the file's position in between."""

    def __init__(self, file: IO[bytes], offset: int, size: int):
        self._file, self._offset, self._left = file, offset, size

    def read(self, size: int = -1) -> bytes:
        """Read at most so many bytes; none at the end."""
        self._file.seek(self._offset)
        data = self._file.read(self._left if size < 0 else min(size, self._left))
        self._offset += len(data)
        self._left -= len(data)
        return data

    def read_to_end(self) -> None:
        """Nothing follows that a hash has to see."""


def check_spooled(
    spool: IO[bytes], members: Mapping[str, Source], name: str, manifest_bytes: bytes, parents: Sequence[dict[str, Any]]
) -> None:
    """Check a state of a bundle that is being written.

    Parameters
    ----------
    spool : binary file
    members : mapping of str to Source
        By name; those of the state are in the spool.
    name : str
        The state, ``node@id``.
    manifest_bytes : bytes
    parents : sequence of dict
        Manifests of its parents.

    Raises
    ------
    CorruptArtifactError
        If an import would refuse it: the database has something else than what was committed.
    """
    node, _, state = name.partition("@")

    def texts(segment: str) -> Iterator[bytes]:
        source = members[segment_member(state, segment)]
        stream: Any = _Slice(spool, source.offset, source.size)
        for number, line in enumerate(lines(decompressed(stream, source.uncompressed), BundleLimits.line), start=1):
            try:
                read_line(segment, line)
            except ValueError as err:
                raise ValueError(f"document {number} of its {segment}: {err}") from None
            yield line

    try:
        source = members[state_member(state)]
        document = read_state(_Slice(spool, source.offset, source.size).read())
        parts = {segment: ReadTexts(lambda segment=segment: texts(segment)) for segment in SEGMENTS}  # type: ignore[misc]
        manifest = read_manifest(manifest_bytes)
        prepared = PreparedState(id=state, document=document, manifest=manifest, manifest_bytes=manifest_bytes, **parts)
        check_whole(prepared, parents)
    except (CorruptArtifactError, ValueError) as err:
        problem = str(err).removeprefix(f"state {state} is damaged: ").partition("; nothing of it was stored")[0]
        raise CorruptArtifactError(
            f"state {name} cannot be exported: {problem}; no bundle was written; look at the node with coevo verify {node}, and "
            "restore it from a copy"
        ) from None
