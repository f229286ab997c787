"""Checks of the artifacts that states and job results name, each read once."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from coevo.errors import ArtifactNotFoundError, CorruptArtifactError, StorageError
from coevo.node_store.backend_upkeep import Finding
from coevo.node_store.canonical import dump_plain
from coevo.node_store.trust.loading import UNSEEN

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from coevo.node_store.blobs.artifacts import ArtifactStore
    from coevo.node_store.views import StateView

DAMAGED = -1
_OLDER_REASON = "its format "
"""How the reasons of marks began that an older coevo made for checkpoints which may run code."""
_SHA256 = re.compile(rb'"([0-9a-f]{64})"')


def named_sha256(document: Any) -> set[str]:
    """Every value of a document of plain JSON that could be the name of an artifact."""
    return {match.decode() for match in _SHA256.findall(dump_plain(document))}


def artifacts_of(document: Any) -> Iterator[str]:
    """Every artifact that a result document refers to, by the key ``sha256``."""
    if isinstance(document, dict):
        for key, item in document.items():
            if key == "sha256" and isinstance(item, str):
                yield item
            else:
                yield from artifacts_of(item)
    elif isinstance(document, list):
        for item in document:
            yield from artifacts_of(item)


class ArtifactChecks:
    """Look at artifacts, on any file system, and collect what is wrong.

    Parameters
    ----------
    artifacts : ArtifactStore
    quick : bool
        Ask only whether they are there.
    omitted : mapping of str to bool
        Checkpoints that a thin bundle left out (see :func:`coevo.node_store.trust.arrivals.omitted`), and whether they never
        came.
    marks : mapping of str to str
        Blobs that must not be loaded, and why.

    Attributes
    ----------
    findings : list of Finding
    """

    def __init__(self, artifacts: ArtifactStore, *, quick: bool, omitted: Mapping[str, bool], marks: Mapping[str, str]):
        self._artifacts = artifacts
        self._quick = quick
        self._omitted, self._marks = omitted, marks
        self._sizes: dict[str, int | None] = {}
        self.findings: list[Finding] = []

    @property
    def count(self) -> int:
        """Artifacts that were looked at and are there."""
        return sum(size is not None for size in self._sizes.values())

    def checkpoints(self, view: StateView) -> None:
        """Look at the checkpoints of a state; only one that a thin bundle left out may be missing."""
        for name, checkpoint in view.document["checkpoints"].items():
            sha256, uri = checkpoint["sha256"], checkpoint.get("uri") or ""
            where = f"{name} checkpoint {sha256} of {view.node}@{view.id}"
            if not self._is_there(sha256, where):
                if self._was_never_here(sha256, uri):
                    place = f"; the state says that it is at {uri}" if uri else ""
                    what = f"it is not in this artifact store: a bundle without checkpoints was imported{place}"
                    todo = "copy it from there when it is needed: coevo import FILE --fetch-checkpoints"
                    self.findings.append(Finding("note", what, where, todo))
                else:
                    self._lost(where)
            elif self._sizes[sha256] != DAMAGED and not self._quick and checkpoint.get("size") not in {None, self._sizes[sha256]}:
                what = f"it has {self._sizes[sha256]} bytes, the state says {checkpoint['size']}"
                self.findings.append(Finding("problem", what, where, "restore the state from a copy"))

    def samples(self, view: StateView) -> None:
        """Look at the samples of candidates that a state keeps."""
        for iteration, sha256 in view.manifest["samples"].items():
            where = f"sample {sha256} (iteration {iteration}) of {view.node}@{view.id}"
            if not self._is_there(sha256, where):
                self._lost(where)

    def job(self, key: str, document: dict[str, Any]) -> None:
        """Look at the artifacts of a job result; such a job runs again when they are missing."""
        for sha256 in sorted(set(artifacts_of(document))):
            where = f"artifact {sha256} of job result {key}"
            if not self._is_there(sha256, where):
                self.findings.append(Finding("note", "it is missing", where, "nothing: the job runs again when it is wanted"))

    def study(self, where: str, artifacts: Iterable[Mapping[str, Any]]) -> None:
        """Look at the files of a study."""
        for file in artifacts:
            name = f"file {file['name']} ({file['sha256']}) of {where}"
            if not self._is_there(file["sha256"], name):
                self._lost(name)
            elif not self._quick and self._sizes[file["sha256"]] not in {DAMAGED, file["size"]}:
                what = f"it has {self._sizes[file['sha256']]} bytes, the study says {file['size']}"
                self.findings.append(Finding("problem", what, name, "run the study again"))

    def _was_never_here(self, sha256: str, uri: str) -> bool:
        """Whether a thin bundle left a checkpoint out, and it has not come since."""
        if sha256 in self._omitted:
            return self._omitted[sha256]
        # An import by an older coevo left nothing but the reason of its mark, and in the state the place in the other store.
        reason = self._marks.get(sha256, "")
        elsewhere = bool(uri) and not uri.startswith(self._artifacts.uri.rstrip("/") + "/")
        return reason.startswith(UNSEEN) or (elsewhere and reason.startswith(_OLDER_REASON))

    def _lost(self, where: str) -> None:
        todo = f"copy it into {self._artifacts.uri} from another store, or import the state from a bundle"
        self.findings.append(Finding("problem", f"it is not in {self._artifacts.uri}", where, todo))

    def _is_there(self, sha256: str, where: str) -> bool:
        if sha256 not in self._sizes:
            try:
                self._sizes[sha256] = self._look(sha256)
            except ArtifactNotFoundError:
                self._sizes[sha256] = None
            except (CorruptArtifactError, StorageError) as err:
                if isinstance(err, StorageError) and not self._artifacts.directory:
                    raise  # the object store cannot be reached, which says nothing of the artifact
                self._sizes[sha256] = DAMAGED
                self.findings.append(Finding("problem", str(err), where, "restore it from a copy"))
        return self._sizes[sha256] is not None

    def _look(self, sha256: str) -> int | None:
        if self._quick:
            return 0 if self._artifacts.has(sha256) else None
        return self._artifacts.check(sha256)
