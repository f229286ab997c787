"""Documents of a bundle, one line each: what they must look like before anything is computed from them.

Also here, what jobs take for granted of a state: complete labels and evaluations, offsets of a scale, and entries that are what
they say.

Jobs read these without looking; a bundle is held to them before anything of it is stored.
"""

from __future__ import annotations

import re
from typing import IO, TYPE_CHECKING, Annotated, Any, cast

import zstandard
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError, model_validator

from coevo.configs.generator_section import MOST_GENERATORS
from coevo.configs.uncertainty_section import MOST_FAMILIES, MOST_MEMBERS
from coevo.families import COMMITTEE, FURTHER_GENERATORS, ROLES
from coevo.node_store.bundles.geometries import Exact, Geometry, check_geometry
from coevo.node_store.bundles.stranger_json import control_characters, parse_document
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
    is_refuted,
)
from coevo.node_store.known_fields import refuse_unknown_fields
from coevo.node_store.seeds import seed_in

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

    from coevo.node_store.bundles.archive import VerifiedStream


STATUSES = ("admitted", "rejected", "failed")
LABEL_FIELDS = ("frame", "structure", "family", "kind", "how", "code", "functional", "settings_digest")
"""What every label says, whatever became of it."""
NUMBERS = ("energy_per_atom", "forces", "stress")
"""What an admitted label has besides."""

EVALUATION_FIELDS = (
    "energy_per_atom",
    "formation_energy_per_atom",
    "energy_above_hull",
    "energy_above_reference_hull",
    "is_stable",
    "is_novel",
    "is_sun",
)
"""What every evaluation says."""
OPTIONAL_NUMBERS = (
    "energy_above_hull_std",
    "energy_above_hull_audit",
    "energy_above_hull_uncorrected",
    "electron_excess",
    "model_energy_per_atom",
)
"""What some evaluations say."""

LARGEST = 1e9
"""eV, eV/Å, eV/Å³; all electrons of an atom have less than a thousandth of it, and squares of what is far beyond overflow."""


def _refuse_large(name: str, values: Iterable[Any]) -> None:
    for value in values:
        if isinstance(value, (int, float)) and not abs(value) <= LARGEST:
            raise ValueError(f"{name}: got {value:g}, allowed: numbers from {-LARGEST:g} to {LARGEST:g}")


class Residual(BaseModel):
    """What the offsets leave of one reference."""

    model_config = ConfigDict(extra="forbid")

    reference: str = Field(max_length=200)
    formula: str = Field(max_length=200)
    value: FiniteFloat = Field(description="eV/atom")


class Offsets(BaseModel):
    """Constants per element between the energy scales of labels and force field, as the analysis fits them."""

    model_config = ConfigDict(extra="forbid")

    elements: list[Annotated[str, Field(max_length=8)]] = Field(max_length=120)
    values: list[FiniteFloat] = Field(description="eV/atom")
    rank: int
    residual_rms: FiniteFloat = Field(description="eV/atom")
    n: int
    residuals: list[Residual] = Field(default=[], max_length=100_000)

    @model_validator(mode="after")
    def _one_each(self) -> Offsets:
        if len(self.values) != len(self.elements):
            raise ValueError(f"{len(self.values)} values for {len(self.elements)} elements")
        _refuse_large("offsets", self.values)
        _refuse_large("offsets.residuals", (residual.value for residual in self.residuals))
        return self


def check_label(label: Mapping[str, Any]) -> None:
    """Refuse a label that jobs could not read: one that lacks something, or whose numbers are not those of its atoms.

    Parameters
    ----------
    label : mapping
        Valid for :class:`~coevo.node_store.documents.LabelDocument`.

    Raises
    ------
    ValueError
    """
    status = label.get("status")
    if status not in STATUSES:
        raise ValueError(f"status: got {str(status)[:40]!r}, allowed: {', '.join(STATUSES)}")
    wanted = (*LABEL_FIELDS, *NUMBERS) if status == "admitted" else LABEL_FIELDS
    if lacking := [name for name in wanted if label.get(name) is None]:
        raise ValueError(f"a label that is {status} must say {', '.join(lacking)}")
    atoms = len(label["structure"]["sites"])
    for name, rows in (("forces", atoms), ("stress", 3)):
        found = label.get(name)
        if found is not None and (len(found) != rows or any(len(row) != 3 for row in found)):
            raise ValueError(f"{name}: expected {rows} rows of 3 numbers for {atoms} atoms")
        _refuse_large(name, (value for row in found or () for value in row))
    _refuse_large("energy_per_atom", [label.get("energy_per_atom")])


def check_evaluation(evaluation: Mapping[str, Any]) -> None:
    """Refuse an evaluation that lacks a number which every evaluation has; raises as :func:`check_label`."""
    if lacking := [name for name in EVALUATION_FIELDS if evaluation.get(name) is None]:
        raise ValueError(f"an evaluation must say {', '.join(lacking)}")
    for name in EVALUATION_FIELDS:
        _refuse_large(name, [evaluation[name]])
    for name in OPTIONAL_NUMBERS:
        _refuse_large(name, [evaluation.get(name)])
    if is_refuted(evaluation) != (evaluation.get("model_energy_per_atom") is not None):
        raise ValueError("model_energy_per_atom: an evaluation says it if a label refuted the entry, and not otherwise")
    if evaluation["kind"] != "entry" and evaluation.get("hull_status") is not None:
        raise ValueError(f"hull_status: got {evaluation['hull_status']} of a reference, allowed: none")
    members = evaluation.get("energies_above_hull") or {}
    _check_members("energies_above_hull", members)
    _refuse_large("energies_above_hull", members.values())


def _check_members(where: str, names: Collection[str]) -> None:
    """Refuse names that no member of a second opinion has, and more members than a configuration can want."""
    if odd := sorted(name for name in names if not MEMBER.fullmatch(name)):
        raise ValueError(f"{where}: got {odd[0][:60]!r}, allowed: names of members, up to 80 of a-z, 0-9 and _")
    if len(names) > MOST_VOICES:
        raise ValueError(f"{where}: got {len(names)} members of a second opinion, allowed: {MOST_VOICES}")


def _check_slots(slots: Collection[str]) -> None:
    """Refuse checkpoints of a state that are neither its models, nor generators of a mixture, nor of its second opinion."""
    generators = [slot.removeprefix(FURTHER_GENERATORS) for slot in slots if slot.startswith(FURTHER_GENERATORS)]
    if odd := sorted(name for name in generators if not GENERATOR.fullmatch(name)):
        raise ValueError(f"checkpoints: got {FURTHER_GENERATORS + odd[0][:60]!r}, allowed: {FURTHER_GENERATORS}FAMILY")
    if len(generators) >= MOST_GENERATORS:
        raise ValueError(f"checkpoints: got {len(generators) + 1} generators, allowed: {MOST_GENERATORS}")
    further = [slot for slot in slots if slot not in ROLES and not slot.startswith(FURTHER_GENERATORS)]
    if odd := sorted(slot for slot in further if not slot.startswith(COMMITTEE)):
        allowed = f"{', '.join(ROLES)}, {FURTHER_GENERATORS}FAMILY, {COMMITTEE}NAME"
        raise ValueError(f"checkpoints: got {odd[0][:60]!r}, allowed: {allowed}")
    _check_members("checkpoints", [slot.removeprefix(COMMITTEE) for slot in further])


def check_described(document: Mapping[str, Any]) -> None:
    """Refuse a structure or reference whose number of atoms or elements are not those of its geometry.

    Parameters
    ----------
    document : mapping
        Valid for its model, with a geometry that is one.

    Raises
    ------
    ValueError
    """
    sites = document["structure"]["sites"]
    elements = sorted({species["element"] for site in sites for species in site["species"]})
    found = {"nsites": len(sites), "elements": elements, "chemsys": "-".join(elements)}
    for name, value in found.items():
        said = sorted(document[name]) if name == "elements" else document.get(name)
        if said is not None and said != value:
            raise ValueError(f"{name}: got {str(said)[:60]}, its geometry has {str(value)[:60]}")


CHECKS: dict[str, Callable[[Mapping[str, Any]], None]] = {
    "structures": check_described,
    "references": check_described,
    "labels": check_label,
    "evaluations": check_evaluation,
}
"""By the kind of a document."""


MEMBER = re.compile(r"[a-z0-9_]{1,80}")
"""Names of members of a second opinion."""
GENERATOR = re.compile(r"[a-z][a-z0-9-]{0,39}")
"""Names of families of generators."""
MOST_VOICES = MOST_MEMBERS + MOST_FAMILIES
"""Members that a configuration can want."""

CHUNK = 1 << 20
WINDOW = 8 << 20
"""Largest window of a zstandard frame, bytes: what decompression may take of the memory. Level 6 needs 2 MiB."""

_MODELS: dict[str, type[BaseModel]] = {
    "structures": StructureDocument,
    "references": ReferenceDocument,
    "labels": LabelDocument,
    "evaluations": EvaluationDocument,
}


class ManifestReference(Exact):
    """Where the manifest of a state is, in its document."""

    sha256: ContentId
    size: int = Field(ge=0)


class Manifest(Exact):
    """What belongs to a state."""

    structures: list[ContentId]
    references: list[ContentId]
    labels: dict[str, Split]
    samples: dict[Annotated[str, Field(pattern=r"^[0-9]{1,9}$")], ContentId]
    offsets: dict[Annotated[str, Field(max_length=200)], Offsets]
    refuted: dict[ContentId, FiniteFloat] = Field(default_factory=dict, description="energy in the state, eV/atom")


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
            Geometry.model_validate(geometry, strict=True)
        except ValidationError as err:
            raise _explained("its geometry: ", err) from None
        frame = segment == "labels"
        check_geometry(geometry, computed_with=not frame or document.get("status") == "admitted", frame=frame)
    CHECKS[segment](document)
    return document


def read_state(data: bytes) -> dict[str, Any]:
    """Read and check a state document; raises as :func:`read_line`."""
    document = parse_document(data)
    _validate(StateDocument, data)
    _check_slots(document["checkpoints"])
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
