"""The file of a bundle: its members are planned and spooled first, because the table of contents at its beginning names them.

Also here, a state as it was spooled for a bundle, read back and checked as an import checks it: nothing else is written.
"""

from __future__ import annotations

import hashlib
import os
import zipfile
from contextlib import suppress
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any, BinaryIO

from coevo.errors import BundleError, CorruptArtifactError
from coevo.node_store.bundles.documents import decompressed, lines, read_line, read_manifest, read_state
from coevo.node_store.bundles.format import (
    CONTENTS,
    SEGMENTS,
    BundleLimits,
    BundleStudy,
    blob_member,
    segment_member,
    state_member,
    study_member,
)
from coevo.node_store.bundles.reader import MEGABYTE, Megabytes
from coevo.node_store.canonical import dump_plain
from coevo.node_store.durable import sync_directory, temporary_name
from coevo.node_store.lineage.transfers import check_whole, taken_out
from coevo.node_store.prepared_documents import PreparedState, ReadTexts
from coevo.node_store.shards import compress
from coevo.node_store.study_documents import checked_study, misplaced

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from coevo.node_store.bundles.format import Task
    from coevo.node_store.prepared_documents import Documents
    from coevo.node_store.standing_labels import Said
    from coevo.node_store.store import NodeStore


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
    spool: IO[bytes],
    members: Mapping[str, Source],
    name: str,
    manifest_bytes: bytes,
    parents: Sequence[dict[str, Any]],
    said: Mapping[str, Said],
) -> dict[str, Said]:
    """Check a state of a bundle that is being written, and return what its labels say, as :func:`check_whole` does.

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
    said : mapping of str to tuple
        Of their labels.

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
        return check_whole(prepared, parents, said)
    except (CorruptArtifactError, ValueError) as err:
        problem = str(err).removeprefix(f"state {state} is damaged: ").partition("; nothing of it was stored")[0]
        raise CorruptArtifactError(
            f"state {name} cannot be exported: {problem}; no bundle was written; look at the node with coevo verify {node}, and "
            "restore it from a copy"
        ) from None


CHUNK = 1 << 20
FRAME_BYTES = 1 << 20
"""A zstandard frame ends after so many bytes of documents, so that neither side holds more of a state in memory."""
_EPOCH = (1980, 1, 1, 0, 0, 0)


@dataclass
class BundlePlan:
    """All members but the table of contents.

    Attributes
    ----------
    store : NodeStore
    node : str
    spool : binary file
        Where members that are not blobs wait for the zip file.
    thin : bool
        Whether checkpoints are left out.
    sources : list of Source
    blobs : set of str
    omitted : dict
        Checkpoints that are left out, by sha256.
    said : dict
        Of the labels of the states so far, which have their parents before them: family and digest of the settings.
    studies : list of BundleStudy
    """

    store: NodeStore
    node: str
    spool: IO[bytes]
    thin: bool
    sources: list[Source] = field(default_factory=list)
    blobs: set[str] = field(default_factory=set)
    omitted: dict[str, dict[str, Any]] = field(default_factory=dict)
    said: dict[str, Said] = field(default_factory=dict)
    studies: list[BundleStudy] = field(default_factory=list)

    def add_state(self, state: str) -> None:
        """Spool the documents of a state, check what was spooled, and remember its blobs.

        Raises
        ------
        CorruptArtifactError
            If the state is not the one that was committed, or an import would not take it.
        BundleError
            If a checkpoint is not here.
        """
        view = self.store.state(f"{self.node}@{state}")
        prepared = taken_out(view)
        self._add(state_member(state), [(dump_plain(self._without_places(prepared.document)),) * 2])
        for segment in SEGMENTS:
            self._add(segment_member(state, segment), _frames(getattr(prepared, segment)))
        members = {source.name: source for source in self.sources[-len(SEGMENTS) - 1 :]}
        parents = [parent.manifest for parent in view.parent_views()]
        name = f"{self.node}@{state}"
        self.said |= check_spooled(self.spool, members, name, prepared.manifest_bytes, parents, self.said)
        self.blobs |= {prepared.document["manifest"]["sha256"], *prepared.manifest["samples"].values()}
        for checkpoint in prepared.document["checkpoints"].values():
            self._add_checkpoint(state, checkpoint)

    def add_studies(self, states: Collection[str]) -> None:
        """Spool the studies of states that were added, in the order in which they were stored, and remember their files.

        Raises
        ------
        CorruptArtifactError
            If a study is damaged, or an import would not take it.
        """
        for study in self.store.studies(self.node):
            if study.state in states:
                view = self.store.state(f"{self.node}@{study.state}")
                try:
                    _, document = checked_study(study.document)
                    problem = misplaced(document, view.document, view.manifest)
                except ValueError as err:
                    document, problem = {}, str(err)
                if problem:
                    raise CorruptArtifactError(
                        f"study {study.id} of {self.node}@{study.state} cannot be exported: {problem}; no bundle was written"
                    )
                named = BundleStudy(id=study.id, state=study.state)
                self.studies.append(named)
                self._add(study_member(named), [(dump_plain(document),) * 2])
                self.blobs |= {file["sha256"] for file in document["artifacts"]}

    def _without_places(self, document: dict[str, Any]) -> dict[str, Any]:
        """Leave out where this store has its blobs: the receiver has them elsewhere, and equal states are to be equal bytes."""
        manifest = {key: value for key, value in document["manifest"].items() if key != "uri"}
        places = {} if self.thin else {"uri": ""}
        checkpoints = {kind: {**checkpoint, **places} for kind, checkpoint in document["checkpoints"].items()}
        return {**document, "manifest": manifest, "checkpoints": checkpoints}

    def _add_checkpoint(self, state: str, checkpoint: dict[str, Any]) -> None:
        sha256, training_set = checkpoint["sha256"], checkpoint.get("training_set")
        if training_set and self.store.artifacts.has(training_set):
            self.blobs.add(training_set)
        if self.thin:
            described = {key: checkpoint.get(key) or "" for key in ("family", "format", "uri")}
            self.omitted.setdefault(sha256, {"sha256": sha256, "size": checkpoint.get("size"), **described})
        elif self.store.artifacts.has(sha256):
            self.blobs.add(sha256)
        else:
            raise BundleError(
                f"checkpoint {sha256} of state {self.node}@{state[:12]} is not in {self.store.artifacts.uri}, so a "
                "self-contained bundle cannot be made; import a bundle that has it, or export with --no-checkpoints"
            )

    def _add(self, name: str, frames: Iterable[tuple[bytes, bytes]]) -> None:
        """Spool a member, given as pieces and as what they decompress to."""
        source = Source(name, 0, 0, "", self.spool.seek(0, os.SEEK_END))
        hasher = hashlib.sha256()
        for text, data in frames:
            self.spool.write(data)
            hasher.update(data)
            source.size += len(data)
            source.uncompressed += len(text)
        source.sha256 = hasher.hexdigest()
        self.sources.append(source)

    def add_blobs(self) -> None:
        """Verify and measure the blobs of all states, after the last one was added."""
        for sha256 in sorted(self.blobs):
            path = self.store.artifacts.fetch(sha256)
            size = path.stat().st_size
            self.sources.append(Source(blob_member(sha256), size, size, sha256, path=path))

    def copy(self, source: Source, target: IO[bytes], done: Megabytes) -> None:
        """Copy a member, verified again: its bytes may have changed since it was measured."""
        if source.path is None:
            self.spool.seek(source.offset)
            _copy(self.spool, target, source, done)
        else:
            with source.path.open("rb") as file:
                _copy(file, target, source, done)


def _frames(documents: Documents) -> Iterator[tuple[bytes, bytes]]:
    lines: list[bytes] = []
    size = 0
    for document in documents.texts():
        lines.append(document + b"\n")
        size += len(lines[-1])
        if size >= FRAME_BYTES:
            text = b"".join(lines)
            yield text, compress(text)
            lines, size = [], 0
    if lines:
        text = b"".join(lines)
        yield text, compress(text)


def _copy(file: IO[bytes], target: IO[bytes], source: Source, done: Megabytes) -> None:
    hasher, left = hashlib.sha256(), source.size
    while left and (chunk := file.read(min(CHUNK, left))):
        hasher.update(chunk)
        target.write(chunk)
        left -= len(chunk)
        done.add(len(chunk))
    if left or hasher.hexdigest() != source.sha256:
        raise BundleError(f"{source.name} changed while it was being exported; export again when nothing writes to the store")


def write_bundle(path: Path, contents: bytes, plan: BundlePlan, task: Task) -> int:
    """Write the file beside its place, flush it and move it there; return its size."""
    temporary = path.parent / temporary_name(path.name)
    total = len(contents) + sum(source.size for source in plan.sources)
    try:
        with temporary.open("xb") as file:
            with task("writing the bundle", total // MEGABYTE, "MB") as advance:
                _write_zip(file, contents, plan, Megabytes(advance))
            file.flush()
            os.fsync(file.fileno())
            size = file.tell()
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    sync_directory(path.parent)
    return size


def _write_zip(file: BinaryIO, contents: bytes, plan: BundlePlan, done: Megabytes) -> None:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        with archive.open(_entry(CONTENTS, len(contents)), "w") as target:
            target.write(contents)
            done.add(len(contents))
        for source in plan.sources:
            with archive.open(_entry(source.name, source.size), "w") as target:
                plan.copy(source, target, done)


def _entry(name: str, size: int) -> zipfile.ZipInfo:
    """Describe a member, the same on every machine and at any time; the size decides whether it needs zip64."""
    entry = zipfile.ZipInfo(name, _EPOCH)
    entry.create_system = 3  # Unix: the upper half of the attributes is a file mode
    entry.external_attr = 0o100644 << 16
    entry.compress_type = zipfile.ZIP_STORED
    entry.file_size = size
    return entry
