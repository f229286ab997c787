"""A model's files as one file: a plain tar with a manifest first, the same bytes for the same files."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from coevo.errors import CheckpointError, ModelError
from coevo.models.checkpoint_json import parse_bounded

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import BinaryIO

KIND = "coevo-external-model"
VERSION = 1
MANIFEST = "manifest.json"
MAX_FILES = 1000
MAX_MANIFEST = 4 * 1024 * 1024
MAX_NAME = 255
"""Characters of a file's name in an archive."""
_BLOCK = 1024 * 1024


@dataclass(frozen=True)
class Manifest:
    """What a model archive says of itself.

    Attributes
    ----------
    family : str
    document : dict
        JSON that the family records with the model (scalers, digests of its data).
    files : dict
        Name to ``{"sha256", "size"}``.
    """

    family: str
    document: dict[str, Any]
    files: dict[str, dict[str, Any]]

    def to_bytes(self) -> bytes:
        """Canonical JSON."""
        data = {"kind": KIND, "version": VERSION, "family": self.family, "document": self.document, "files": self.files}
        return json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=True).encode()


def files_below(directory: Path, limit: int) -> dict[str, Path]:
    """Regular files below a directory that a runner wrote, by relative name, sorted.

    Raises
    ------
    ModelError
        If there is something else than files and directories, or they are too many or too large.
    """
    found: dict[str, Path] = {}
    for path in sorted(directory.rglob("*")):
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise ModelError(f"the model holds {path.name!r}, which is neither a file nor a directory")
        if path.is_file():
            name = path.relative_to(directory).as_posix()
            if not _is_name(name):
                raise ModelError(
                    f"the model holds a file named {name[:80]!r}, allowed: {MAX_NAME} printable characters, no backslash"
                )
            found[name] = path
    size = sum(path.stat().st_size for path in found.values())
    if len(found) > MAX_FILES or size > limit:
        raise ModelError(f"the model has {len(found)} files of {size} bytes, allowed: {MAX_FILES} files of {limit} bytes")
    return found


def pack(target: Path, family: str, document: Mapping[str, Any], files: Mapping[str, Path]) -> Manifest:
    """Write an archive.

    Parameters
    ----------
    target : Path
    family : str
    document : mapping
        JSON.
    files : mapping
        Relative names to files.

    Raises
    ------
    ModelError
        If the document could not be read again: it is too large, nested too deeply, or its numbers are.
    """
    listed: dict[str, dict[str, Any]] = {}
    for name, path in sorted(files.items()):
        listed[name] = {"sha256": _sha256(path), "size": path.stat().st_size}
    manifest = Manifest(family, dict(document), listed)
    data = manifest.to_bytes()
    try:
        parse_bounded(data)  # what is written can be read again
    except ValueError as err:
        raise ModelError(f"the document of a model of {family} cannot be kept: {err}") from None
    if len(data) > MAX_MANIFEST:
        raise ModelError(f"the document of a model of {family} has {len(data)} bytes, allowed: {MAX_MANIFEST}")
    with tarfile.open(target, "w", format=tarfile.USTAR_FORMAT) as tar:
        tar.addfile(_member(MANIFEST, len(data)), io.BytesIO(data))
        for name, path in sorted(files.items()):
            with path.open("rb") as file:
                tar.addfile(_member(f"model/{name}", listed[name]["size"]), file)
    return manifest


def _member(name: str, size: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o644
    return member


def unpack(path: Path, target: Path, family: str) -> Manifest:
    """Write the files of an archive below an empty directory and return its manifest.

    The manifest comes first, and the size of the whole file follows from it: nothing is written of an archive that is larger or
    smaller, so that no archive grows when it is unpacked.

    Raises
    ------
    CheckpointError
        If the file is missing, cut short, damaged, or of another family; nothing outside ``target`` is ever written.
    """
    try:
        with tarfile.open(path, "r:") as tar:
            members = iter(tar)
            first = next(members, None)
            manifest = _manifest(tar, first, path, family)
            # The end of a tar is empty blocks, whose absence tarfile does not mind.
            size, whole = path.stat().st_size, _size(manifest)
            if size != whole:
                raise CheckpointError(f"checkpoint {path}: cut short or changed: {size} bytes, expected {whole}")
            expected = iter(sorted(manifest.files.items()))
            for member in members:
                name, told = next(expected, (None, None))
                if (
                    name is None
                    or told is None
                    or not _is_plain(member)
                    or member.name != f"model/{name}"
                    or member.size != told["size"]
                ):
                    raise CheckpointError(
                        f"checkpoint {path}: holds {member.name[:80]!r}, which its manifest does not list there"
                    )
                source = tar.extractfile(member)
                assert source is not None
                file = target.joinpath(*PurePosixPath(name).parts)
                file.parent.mkdir(parents=True, exist_ok=True)
                with file.open("xb") as out:
                    found = _copy(source, out)
                if found != told["sha256"]:
                    raise CheckpointError(f"checkpoint {path}: {name} is damaged (sha256 {found}, expected {told['sha256']})")
        if (missing := next(expected, None)) is not None:
            raise CheckpointError(f"checkpoint {path}: {missing[0]} is missing")
    except tarfile.TarError as err:
        raise CheckpointError(f"checkpoint {path}: not a model archive, or cut short: {err}") from None
    except (OSError, ValueError, OverflowError, MemoryError) as err:
        raise CheckpointError(f"checkpoint {path}: cannot be read: {getattr(err, 'strerror', None) or err!r}") from None
    return manifest


def _is_plain(member: tarfile.TarInfo) -> bool:
    """Whether a member is a file as :func:`pack` writes it: sparse files and extended headers say more than they hold."""
    alone = member.offset_data == member.offset + tarfile.BLOCKSIZE  # no other header before its own
    return member.type == tarfile.REGTYPE and alone and not member.pax_headers and member.sparse is None


def _size(manifest: Manifest) -> int:
    """Bytes of an archive: a block of 512 before each member and members in whole blocks, two at the end, rounded to a record."""
    sizes = [len(manifest.to_bytes()), *(told["size"] for told in manifest.files.values())]
    blocks = sum(1 + -(-size // tarfile.BLOCKSIZE) for size in sizes) + 2
    return -(-blocks * tarfile.BLOCKSIZE // tarfile.RECORDSIZE) * tarfile.RECORDSIZE


def _manifest(tar: tarfile.TarFile, member: tarfile.TarInfo | None, path: Path, family: str) -> Manifest:
    if member is None or member.name != MANIFEST or not _is_plain(member) or member.size > MAX_MANIFEST:
        raise CheckpointError(f"checkpoint {path}: not a model archive (it does not begin with {MANIFEST})")
    source = tar.extractfile(member)
    assert source is not None
    try:
        data = parse_bounded(source.read())
        kind, version, found = data["kind"], data["version"], data["family"]
        document, files = data["document"], data["files"]
        few = len(files) <= MAX_FILES
        sound = few and isinstance(document, dict) and all(_sound(name, told) for name, told in files.items())
    except (ValueError, KeyError, TypeError, AttributeError) as err:
        raise CheckpointError(f"checkpoint {path}: its manifest cannot be read: {repr(err)[:200]}") from None
    if (kind, version) != (KIND, VERSION) or not sound:
        raise CheckpointError(f"checkpoint {path}: its manifest is not one of a {KIND} of version {VERSION}")
    if found != family:
        raise CheckpointError(f"checkpoint {path}: is of family {str(found)[:80]!r}, expected {family!r}")
    return Manifest(family, document, files)


def _is_name(name: str) -> bool:
    parts = PurePosixPath(name).parts
    inside = bool(parts) and not name.startswith("/") and ".." not in parts
    return inside and len(name) <= MAX_NAME and "\\" not in name and name.isprintable()


def _sound(name: str, told: Any) -> bool:
    return _is_name(name) and isinstance(told["sha256"], str) and type(told["size"]) is int and told["size"] >= 0


def _copy(source: Any, target: BinaryIO) -> str:
    digest = hashlib.sha256()
    while block := source.read(_BLOCK):
        target.write(block)
        digest.update(block)
    return digest.hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
