"""Bundles that a stranger made to do harm: each is refused with one clear error, and nothing of it is left anywhere."""

from __future__ import annotations

import hashlib
import json
import os
import random
import stat
import struct
import zipfile

import pytest
import zstandard
from bundle_files import CONFIG_TEXT, embedded
from forgeries import SMALL, decompressed, zip_entry
from li_p_s_states import NODE, OFFSETS

from coevo.errors import BundleError
from coevo.node_store.bundles.importing import import_bundle


def test_what_is_forged_without_a_lie_imports(forgery, tmp_path):
    """The forger's tools are right: otherwise the tests below would prove nothing."""
    forgery.put_manifest(lambda manifest: manifest["offsets"].update(more=OFFSETS))
    forgery.declare()
    report = import_bundle(embedded(tmp_path / "db"), forgery.write(tmp_path / "b.zip"), limits=SMALL)
    assert report.states_added == 2


# --- the zip file


@pytest.mark.parametrize(
    "name",
    [
        "/etc/passwd",
        "../../escape",
        "states/../../escape",
        "..\\escape",
        "C:\\escape",
        "states/x",
        "notes.txt",
        "blobs/ab/cd",
        "",
    ],
)
def test_members_that_are_not_declared(forgery, refuse, tmp_path, name):
    forgery.extra.append((zip_entry(name), b"harm"))
    refuse(forgery.write(tmp_path / "b.zip"), "is not declared in bundle.json|foreign separator")


@pytest.mark.parametrize("name", ["/etc/passwd", "../../escape", "..\\escape", "blobs/ab/../../x", "blobs/ab/" + "0" * 62])
def test_names_that_are_declared_and_must_not_be(forgery, refuse, tmp_path, name):
    forgery.members[name] = b"harm"
    forgery.declare()
    refuse(forgery.write(tmp_path / "b.zip"), "belongs to no state|is declared with sha256|expected 'states")


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFDIR])
def test_links_and_devices(forgery, refuse, tmp_path, kind):
    forgery.extra.append((zip_entry("link", kind | 0o777), b"/etc/passwd"))
    refuse(forgery.write(tmp_path / "b.zip"), "is a link, a directory or a device")


def test_a_name_that_is_there_twice(forgery, refuse, tmp_path):
    name, data = next(iter(forgery.members.items()))
    forgery.extra.append((zip_entry(name), data))
    with pytest.warns(UserWarning, match="Duplicate name"):
        path = forgery.write(tmp_path / "b.zip")
    refuse(path, "is there twice")


def test_compressed_members(good, refuse, tmp_path):
    with zipfile.ZipFile(good) as source, zipfile.ZipFile(tmp_path / "b.zip", "w", zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():
            target.writestr(name, source.read(name))
    refuse(tmp_path / "b.zip", "is compressed; members of a bundle are stored")


@pytest.mark.parametrize("flag", [0x1, 0x40, 0x2000, 0x8])
def test_flags_of_encryption_and_of_late_sizes(good, refuse, tmp_path, flag):
    data = bytearray(good.read_bytes())
    start = data.rindex(b"PK\1\2")
    struct.pack_into("<H", data, start + 8, flag)
    (tmp_path / "b.zip").write_bytes(data)
    refuse(tmp_path / "b.zip", "is encrypted|has flags that coevo does not write")


@pytest.mark.parametrize(
    ("offset", "layout", "value"), [(20, "<L", 10), (24, "<L", 10), (20, "<LL", 1 << 31), (42, "<L", 0), (42, "<L", 1 << 31)]
)
def test_sizes_and_places_that_lie(good, refuse, tmp_path, offset, layout, value):
    """Compressed size, size, both, and the offset of a member in the list of members."""
    data = bytearray(good.read_bytes())
    struct.pack_into(layout, data, data.rindex(b"PK\1\2") + offset, *[value] * (len(layout) - 1))
    (tmp_path / "b.zip").write_bytes(data)
    refuse(tmp_path / "b.zip", "has two sizes|overlap|cannot be read|has sha256|bytes, declared are")


@pytest.mark.parametrize(("entries", "size"), [(1 << 40, 100), (10, 1 << 40)])
def test_a_zip64_end_that_lies(good, refuse, tmp_path, entries, size):
    data = good.read_bytes()
    end = data[-22:]
    zip64 = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, entries, entries, size, 0)
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, len(data) - 22, 1)
    (tmp_path / "b.zip").write_bytes(data[:-22] + zip64 + locator + end)
    refuse(tmp_path / "b.zip", "it lists .* members")


@pytest.mark.parametrize("keep", [0, 1, 21, 22, 500, -1, -23, -2000])
def test_files_that_are_cut_short(good, refuse, tmp_path, keep):
    (tmp_path / "b.zip").write_bytes(good.read_bytes()[:keep])
    refuse(tmp_path / "b.zip", "not a zip file, or is cut short")


def test_files_that_are_no_zip(good, refuse, tmp_path):
    for name, data in (
        ("text", b"hello" * 100),
        ("tail", bytes(1000) + good.read_bytes()),
        ("comment", good.read_bytes() + b"x" * 9),
    ):
        (tmp_path / name).write_bytes(data)
        refuse(tmp_path / name, "not a zip file|does not begin with bundle.json|not a readable zip")
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("a.txt", "hello")
    refuse(tmp_path / "other.zip", "does not begin with bundle.json")
    (tmp_path / "folder").mkdir()
    refuse(tmp_path / "folder", "is not a file")
    os.mkfifo(tmp_path / "pipe")
    refuse(tmp_path / "pipe", "is not a file")
    refuse(tmp_path / "nothing", "does not exist")


def test_any_byte_may_be_wrong(good, tmp_path):
    """Either the changed byte says nothing (a time in the zip file), or the bundle is refused."""
    data, rng = good.read_bytes(), random.Random(3)
    for number in range(120):
        changed = bytearray(data)
        changed[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        (tmp_path / "b.zip").write_bytes(changed)
        store = embedded(tmp_path / f"db-{number}")
        try:
            import_bundle(store, tmp_path / "b.zip", limits=SMALL)
        except BundleError:
            assert not (tmp_path / f"db-{number}").exists()
        else:
            assert store.head(NODE) == json.loads(zipfile.ZipFile(good).read("bundle.json"))["heads"]["main"]


# --- the table of contents


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "other"}, "does not say format"),
        ({"version": 3}, "reads up to 2; install a newer coevo"),
        ({"version": "1"}, "version"),
        ({"unknown": 1}, "unknown"),
        ({"heads": {}}, "heads"),
        ({"heads": {"../x": "0" * 64}}, "heads"),
        ({"heads": {"a b": "0" * 64}}, "heads"),
        ({"heads": {"main": "0" * 64}}, "is not among its states"),
        ({"heads": {"main": "x" * 64}}, "heads"),
        ({"states": []}, "states"),
        ({"states": ["../../x"]}, "states"),
        ({"states": ["0" * 64]}, "is not among its states|expected 'states"),
        ({"omitted_checkpoints": [{"sha256": "0" * 64, "size": 1, "family": "a", "format": "b", "uri": ""}]}, "not thin"),
        ({"members": []}, "expected 'states"),
    ],
)
def test_contents_that_are_wrong(forgery, refuse, tmp_path, change, message):
    forgery.contents |= change
    refuse(forgery.write(tmp_path / "b.zip"), message)


@pytest.mark.parametrize("name", ["../x", "/etc", "a/b", ".hidden", "", "A", "x" * 65, "a\n"])
def test_node_names_that_are_paths(forgery, refuse, tmp_path, name):
    forgery.contents["node"]["name"] = name
    refuse(forgery.write(tmp_path / "b.zip"), "node.name")


@pytest.mark.parametrize(
    "text",
    [
        "node: !!python/object/apply:os.system ['true']\n",
        "a: &a [x]\nb: [*a, *a, *a]\n",
        "node: {name: other-elements, elements: [Na, Cl], references: li-p-s}\n",
        "node: [" * 1000,
        "",
        "node:\n  name: x\n",
        CONFIG_TEXT + "nonsense: 1\n",
        "# \x1b[2J\n" + CONFIG_TEXT,
        CONFIG_TEXT + "#" * 2_000_000,
    ],
)
def test_configurations_that_are_tricks(forgery, refuse, tmp_path, text):
    forgery.contents["node"]["config_text"] = text
    refuse(forgery.write(tmp_path / "b.zip"), "configuration")


@pytest.mark.parametrize(
    "contents",
    [
        b"[" * 1_000_000,
        b'{"a":' * 1_000_000,
        b"{}",
        b"[]",
        b"not json",
        b"\xff\xfe",
        b'{"format":"coevo-bundle","format":"other"}',
        b'{"format":"coevo-bundle","version":NaN}',
        b'{"format":"coevo-bundle","version":' + b"9" * 5000 + b"}",
        b"",
    ],
)
def test_contents_that_are_no_json(forgery, refuse, tmp_path, contents):
    refuse(forgery.write(tmp_path / "b.zip", contents), "bundle.json")


def test_a_member_that_is_missing_or_has_another_hash(forgery, refuse, tmp_path):
    name = next(name for name in forgery.members if name.startswith("blobs/"))
    forgery.members[name] += b"x"
    refuse(forgery.write(tmp_path / "1.zip"), "bytes, declared are")
    forgery.members[name] = b"y" * (len(forgery.members[name]) - 1)
    refuse(forgery.write(tmp_path / "2.zip"), "has sha256 .* declared is")
    del forgery.members[name]
    refuse(forgery.write(tmp_path / "3.zip"), "is missing")
    forgery.declare()
    refuse(forgery.write(tmp_path / "4.zip"), "is missing")


# --- decompression bombs


def _bomb(megabytes: int) -> bytes:
    return zstandard.ZstdCompressor(level=1).compress(b"0" * (megabytes << 20))


def test_bombs_that_are_declared_and_bombs_that_are_not(forgery, refuse, tmp_path):
    name = f"states/{forgery.head}/labels.jsonl.zst"
    forgery.members[name] = _bomb(15)
    forgery.declare()
    refuse(forgery.write(tmp_path / "1.zip"), "more than 500-fold")
    forgery.declared(name)["uncompressed"] = 1000
    refuse(forgery.write(tmp_path / "2.zip"), "decompresses to more than 1000 bytes")
    forgery.declared(name)["uncompressed"] = 1 << 62
    refuse(forgery.write(tmp_path / "3.zip"), "raise --max-size")


def test_a_frame_whose_header_lies(forgery, refuse, tmp_path):
    name = f"states/{forgery.head}/labels.jsonl.zst"
    frame = zstandard.ZstdCompressor(level=1).compress(b"{}\n")
    for size in (b"\xff" * 7 + b"\x0f", b"\xff" * 8):  # single segment with a content size of 8 bytes
        forgery.members[name] = frame[:4] + b"\xe0" + size + frame[6:]
        with pytest.raises(zstandard.ZstdError):
            decompressed(forgery.members[name])
        member = {"name": name, "size": len(forgery.members[name]), "uncompressed": 3}
        forgery.declared(name).update(member, sha256=hashlib.sha256(forgery.members[name]).hexdigest())
        refuse(forgery.write(tmp_path / "b.zip"), "cannot be decompressed")


@pytest.mark.parametrize("tail", [b"garbage", b"\x28\xb5\x2f\xfd"])
def test_garbage_after_a_frame(forgery, refuse, tmp_path, tail):
    name = f"states/{forgery.head}/labels.jsonl.zst"
    uncompressed = forgery.declared(name)["uncompressed"]
    forgery.members[name] += tail
    data = forgery.members[name]
    member = {"name": name, "size": len(data), "uncompressed": uncompressed, "sha256": hashlib.sha256(data).hexdigest()}
    forgery.declared(name).update(member)
    path = forgery.write(tmp_path / "b.zip")
    if tail == b"garbage":
        refuse(path, "cannot be decompressed")
    else:  # half a header holds nothing: every byte that comes out is what was declared
        assert import_bundle(embedded(tmp_path / "db"), path, limits=SMALL).states_added == 2


def test_a_bomb_in_a_sample_that_a_job_would_decompress(forgery, refuse, tmp_path):
    def replace(manifest):
        sha256 = manifest["samples"]["1"]
        del forgery.members[f"blobs/{sha256[:2]}/{sha256[2:]}"]
        manifest["samples"]["1"] = forgery.put_blob(_bomb(15))["sha256"]

    forgery.put_manifest(replace)
    forgery.declare()
    refuse(forgery.write(tmp_path / "b.zip"), "decompresses to more than")
