"""Studies: what was asked of a state, as documents beside it that are named by their content; they never change the state.

A study says what it is of (state and checkpoints), what it was asked (phases and settings), what made its numbers (packages) and
what came out: ``results`` as its own module reads them, and ``entries``, the few declared fields that queries join to entries.
Its id is the digest of all that, without a time: the same study is the same document, whoever makes it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from coevo.errors import CorruptArtifactError
from coevo.node_store.canonical import digest, dump_plain, plain
from coevo.node_store.documents import NODE_NAME, ContentId
from coevo.node_store.known_fields import refuse_marked_keys

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from coevo.node_store.backend import Backend

KIND: Literal["coevo-study"] = "coevo-study"
VERSION: Literal[1] = 1
STUDY_NAME = r"^[a-z][a-z0-9-]{1,31}$"
MAX_SIZE = 8_000_000
"""Bytes of canonical JSON of a document; what is larger belongs into an artifact."""
MAX_DEPTH = 24
"""Levels of lists and mappings within each other."""
MAX_ARTIFACTS = 1000
ENTRY_FIELDS: dict[str, type] = {"dynamically_stable": bool}
"""Fields that a study may say of an entry or reference of its state, and their types; queries join them by these names."""

_NOTE = re.compile(r"study-([0-9a-f]{64})-([0-9a-f]{64})")
_ID = re.compile(r"[0-9a-f]{64}")


_Word = Annotated[str, Field(max_length=100)]


class _Known(BaseModel):
    """What has no other fields than those declared: a document may come from a stranger."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class StudyArtifact(_Known):
    """A file of a study."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")
    sha256: ContentId
    size: int = Field(ge=0, description="bytes")


class StudyPhase(_Known):
    """An entry or reference that a study was asked of."""

    id: ContentId
    formula: str = Field(max_length=200, description="reduced formula")
    kind: Literal["entry", "reference"]
    name: str | None = Field(default=None, max_length=500, description="of a reference")
    e_hull: float | None = Field(default=None, description="energy above the state's hull, eV/atom")
    energy_per_atom: float | None = Field(default=None, description="in the state, eV/atom")


class StudyDocument(_Known):
    """A study as it is stored; the id of its document is the digest of its canonical JSON."""

    kind: Literal["coevo-study"]
    version: Literal[1]
    study: str = Field(pattern=STUDY_NAME, description="which kind: stability, phonons, transport, …")
    node: str = Field(pattern=NODE_NAME, description="in which it was made; a name only")
    state: ContentId
    checkpoints: dict[_Word, ContentId] = Field(max_length=100, description="role to sha256 of the models that were used")
    phases: list[StudyPhase] = Field(description="entries and references that it was asked of")
    settings: dict[str, Any] = Field(description="all settings that enter the results")
    packages: dict[_Word, _Word] = Field(max_length=100, description="versions of what made the numbers")
    results: dict[str, Any] = Field(description="read by the module of this kind")
    entries: dict[ContentId, dict[str, Any]] = Field(description="what it says of entries and references, in declared fields")
    softness: dict[str, Any] | None = Field(description="what the state knows of the stiffness of its force field")
    artifacts: list[StudyArtifact] = Field(max_length=MAX_ARTIFACTS)

    @field_validator("artifacts")
    @classmethod
    def _names_once(cls, value: list[StudyArtifact]) -> list[StudyArtifact]:
        names = [artifact.name for artifact in value]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"two artifacts are called {twice[0]}")
        return value

    @field_validator("entries")
    @classmethod
    def _declared(cls, value: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        for identifier, fields in value.items():
            for name, said in fields.items():
                if name not in ENTRY_FIELDS:
                    raise ValueError(f"{identifier[:12]}.{name[:80]}: unknown key; allowed keys: {', '.join(ENTRY_FIELDS)}")
                if type(said) is not ENTRY_FIELDS[name]:
                    raise ValueError(f"{identifier[:12]}.{name}: expected {ENTRY_FIELDS[name].__name__}, got {str(said)!r:.60}")
        return value


@dataclass(frozen=True)
class StoredStudy:
    """A study beside a state.

    Attributes
    ----------
    id : str
        Digest of the document.
    stored : str
        When it was stored here first (ISO 8601 UTC); the order of studies, no part of any.
    document : dict
        Of :class:`StudyDocument`.
    origin : str
        With what it came; empty if it was made here.
    """

    id: str
    stored: str
    document: dict[str, Any]
    origin: str = ""

    @property
    def study(self) -> str:
        """Which kind of study."""
        return str(self.document["study"])

    @property
    def state(self) -> str:
        """Id of the state."""
        return str(self.document["state"])


def checked_study(document: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Check a document and return its id and its plain JSON.

    Raises
    ------
    ValueError
        If it is too large or too deep, has a key that is not declared or that a decoder could act on, or is not complete.
    """
    found = plain(dict(document))
    _refuse_depth(found)
    size = len(dump_plain(found))
    if size > MAX_SIZE:
        raise ValueError(f"a study of {size} bytes is too large, allowed are {MAX_SIZE}; large results belong into artifacts")
    refuse_marked_keys(found)
    try:
        StudyDocument.model_validate(found)
    except ValidationError as err:
        problem = err.errors(include_url=False)[0]
        where = ".".join(str(part)[:80] for part in problem["loc"])
        raise ValueError(f"{where}: {problem['msg']} (got {str(problem['input'])!r:.60})") from None
    return digest(found), found


def misplaced(document: Mapping[str, Any], state: Mapping[str, Any], manifest: Mapping[str, Any]) -> str:
    """Say why a study cannot be of a state: it names what the state has not; empty if it can.

    Parameters
    ----------
    document : mapping
        Of :func:`checked_study`.
    state, manifest : mapping
        Document and manifest of the state that it names.
    """
    for role, sha256 in document["checkpoints"].items():
        if state["checkpoints"].get(role, {}).get("sha256") != sha256:
            return f"its {role[:40]} {sha256[:12]} is not that of its state"
    members = {"entry": set(manifest["structures"]), "reference": set(manifest["references"])}
    for phase in document["phases"]:
        if phase["id"] not in members[phase["kind"]]:
            return f"its phase {phase['id']} is no {phase['kind']} of its state"
    for identifier in document["entries"]:
        if identifier not in members["entry"] | members["reference"]:
            return f"it speaks of {identifier}, which is neither an entry nor a reference of its state"
    return ""


def _refuse_depth(value: Any) -> None:
    waiting = [(value, 1)]
    while waiting:
        item, depth = waiting.pop()
        if isinstance(item, (dict, list)):
            if depth > MAX_DEPTH:
                raise ValueError(f"lists and mappings are more than {MAX_DEPTH} levels deep")
            waiting += [(inner, depth + 1) for inner in (item.values() if isinstance(item, dict) else item)]


# --- beside the states of a node: notes


def put_study(backend: Backend, node: str, document: Mapping[str, Any], stored: str, origin: str = "") -> str:
    """Store a study beside its state; one that is there already stays as it is (idempotent, durable).

    Parameters
    ----------
    backend : Backend
    node : str
        Which has the state here.
    document : mapping
    stored : str
        Time (ISO 8601 UTC), which orders the studies of a state.
    origin : str
        With what it came; empty if it was made here, and then it is from now on one that was.

    Returns
    -------
    str
        The id.

    Raises
    ------
    ValueError
        As :func:`checked_study`.
    """
    identifier, found = checked_study(document)
    key = note_key(found["state"], identifier)
    try:
        there = read_study(backend, node, found["state"], identifier)
    except CorruptArtifactError:
        there = None
    if there is None or (there.origin and not origin):
        backend.write_note(node, key, {"stored": stored, "origin": origin, "study": found})
    return identifier


def note_key(state: str, identifier: str) -> str:
    """Key of the note that holds a study."""
    return f"study-{state}-{identifier}"


def study_keys(backend: Backend, node: str, state: str | None = None) -> Iterator[tuple[str, str]]:
    """State and id of each study of a node, or of one of its states."""
    for key in backend.note_keys(node, "study-" if state is None else f"study-{state}-"):
        match = _NOTE.fullmatch(key)
        if match:
            yield match[1], match[2]


def read_study(backend: Backend, node: str, state: str, identifier: str) -> StoredStudy | None:
    """Return a study, or None if there is none of this id beside this state.

    Raises
    ------
    CorruptArtifactError
        If the document is not that of its id.
    """
    if not _ID.fullmatch(identifier) or not _ID.fullmatch(state):
        return None
    noted = backend.note(node, note_key(state, identifier))
    if noted is None:
        return None
    document = noted.get("study")
    found = digest(document) if isinstance(document, dict) else "none"
    if found != identifier or document is None or document.get("state") != state:
        raise CorruptArtifactError(
            f"study {identifier} beside {node}@{state[:12]} is damaged: its document has the id {found}; restore it from a copy, "
            "or run it again"
        )
    return StoredStudy(identifier, str(noted.get("stored", "")), document, str(noted.get("origin", "")))


def studies_by_state(backend: Backend, node: str, states: Collection[str]) -> dict[str, list[StoredStudy]]:
    """Return the studies of some states of a node, each state's in the order in which they were stored.

    Raises as :func:`read_study`. The notes of the node are listed once, however many states there are.
    """
    found: dict[str, list[StoredStudy]] = {}
    for state, identifier in study_keys(backend, node):
        study = read_study(backend, node, state, identifier) if state in states else None
        if study is not None:
            found.setdefault(state, []).append(study)
    return {state: sorted(studies, key=lambda study: (study.stored, study.id)) for state, studies in found.items()}


def read_studies(backend: Backend, node: str, state: str | None = None) -> list[StoredStudy]:
    """Return the studies of a node, or of one of its states, in the order in which they were stored."""
    found = [read_study(backend, node, of, identifier) for of, identifier in study_keys(backend, node, state)]
    return sorted((study for study in found if study is not None), key=lambda study: (study.stored, study.id))


def forget_study(backend: Backend, node: str, state: str, identifier: str) -> None:
    """Remove a study; its state stays as it is."""
    backend.write_note(node, note_key(state, identifier), None)
