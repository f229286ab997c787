"""What a bundle is: the names of its members, its table of contents and the limits on what is read from a stranger.

A bundle is a zip file of stored (uncompressed) members. The first is ``bundle.json``, the table of contents; then come for each
state, parents first, its document and the documents that it added; then studies of these states, in the order in which they were
stored; then blobs (manifests, samples, checkpoints, training sets, files of studies) by the order of their names. docs/data.md
has the format in full.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from coevo.errors import BundleError
from coevo.node_store.documents import BRANCH_NAME, NODE_NAME, ContentId
from coevo.node_store.known_fields import refuse_marked_keys

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

FORMAT = "coevo-bundle"
VERSION = 2
"""The newest that is read. A bundle without studies says version 1, which earlier versions of this package read."""
CONTENTS = "bundle.json"
SEGMENTS = ("structures", "references", "labels", "evaluations")

_BLOB = re.compile(r"blobs/([0-9a-f]{2})/([0-9a-f]{62})")


class Task(Protocol):
    """Reports a task of so many units and yields the function that advances it (:func:`coevo.output.progress.task`)."""

    def __call__(self, what: str, total: int, unit: str, /) -> AbstractContextManager[Callable[[int], None]]:
        """Begin a task."""
        ...


@contextmanager
def silent_task(_what: str, _total: int, _unit: str, /) -> Iterator[Callable[[int], None]]:
    """Report nothing."""
    yield lambda _: None


@dataclass(frozen=True)
class BundleLimits:
    """What is accepted from a bundle; sizes in bytes.

    Attributes
    ----------
    total : int
        All members together, decompressed.
    contents : int
        ``bundle.json``.
    directory : int
        The zip file's own list of members.
    members : int
        Their number.
    state : int
        One ``state.json``.
    manifest : int
        One manifest.
    line : int
        One document. MongoDB holds 16 MB a document, in a notation up to four times longer than JSON.
    ratio : int
        Decompressed size of a compressed member over its size, where it decompresses to more than :attr:`small`.
    small : int
    """

    total: int = 50_000_000_000
    contents: int = 64 << 20
    directory: int = 32 << 20
    members: int = 100_000
    state: int = 8 << 20
    manifest: int = 256 << 20
    line: int = 4 << 20
    ratio: int = 500
    small: int = 1 << 20


class _Exact(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class BundleNode(_Exact):
    """The node that the states were exported from."""

    name: str = Field(pattern=NODE_NAME)
    elements: list[Annotated[str, Field(max_length=3)]] = Field(min_length=1, max_length=120)
    config: dict[str, Any]
    config_text: str


class Member(_Exact):
    """One file in the bundle."""

    name: str
    size: int = Field(ge=0, description="bytes in the zip file")
    uncompressed: int = Field(ge=0, description="bytes after decompression; the size for members that are not .zst")
    sha256: ContentId = Field(description="of the bytes in the zip file")


class OmittedCheckpoint(_Exact):
    """A checkpoint that a thin bundle leaves out."""

    sha256: ContentId
    size: int | None = Field(ge=0)
    family: str
    format: str
    uri: str


class BundleStudy(_Exact):
    """A study of one of the states."""

    id: ContentId = Field(description="digest of its document")
    state: ContentId


class BundleContents(_Exact):
    """The table of contents, ``bundle.json``."""

    format: Literal["coevo-bundle"]
    version: Literal[1, 2]
    coevo: str = Field(max_length=100, description="version of the package that wrote it")
    node: BundleNode
    thin: bool
    heads: dict[Annotated[str, Field(pattern=BRANCH_NAME)], ContentId] = Field(min_length=1)
    states: list[ContentId] = Field(min_length=1, description="parents before children")
    seeds: dict[Annotated[str, Field(pattern=BRANCH_NAME)], Annotated[int, Field(ge=0, lt=2**32)]] = Field(
        default_factory=dict, description="of branches that go on with another seed than their head was made with"
    )
    studies: list[BundleStudy] = Field(default_factory=list, description="in the order in which they were stored")
    omitted_checkpoints: list[OmittedCheckpoint]
    members: list[Member] = Field(description="all but bundle.json, in the order of the zip file")

    def blobs(self) -> dict[str, Member]:
        """Members that are blobs, by their sha256."""
        return {member.sha256: member for member in self.members if member.name.startswith("blobs/")}


def state_member(state: str) -> str:
    """Name the member that holds a state document."""
    return f"states/{state}/state.json"


def segment_member(state: str, segment: str) -> str:
    """Name the member that holds the documents of one kind that a state added, or its evaluations."""
    return f"states/{state}/{segment}.jsonl.zst"


def study_member(study: BundleStudy) -> str:
    """Name the member that holds a study."""
    return f"studies/{study.state}/{study.id}.json"


def blob_member(sha256: str) -> str:
    """Name the member that holds a blob."""
    return f"blobs/{sha256[:2]}/{sha256[2:]}"


def expected_members(states: list[str], studies: list[BundleStudy], blobs: list[str]) -> Iterator[str]:
    """Names of all members but ``bundle.json``, in order; no other name can be in a bundle."""
    for state in states:
        yield state_member(state)
        yield from (segment_member(state, segment) for segment in SEGMENTS)
    yield from map(study_member, studies)
    yield from (blob_member(sha256) for sha256 in sorted(blobs))


def read_contents(document: Any, path: object) -> BundleContents:
    """Check a table of contents that was read as JSON.

    Raises
    ------
    BundleError
        If it is of another format or version, lacks something, or contradicts itself.
    """
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise BundleError(f"{path} is not a bundle of coevo: its {CONTENTS} does not say format {FORMAT!r}")
    version = document.get("version")
    if isinstance(version, int) and version > VERSION:
        raise BundleError(f"{path} is a bundle of version {version}, this coevo reads up to {VERSION}; install a newer coevo")
    try:
        contents = BundleContents.model_validate(document)
    except ValidationError as err:
        problem = err.errors(include_url=False)[0]
        where = ".".join(str(part) for part in problem["loc"])
        raise refused(path, f"{CONTENTS}: {where}: {problem['msg']} (got {str(problem['input'])!r:.80})") from None
    try:
        refuse_marked_keys(contents.node.config, "node.config")
    except ValueError as err:
        raise refused(path, f"{CONTENTS}: {err}") from None
    _check_consistent(contents, path)
    return contents


def _check_consistent(contents: BundleContents, path: object) -> None:
    states = contents.states
    if len(set(states)) != len(states):
        raise refused(path, f"{CONTENTS} names a state twice")
    strangers = sorted(set(contents.heads.values()).difference(states))
    if strangers:
        raise refused(path, f"{CONTENTS}: the branch head {strangers[0]} is not among its states")
    _check_studies(contents, path)
    blobs = []
    for member in contents.members:
        match = _BLOB.fullmatch(member.name)
        if match and "".join(match.groups()) != member.sha256:
            raise refused(path, f"{CONTENTS}: blob {member.name!r} is declared with sha256 {member.sha256}")
        if not member.name.endswith(".zst") and member.size != member.uncompressed:
            raise refused(path, f"{CONTENTS}: {member.name!r} is not compressed, but declared with two sizes")
        blobs += [member.sha256] if match else []
    for number, expected in enumerate(expected_members(states, contents.studies, blobs)):
        found = contents.members[number].name if number < len(contents.members) else "nothing"
        if found != expected:
            raise refused(path, f"{CONTENTS}: member {number + 1} is {found!r:.120}, expected {expected!r}")
    if len(contents.members) > len(states) * (1 + len(SEGMENTS)) + len(contents.studies) + len(blobs):
        raise refused(path, f"{CONTENTS}: {contents.members[-1].name!r:.120} belongs to no state")
    if contents.omitted_checkpoints and not contents.thin:
        raise refused(path, f"{CONTENTS}: checkpoints are left out of a bundle that is not thin")


def _check_studies(contents: BundleContents, path: object) -> None:
    if contents.studies and contents.version < VERSION:
        raise refused(path, f"{CONTENTS}: a bundle of version {contents.version} has no studies")
    if len({study.id for study in contents.studies}) != len(contents.studies):
        raise refused(path, f"{CONTENTS} names a study twice")
    if homeless := [study for study in contents.studies if study.state not in contents.states]:
        raise refused(path, f"{CONTENTS}: study {homeless[0].id} is of state {homeless[0].state}, which is not among its states")


def refused(path: object, what: str) -> BundleError:
    """Make the error of a bundle that is damaged or hostile."""
    return BundleError(f"{path} was not imported: {what}; the file is damaged or was made to do harm: get another copy")
