"""The states and blobs of a bundle: verified as a whole, and read document by document."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coevo.errors import BundleError, CorruptArtifactError
from coevo.node_store.bundles.documents import (
    decompressed,
    lines,
    read_line,
    read_manifest,
    read_state,
)
from coevo.node_store.bundles.format import SEGMENTS, refused, segment_member, silent_task, state_member, study_member
from coevo.node_store.bundles.shards import check_shard
from coevo.node_store.bundles.stranger_json import parse_document
from coevo.node_store.lineage.transfers import check_whole
from coevo.node_store.prepared_documents import PreparedState, ReadTexts
from coevo.node_store.study_documents import MAX_SIZE, checked_study, misplaced

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from coevo.node_store.bundles.archive import Archive
    from coevo.node_store.bundles.format import BundleContents, BundleStudy, Member, Task
    from coevo.node_store.bundles.shards import ShardKind
    from coevo.node_store.standing_labels import Said

MEGABYTE = 1_000_000


class BundleReader:
    """The states of an opened bundle.

    Parameters
    ----------
    archive : Archive
    """

    def __init__(self, archive: Archive):
        self.archive = archive
        self.contents: BundleContents = archive.contents
        self.blobs = archive.contents.blobs()
        self._members = {member.name: member for member in archive.contents.members}
        self._shards: set[tuple[ShardKind, str]] = set()

    # --- reading

    def document(self, state: str) -> dict[str, Any]:
        """Return a state document.

        Raises
        ------
        BundleError
            If it is not one, or too large; this holds for every method of this class.
        """
        member = self._members[state_member(state)]
        data = self._whole(member, self.archive.limits.state)
        try:
            return read_state(data)
        except ValueError as err:
            raise self._refused(member, err) from None

    def manifest_bytes(self, document: dict[str, Any]) -> bytes:
        """Return the manifest of a state document as it is stored."""
        sha256 = document["manifest"]["sha256"]
        if sha256 not in self.blobs:
            raise refused(self.archive.path, f"the manifest of state {document['_id']}, blob {sha256}, is missing")
        return self._whole(self.blobs[sha256], self.archive.limits.manifest)

    def manifest(self, document: dict[str, Any]) -> dict[str, Any]:
        """Return the manifest of a state document."""
        try:
            return read_manifest(self.manifest_bytes(document))
        except ValueError as err:
            raise refused(self.archive.path, f"the manifest of state {document['_id']}: {err}") from None

    def texts(self, state: str, segment: str) -> Iterator[bytes]:
        """Yield documents of one kind that a state added, or its evaluations; canonical JSON after :meth:`verify`."""
        return self._lines(self._members[segment_member(state, segment)])

    def prepared(self, document: dict[str, Any]) -> PreparedState:
        """Return a state as a commit is given it; its documents are read from the bundle when they are wanted."""
        state = document["_id"]
        parts = {name: ReadTexts(lambda name=name: self.texts(state, name)) for name in SEGMENTS}  # type: ignore[misc]
        manifest_bytes = self.manifest_bytes(document)
        return PreparedState(
            id=state, document=document, manifest=self.manifest(document), manifest_bytes=manifest_bytes, **parts
        )

    def _whole(self, member: Member, limit: int) -> bytes:
        if member.size > limit:
            raise refused(self.archive.path, f"member {member.name!r} has {member.size} bytes, allowed are {limit}")
        with self.archive.open(member) as stream:
            return b"".join(iter(stream.read, b""))

    def _lines(self, member: Member) -> Iterator[bytes]:
        with self.archive.open(member) as stream:
            total = 0
            try:
                for line in lines(decompressed(stream, member.uncompressed), self.archive.limits.line):
                    total += len(line) + 1
                    yield line
            except BundleError:
                raise
            except ValueError as err:
                raise self._refused(member, err) from None
        if total != member.uncompressed:
            raise refused(
                self.archive.path, f"member {member.name!r} decompresses to {total} bytes, declared are {member.uncompressed}"
            )

    def _refused(self, member: Member, err: ValueError) -> BundleError:
        return refused(self.archive.path, f"member {member.name!r}: {err}")

    def study(self, named: BundleStudy) -> dict[str, Any]:
        """Return the document of a study, after recomputing its id."""
        member = self._members[study_member(named)]
        data = self._whole(member, MAX_SIZE)
        try:
            identifier, document = checked_study(parse_document(data))
        except ValueError as err:
            raise self._refused(member, err) from None
        if (identifier, document["state"]) != (named.id, named.state):
            raise refused(self.archive.path, f"member {member.name!r} is study {identifier} of state {document['state']}")
        return document

    # --- verifying

    def verify(self, task: Task = silent_task) -> None:
        """Read everything once and recompute every hash and id; nothing is stored.

        Raises
        ------
        BundleError
            If anything is not what it is declared to be, or missing, or not needed.
        """
        total = sum(member.size for member in self.contents.members)
        with task("verifying the bundle", total // MEGABYTE, "MB") as advance:
            done = Megabytes(advance)
            for member in self.contents.members:
                self._verify_member(member, done)
        before: dict[str, dict[str, Any]] = {}
        needed: set[str] = set()
        said: dict[str, Said] = {}
        with task("verifying states", len(self.contents.states), "states") as advance:
            for state in self.contents.states:
                document = self.document(state)
                self._verify_state(state, document, needed, before)
                prepared = self.prepared(document)
                parents = [self.manifest(before[parent]) for parent in document["parents"]]
                try:
                    said |= check_whole(prepared, parents, said)
                except CorruptArtifactError as err:
                    raise refused(self.archive.path, str(err).partition("; nothing of it")[0]) from None
                before[state] = {key: document[key] for key in ("_id", "manifest", "iteration")}
                advance(1)
        for study in self.contents.studies:
            self._verify_study(study, needed)
        if unneeded := sorted(set(self.blobs) - needed):
            raise refused(self.archive.path, f"blob {unneeded[0]} belongs to no state")

    def _verify_member(self, member: Member, done: Megabytes) -> None:
        if member.name.endswith(".zst"):
            segment = member.name.rsplit("/", 1)[1].partition(".")[0]
            for number, line in enumerate(self._lines(member), start=1):
                try:
                    read_line(segment, line)
                except ValueError as err:
                    raise refused(self.archive.path, f"line {number} of member {member.name!r}: {err}") from None
            done.add(member.size)
            return
        with self.archive.open(member) as stream:
            while chunk := stream.read():
                done.add(len(chunk))

    def _verify_state(self, state: str, document: dict[str, Any], needed: set[str], before: dict[str, Any]) -> None:
        path = self.archive.path
        if document["_id"] != state:
            raise refused(path, f"the document of state {state} has the id {document['_id']}")
        if lacking := [parent for parent in document["parents"] if parent not in before]:
            raise refused(path, f"parent {lacking[0]} of state {state} is not among the states before it")
        if any(before[parent]["iteration"] > document["iteration"] for parent in document["parents"]):
            raise refused(path, f"state {state} has iteration {document['iteration']}, a parent of it a later one")
        if strangers := set(document["elements"]).difference(self.contents.node.elements):
            raise refused(path, f"state {state} has elements that its node has not: {', '.join(sorted(strangers))}")
        manifest = self.manifest(document)
        needed.add(document["manifest"]["sha256"])
        for iteration, sha256 in manifest["samples"].items():
            if sha256 not in self.blobs:
                raise refused(path, f"the sample of iteration {iteration} of state {state}, blob {sha256}, is missing")
            self._verify_shard("sample", sha256)
            needed.add(sha256)
        omitted = {checkpoint.sha256 for checkpoint in self.contents.omitted_checkpoints}
        for kind, checkpoint in document["checkpoints"].items():
            if checkpoint["sha256"] not in self.blobs and checkpoint["sha256"] not in omitted:
                raise refused(path, f"the checkpoint {kind} of state {state}, blob {checkpoint['sha256']}, is missing")
            needed.add(checkpoint["sha256"])
            if (training_set := checkpoint.get("training_set")) in self.blobs:
                self._verify_shard("training set", training_set)
                needed.add(training_set)

    def _verify_study(self, named: BundleStudy, needed: set[str]) -> None:
        document, state = self.study(named), self.document(named.state)
        if problem := misplaced(document, state, self.manifest(state)):
            raise refused(self.archive.path, f"study {named.id}: {problem}")
        for file in document["artifacts"]:
            blob = self.blobs.get(file["sha256"])
            if blob is None:
                raise refused(self.archive.path, f"file {file['name']} of study {named.id}, blob {file['sha256']}, is missing")
            if blob.size != file["size"]:
                what = f"file {file['name']} of study {named.id} has {blob.size} bytes, the study says {file['size']}"
                raise refused(self.archive.path, what)
            needed.add(file["sha256"])

    def _verify_shard(self, kind: ShardKind, sha256: str) -> None:
        """Read a blob that jobs will decompress in memory, once for each kind of shard that it is said to be."""
        if (kind, sha256) in self._shards:
            return
        self._shards.add((kind, sha256))
        member = self.blobs[sha256]
        limit = max(self.archive.limits.small, member.size * self.archive.limits.ratio)
        with self.archive.open(member) as stream:
            try:
                check_shard(kind, stream, limit, self.archive.limits.line)
            except BundleError:
                raise
            except ValueError as err:
                raise refused(self.archive.path, f"member {member.name!r} is no {kind}: {err}") from None


class Megabytes:
    """Turns bytes into whole megabytes of progress.

    Parameters
    ----------
    advance : callable
        Called with the megabytes that became full.
    """

    def __init__(self, advance: Callable[[int], None]):
        self._advance = advance
        self._bytes = 0

    def add(self, size: int) -> None:
        """Count bytes."""
        before, self._bytes = self._bytes, self._bytes + size
        if steps := self._bytes // MEGABYTE - before // MEGABYTE:
            self._advance(steps)
