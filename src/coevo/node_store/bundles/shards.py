"""Shards in bundles: what samples and training sets must be, because jobs read them whole and believe them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import zstandard
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from coevo.node_store.bundles.documents import WINDOW, lines
from coevo.node_store.bundles.geometries import Geometry, check_geometry
from coevo.node_store.bundles.stranger_json import parse_json
from coevo.node_store.canonical import dump_plain
from coevo.node_store.documents import ContentId  # noqa: TC001  (pydantic resolves it at run time)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from coevo.node_store.bundles.archive import VerifiedStream

ShardKind = Literal["sample", "training set"]

_PIECE = 1 << 10
"""Compressed bytes that are decompressed at a time: a block of zstandard turns four bytes into 128 KiB at most."""


class _Row(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class SampleRow(_Row):
    """A candidate of an iteration's random sample (:class:`coevo.makers.curate.CurateMaker`)."""

    id: ContentId
    structure: Geometry
    energy_per_atom: FiniteFloat
    fmax: FiniteFloat
    is_unique: bool | None = None
    is_novel: bool | None = None


class TrainingRow(_Row):
    """What a model was trained on: the id of a label, or of a structure with its energy (eV/atom)."""

    id: Annotated[str, Field(min_length=1, max_length=200)]
    energy_above_hull: FiniteFloat | None = None


_ROWS: dict[ShardKind, type[_Row]] = {"sample": SampleRow, "training set": TrainingRow}


def check_shard(kind: ShardKind, source: VerifiedStream, limit: int, line_limit: int) -> None:
    """Read a shard to its end.

    Parameters
    ----------
    kind : {"sample", "training set"}
    source : VerifiedStream
    limit : int
        Bytes, decompressed.
    line_limit : int
        Bytes of a record.

    Raises
    ------
    ValueError
        If it is not one zstandard frame of the size that it declares, or a line is not a record of this kind.
    """
    row = _ROWS[kind]
    for number, line in enumerate(lines(_one_frame(source, limit), line_limit), start=1):
        try:
            record = parse_json(line)  # which bounds integers and nesting, and refuses what is not finite
            if dump_plain(record) != line:
                raise ValueError("it is not canonical JSON")
            row.model_validate_json(line)
            if kind == "sample":
                check_geometry(record["structure"])
        except ValidationError as err:
            problem = err.errors(include_url=False)[0]
            where = ".".join(str(part) for part in problem["loc"])
            raise ValueError(f"its record {number} is not one of a {kind}: {where}: {problem['msg']}") from None
        except ValueError as err:
            raise ValueError(f"its record {number} is not one of a {kind}: {err}") from None


def _one_frame(source: VerifiedStream, limit: int) -> Iterator[bytes]:
    """Decompress the only frame of a shard piece by piece, and compare its size with the one that it declares."""
    reader = zstandard.ZstdDecompressor(max_window_size=WINDOW).decompressobj()
    declared, total, ended = -1, 0, False
    while data := source.read():
        if declared < 0:
            declared = _declared_size(data, limit)
        for start in range(0, len(data), _PIECE):
            if ended:
                raise ValueError("it holds more than one frame of zstandard")
            try:
                chunk = reader.decompress(data[start : start + _PIECE])
            except zstandard.ZstdError as err:
                raise ValueError(f"it cannot be decompressed: {err}") from None
            ended = reader.eof
            total += len(chunk)
            if total > declared or reader.unused_data:
                raise ValueError(f"it is not one frame of zstandard of the {declared} bytes that it declares")
            yield chunk
    if not ended or total != declared:
        raise ValueError(f"it is not a whole frame of zstandard: {total} bytes, declared are {declared}")


def _declared_size(data: bytes, limit: int) -> int:
    try:
        parameters = zstandard.get_frame_parameters(data)
    except zstandard.ZstdError as err:
        raise ValueError(f"it is no shard, which begins with a frame of zstandard: {err}") from None
    size = parameters.content_size
    if size == zstandard.CONTENTSIZE_UNKNOWN or size == zstandard.CONTENTSIZE_ERROR:
        raise ValueError("its frame does not declare its size, as frames of shards do")
    if size > limit:
        raise ValueError(f"it decompresses to more than {limit} bytes: {size} are declared")
    return int(size)
