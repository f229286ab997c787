"""Documents of a bundle, one line each: what they must look like before anything is computed from them."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Annotated, Any, cast

import zstandard
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from coevo.node_store.branch_seeds import seed_in
from coevo.node_store.bundles.stranger_json import control_characters, parse_document
from coevo.node_store.bundles.usable_documents import CHECKS, Offsets
from coevo.node_store.documents import (
    STATE_VERSION,
    CheckpointDocument,
    ContentId,
    EvaluationDocument,
    LabelDocument,
    ReferenceDocument,
    Split,
    StateDocument,
    StructureDocument,
)
from coevo.node_store.known_fields import refuse_unknown_fields

if TYPE_CHECKING:
    from collections.abc import Iterator

    from coevo.node_store.bundles.archive import VerifiedStream

CHUNK = 1 << 20
WINDOW = 8 << 20
"""Largest window of a zstandard frame, bytes: what decompression may take of the memory. Level 6 needs 2 MiB."""

_MODELS: dict[str, type[BaseModel]] = {
    "structures": StructureDocument,
    "references": ReferenceDocument,
    "labels": LabelDocument,
    "evaluations": EvaluationDocument,
}

_Three = Annotated[list[float], Field(min_length=3, max_length=3)]


class _Exact(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Species(_Exact):
    element: str = Field(max_length=8)
    occu: float
    oxidation_state: float | None = None
    spin: float | None = None


class _Site(_Exact):
    species: list[_Species] = Field(min_length=1)
    abc: _Three


class _Lattice(_Exact):
    matrix: Annotated[list[_Three], Field(min_length=3, max_length=3)]
    pbc: Annotated[list[bool], Field(min_length=3, max_length=3)]


class _Geometry(_Exact):
    """A structure as :func:`coevo.node_store.canonical.structure_document` writes it; the content id covers no more than this."""

    module: str = Field(alias="@module", pattern=r"^pymatgen\.core\.structure$")
    kind: str = Field(alias="@class", pattern=r"^Structure$")
    lattice: _Lattice
    sites: list[_Site] = Field(min_length=1)
    charge: float | None = None


class ManifestReference(_Exact):
    """Where the manifest of a state is, in its document."""

    sha256: ContentId
    size: int = Field(ge=0)


class Manifest(_Exact):
    """What belongs to a state."""

    structures: list[ContentId]
    references: list[ContentId]
    labels: dict[str, Split]
    samples: dict[Annotated[str, Field(pattern=r"^[0-9]{1,9}$")], ContentId]
    offsets: dict[Annotated[str, Field(max_length=200)], Offsets]


def read_line(segment: str, line: bytes) -> dict[str, Any]:
    """Read and check a document of a state.

    Raises
    ------
    ValueError
        If it is not canonical JSON, lacks a field, has one that is not declared or a value of another type, a geometry that is
        more than a geometry, or says what is not true of its geometry.
    """
    field = "relaxed" if segment == "evaluations" else "structure"
    document = parse_document(line, [field])
    _validate(_MODELS[segment], line)
    refuse_unknown_fields(document, _MODELS[segment])
    geometry = document.get(field)
    if geometry is not None:
        try:
            _Geometry.model_validate(geometry, strict=True)
        except ValidationError as err:
            raise _explained("its geometry: ", err) from None
    CHECKS[segment](document)
    return document


def read_state(data: bytes) -> dict[str, Any]:
    """Read and check a state document; raises as :func:`read_line`."""
    document = parse_document(data)
    _validate(StateDocument, data)
    for kind, checkpoint in document["checkpoints"].items():
        refuse_unknown_fields(checkpoint, CheckpointDocument, f"checkpoints.{kind}")
    if not 1 <= document["schema_version"] <= STATE_VERSION:
        raise ValueError(
            f"it has schema version {document['schema_version']}, this coevo reads up to {STATE_VERSION}; install a newer coevo"
        )
    seed_in(document["config"])
    try:
        ManifestReference.model_validate(document["manifest"], strict=True)
    except ValidationError as err:
        raise _explained("manifest.", err) from None
    if control_characters([document["message"], document["checkpoints"], document["elements"], document["created"]]):
        raise ValueError("it holds control characters, which would disturb a terminal")
    return document


def read_manifest(data: bytes) -> dict[str, Any]:
    """Read and check a manifest; raises as :func:`read_line`."""
    manifest = parse_document(data)
    _validate(Manifest, data)
    return manifest


def _validate(model: type[BaseModel], data: bytes) -> None:
    try:
        model.model_validate_json(data, strict=True)
    except ValidationError as err:
        raise _explained("", err) from None


def _explained(what: str, err: ValidationError) -> ValueError:
    problem = err.errors(include_url=False)[0]
    where = ".".join(str(part) for part in problem["loc"])
    return ValueError(f"{what}{where}: {problem['msg']} (got {str(problem['input'])!r:.60})")


def decompressed(source: VerifiedStream, limit: int) -> Iterator[bytes]:
    """Decompress a row of zstandard frames piece by piece; what their headers declare is not believed.

    Raises
    ------
    ValueError
        If they are damaged, or hold more than ``limit`` bytes.
    """
    readable = cast("IO[bytes]", source)  # of a stream, only read() is used
    reader = zstandard.ZstdDecompressor(max_window_size=WINDOW).stream_reader(readable, read_across_frames=True, closefd=False)
    total = 0
    while True:
        try:
            chunk = reader.read(CHUNK)
        except zstandard.ZstdError as err:
            raise ValueError(f"it cannot be decompressed: {err}") from None
        if not chunk:
            break
        total += len(chunk)
        if total > limit:
            raise ValueError(f"it decompresses to more than {limit} bytes")
        yield chunk
    source.read_to_end()


def lines(chunks: Iterator[bytes], limit: int) -> Iterator[bytes]:
    """Cut pieces of text into lines without their ends.

    Raises
    ------
    ValueError
        If a line has more than ``limit`` bytes, or the last one does not end.
    """
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        if len(rest) > limit or any(len(line) > limit for line in whole):
            raise ValueError(f"it has a line of more than {limit} bytes")
        yield from whole
    if rest:
        raise ValueError("its last line does not end")
