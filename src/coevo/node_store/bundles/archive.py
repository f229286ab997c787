"""The zip file of a bundle, opened as if a stranger had made it: only what coevo itself writes is accepted.

That is: stored members, in one piece each, with names that the table of contents declares. Everything read is measured and hashed
on the way, and nothing is ever written to a place that a member names.
"""

from __future__ import annotations

import hashlib
import stat
import struct
import zipfile
import zlib
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING, Any, Self

from coevo.errors import BundleError
from coevo.node_store.bundles.format import CONTENTS, BundleContents, read_contents, refused
from coevo.node_store.bundles.stranger_json import parse_document

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from coevo.node_store.bundles.format import BundleLimits, Member

_END = struct.Struct("<4s4H2LH")
_LOCATOR = struct.Struct("<4sLQL")
_END_64 = struct.Struct("<4sQ2H2L4Q")
_UTF8_NAME = 0x800
_ZIP_ERRORS = (
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    zlib.error,
    struct.error,
    EOFError,
    NotImplementedError,
    OSError,
    OverflowError,
    RuntimeError,
    ValueError,
)
"""What the standard library raises for zip files that are not as they should be."""


class Archive:
    """A bundle whose table of contents and list of members have been read and agree; a context manager.

    Parameters
    ----------
    path : Path
    limits : BundleLimits

    Attributes
    ----------
    contents : BundleContents

    Raises
    ------
    BundleError
        If the file is no bundle, is over a limit, or holds anything that its table of contents does not declare.
    """

    def __init__(self, path: Path, limits: BundleLimits):
        self.path = path
        self.limits = limits
        if not path.is_file():
            what = "is not a file" if path.exists() else "does not exist"
            raise BundleError(f"the bundle {path} {what}; give a file that coevo export wrote")
        try:
            self._file = path.open("rb")
        except OSError as err:
            raise BundleError(f"the bundle {path} cannot be read: {err.strerror or err}; check the permissions") from err
        try:
            self._size = path.stat().st_size
            self._check_directory_size()
            with self._zip_errors("it is not a readable zip file"):
                self._zip = zipfile.ZipFile(self._file)
            self._members = self._checked_directory()
            self.contents = self._read_contents()
            self._compare()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._zip.close()
        self._file.close()

    @contextmanager
    def _zip_errors(self, what: str) -> Iterator[None]:
        try:
            yield
        except BundleError:
            raise
        except _ZIP_ERRORS as err:
            raise refused(self.path, f"{what} ({type(err).__name__}: {err})") from None

    # --- the list of members

    def _check_directory_size(self) -> None:
        """Refuse a list of members that would fill the memory, before the standard library reads it."""
        length = _END_64.size + _LOCATOR.size + _END.size
        with self._zip_errors("its end cannot be read"):
            self._file.seek(max(0, self._size - length))
            tail = self._file.read(length).rjust(length, b"\0")
        signature, *_, entries, size, _, comment = _END.unpack(tail[-_END.size :])
        if signature != b"PK\5\6" or comment:
            raise refused(self.path, f"it is not a zip file, or is cut short ({self._size} bytes)")
        if tail[_END_64.size : _END_64.size + 4] == b"PK\6\7":
            signature, *_, entries, size, _ = _END_64.unpack(tail[: _END_64.size])
            if signature != b"PK\6\6":
                raise refused(self.path, "its zip64 end is not where it should be")
        if entries > self.limits.members or size > self.limits.directory:
            raise BundleError(
                f"{self.path} was not imported: it lists {entries} members in {size} bytes; allowed are {self.limits.members} "
                f"members in {self.limits.directory} bytes; export fewer states at once"
            )

    def _checked_directory(self) -> dict[str, zipfile.ZipInfo]:
        found: dict[str, zipfile.ZipInfo] = {}
        for info in self._zip.infolist():
            name = info.orig_filename
            if problem := _member_problem(info):
                raise refused(self.path, f"member {name!r:.120} {problem}")
            if name in found:
                raise refused(self.path, f"member {name!r:.120} is there twice")
            found[name] = info
        if not found or next(iter(found)) != CONTENTS or found[CONTENTS].header_offset != 0:
            raise refused(self.path, f"it does not begin with {CONTENTS}")
        if sum(info.file_size for info in found.values()) > self._size:
            raise refused(self.path, "its members overlap, or are declared larger than the file")
        return found

    # --- the table of contents

    def _read_contents(self) -> BundleContents:
        size = self._members[CONTENTS].file_size
        if size > self.limits.contents:
            raise BundleError(
                f"{self.path} was not imported: its {CONTENTS} has {size} bytes; allowed are {self.limits.contents}; "
                "export fewer states at once"
            )
        with self._zip_errors(f"{CONTENTS} cannot be read"), self._zip.open(self._members[CONTENTS]) as file:
            data = file.read()
        try:
            document = parse_document(data)
        except ValueError as err:
            raise refused(self.path, f"{CONTENTS}: {err}") from None
        return read_contents(document, self.path)

    def _compare(self) -> None:
        """Compare the list of members with what the table of contents declares."""
        declared = {member.name: member for member in self.contents.members}
        total = sum(member.uncompressed for member in declared.values())
        if total > self.limits.total:
            raise BundleError(
                f"{self.path} was not imported: it declares {total} bytes of content, allowed are {self.limits.total}; if you "
                "expect so much, raise --max-size (COEVO_MAX_BUNDLE_SIZE)"
            )
        for name in self._members:
            if name not in declared and name != CONTENTS:
                raise refused(self.path, f"member {name!r:.120} is not declared in {CONTENTS}")
        for member in declared.values():
            info = self._members.get(member.name)
            if info is None:
                raise refused(self.path, f"member {member.name!r} is missing")
            if info.file_size != member.size:
                raise refused(self.path, f"member {member.name!r} has {info.file_size} bytes, declared are {member.size}")
            self.check_ratio(member.name, member.size, member.uncompressed)

    def check_ratio(self, what: str, size: int, uncompressed: int) -> None:
        """Refuse what decompresses to far more than any document does.

        Raises
        ------
        BundleError
        """
        if uncompressed > max(self.limits.small, size * self.limits.ratio):
            raise refused(
                self.path, f"{what!r} decompresses from {size} to {uncompressed} bytes, more than {self.limits.ratio}-fold"
            )

    # --- reading

    def open(self, member: Member) -> VerifiedStream:
        """Open a member; its bytes are verified when the end is reached."""
        with self._zip_errors(f"member {member.name!r} cannot be read"):
            file = self._zip.open(self._members[member.name])
        return VerifiedStream(self, member, file)


class VerifiedStream:
    """The bytes of a member; reading its last byte compares size and sha256 with those declared.

    Parameters
    ----------
    archive : Archive
    member : Member
    file : binary file
    """

    def __init__(self, archive: Archive, member: Member, file: IO[bytes]):
        self._archive = archive
        self._member = member
        self._file = file
        self._hasher = hashlib.sha256()
        self._size = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        with suppress(*_ZIP_ERRORS):
            self._file.close()

    def read(self, size: int = 1 << 20) -> bytes:
        """Read at most so many bytes; none at the end.

        Raises
        ------
        BundleError
            If the bytes cannot be read, or are not those declared.
        """
        name = self._member.name
        with self._archive._zip_errors(f"member {name!r} cannot be read"):  # noqa: SLF001 - of this module
            data = self._file.read(size if size > 0 else 1 << 20)
        self._hasher.update(data)
        self._size += len(data)
        if not data and size and (self._size, self._hasher.hexdigest()) != (self._member.size, self._member.sha256):
            raise refused(
                self._archive.path,
                f"member {name!r} has sha256 {self._hasher.hexdigest()} ({self._size} bytes), declared is {self._member.sha256} "
                f"({self._member.size} bytes)",
            )
        return data

    def read_to_end(self) -> None:
        """Read the rest, to verify it."""
        while self.read():
            pass


def _member_problem(info: zipfile.ZipInfo) -> str:
    """Say what is wrong with an entry of the list of members that coevo would not have written."""
    mode: Any = info.external_attr >> 16
    checks = {
        "is encrypted": bool(info.flag_bits & 0x2041),
        "has flags that coevo does not write": bool(info.flag_bits & ~_UTF8_NAME & ~0x2041),
        "is compressed; members of a bundle are stored": info.compress_type != zipfile.ZIP_STORED,
        "has two sizes though it is stored": info.file_size != info.compress_size,
        "is a link, a directory or a device": stat.S_IFMT(mode) not in {0, stat.S_IFREG} or info.filename.endswith("/"),
        "has a name with a zero byte or a foreign separator": info.filename != info.orig_filename,
    }
    return next((problem for problem, found in checks.items() if found), "")
