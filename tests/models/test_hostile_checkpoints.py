"""Checkpoints whose numbers, names or nesting were made to do harm: one error each, at once, before anything is built of them."""

from __future__ import annotations

import io
import json
import tarfile
import time
import tracemalloc
from pathlib import Path

import pytest
from example_family import install_example
from hostile_checkpoints import disguised_as_json

from coevo.configs.tree import GeneratorConfig
from coevo.errors import CheckpointError, ModelError
from coevo.models.chgnet.force_field import ChgnetForceField
from coevo.models.external.archive import pack, unpack
from coevo.models.random_crystals.generator import EmbeddedGenerator
from coevo.models.registry import force_field_from, generator_from

DEEP = b"[" * 100_000 + b"]" * 100_000


@pytest.fixture
def refused():
    """Load, and expect one short error within seconds and megabytes."""

    def check(load, message: str) -> None:
        tracemalloc.start()
        started = time.process_time()
        try:
            with pytest.raises(CheckpointError, match=message) as caught:
                load()
            assert tracemalloc.get_traced_memory()[1] < 200_000_000
        finally:
            tracemalloc.stop()
        assert time.process_time() - started < 10
        assert len(str(caught.value)) < 1000
        assert "\n" not in str(caught.value)

    return check


# --- CHGNet


@pytest.fixture(scope="module")
def chgnet(tmp_path_factory) -> bytes:
    path = tmp_path_factory.mktemp("chgnet") / "checkpoint"
    ChgnetForceField.published("0.3.0").save(path)
    return path.read_bytes()


def header_of(data: bytes) -> tuple[dict, bytes]:
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def with_header(header: dict | bytes, tensors: bytes) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + tensors


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_conv": 10**8}, "n_conv=100000000; allowed: 3 to 16"),
        ({"n_conv": 10**30}, "no coevo-chgnet-1 header"),
        ({"n_conv": -1}, "n_conv=-1; allowed"),
        ({"n_conv": 5}, "does not hold a CHGNet: missing"),
        ({"n_conv": True}, "n_conv='True', which is not of type"),
        ({"num_radial": 10**9}, "num_radial=1000000000; allowed"),
        ({"num_radial": 30}, "has shape .*, expected"),
        ({"num_angular": 32}, "even num_angular"),
        ({"num_angular": 0}, "num_angular=0; allowed"),
        ({"cutoff_coeff": 10**6}, "cutoff_coeff=1000000; allowed"),
        ({"atom_graph_cutoff": float("nan")}, "no coevo-chgnet-1 header"),
        ({"atom_graph_cutoff": float("inf")}, "no coevo-chgnet-1 header"),
        ({"atom_graph_cutoff": 1e3}, "atom_graph_cutoff=1000.0; allowed"),
        ({"atom_graph_cutoff": -6.0}, "atom_graph_cutoff=-6.0; allowed"),
        ({"bond_graph_cutoff": 1e-9}, "bond_graph_cutoff=1e-09; allowed"),
        ({"atom_graph_cutoff": 2.0}, "bond_graph_cutoff beyond"),
        ({"weights": "x" * 10**5}, "a weights of 100000 characters"),
        ({"weights": "\x1b[2J"}, "a weights of 4 characters"),
        ({"more": 1}, "missing or unknown keys"),
    ],
)
def test_architectures_of_chgnet(chgnet, tmp_path, refused, change, message):
    header, tensors = header_of(chgnet)
    metadata = json.loads(header["__metadata__"]["coevo"])
    metadata["architecture"] |= change
    header["__metadata__"]["coevo"] = json.dumps(metadata)
    (tmp_path / "x").write_bytes(with_header(header, tensors))
    refused(lambda: force_field_from("chgnet", checkpoint=tmp_path / "x"), message)


@pytest.mark.parametrize("text", ["1e999", "-1e999", "NaN", "[" * 50_000, '{"a":' * 50_000, "9" * 10_000])
def test_metadata_of_chgnet_that_is_no_bounded_json(chgnet, tmp_path, refused, text):
    header, tensors = header_of(chgnet)
    header["__metadata__"]["coevo"] = header["__metadata__"]["coevo"].replace(
        '"atom_graph_cutoff":6.0', f'"atom_graph_cutoff":{text}'
    )
    (tmp_path / "x").write_bytes(with_header(header, tensors))
    refused(lambda: force_field_from("chgnet", checkpoint=tmp_path / "x"), "no coevo-chgnet-1 header")


def _tensor(name: str, **change):
    def forge(header: dict, tensors: bytes) -> tuple[dict, bytes]:
        header[name] = {**header.get(name, {}), **change}
        return header, tensors

    return forge


@pytest.mark.parametrize(
    ("forge", "message"),
    [
        (lambda header, tensors: (DEEP, tensors), "is not a readable safetensors file"),
        (lambda header, tensors: (b'{"a":' * 50_000, tensors), "is not a readable safetensors file"),
        (lambda header, tensors: (b"[]", tensors), "is not a readable safetensors file"),
        (lambda header, tensors: ({k: v for k, v in header.items() if k != "__metadata__"}, tensors), "no coevo-chgnet-1 header"),
        (lambda header, tensors: (header | {"__metadata__": "x"}, tensors), "no coevo-chgnet-1 header"),
        (lambda header, tensors: (header, tensors[:-4]), "bytes of tensors, expected"),
        (lambda header, tensors: (header, tensors + bytes(4)), "bytes of tensors, expected"),
        (lambda header, tensors: (header, b""), "0 bytes of tensors, expected"),
        (_tensor("site_wise.bias", shape=[10**12]), r"site_wise.bias has shape \(1000000000000,\), expected \(1,\)"),
        (_tensor("site_wise.bias", shape=[1] * 10**4), "site_wise.bias has shape"),
        (_tensor("site_wise.bias", shape="x"), "site_wise.bias has shape"),
        (_tensor("site_wise.bias", shape=7), "does not say shape and type"),
        (_tensor("site_wise.bias", dtype="F64"), "tensors of type F32, F64, expected F32"),
        (_tensor("site_wise.bias", dtype=["F32"]), "does not say shape and type"),
        (_tensor("evil", dtype="F32", shape=[1]), "unknown .'evil'."),
        (_tensor("mlp.layers.9.bias", dtype="F32", shape=[1]), "its readout is not a row"),
        (_tensor("mlp.layers.0.bias", shape=[10**9]), "mlp.layers.0.bias has shape"),
        (_tensor("mlp.layers.00.bias", dtype="F32", shape=[64]), "its readout is not a row"),
        (_tensor("mlp.layers.x.bias", dtype="F32", shape=[64]), "its readout is not a row"),
        (_tensor("mlp.layers.7.bias", shape=[2]), "mlp.layers.7.bias has shape"),
    ],
)
def test_tensors_of_chgnet_that_are_not_those_of_its_architecture(chgnet, tmp_path, refused, forge, message):
    (tmp_path / "x").write_bytes(with_header(*forge(*header_of(chgnet))))
    refused(lambda: force_field_from("chgnet", checkpoint=tmp_path / "x"), message)


@pytest.mark.parametrize("data", [b"", b"\x08", (10**12).to_bytes(8, "little"), (2_000_000).to_bytes(8, "little") + bytes(10)])
def test_headers_of_chgnet_that_are_none(tmp_path, refused, data):
    (tmp_path / "x").write_bytes(data)
    refused(lambda: force_field_from("chgnet", checkpoint=tmp_path / "x"), "is not a readable safetensors file")


def test_a_file_of_gigabytes_is_not_read(chgnet, tmp_path, refused):
    with (tmp_path / "x").open("wb") as file:
        file.write(chgnet)
        file.truncate(50_000_000_000)  # a hole, which takes no room
    refused(lambda: force_field_from("chgnet", checkpoint=tmp_path / "x"), "bytes of tensors, expected")


# --- the embedded generator


def learned() -> dict:
    lattice = [[4.0, 0.0, 0.0], [0.0, 4.0, 0.0], [0.0, 0.0, 4.0]]
    bins = [1] + [0] * 8
    pair = {"formula": "P1S1", "species": ["P", "S"], "coordinates": [[0, 0, -1], [0, 0, 1]], "bins": bins, "source": "x"}
    return {
        **json.loads(EmbeddedGenerator.initial(GeneratorConfig()).knowledge.to_bytes()),
        "examples": 1,
        "compositions": {"Li1 S1": {"amounts": {"Li": 1, "S": 1}, "bins": bins, "cells": {"1": 1}, "volume": 20.0}},
        "space_groups": {"225": bins},
        "occupations": [{"space_group": 225, "sites": {"Li": ["4a"], "S": ["4b"]}, "bins": bins}],
        "volumes": {"Li": 20.0, "S": 20.0},
        "distances": {"Li-S": 2.4},
        "units": [pair],
        "parents": [
            {
                "id": "x",
                "energy_above_hull": 0.0,
                "space_group": 225,
                "lattice": lattice,
                "species": ["Li", "S"],
                "coordinates": [[0.0, 0.0, 0.0], [0.5, 0.5, 0.5]],
            }
        ],
    }


def put(document: dict, path: str, value) -> dict:
    *parts, last = path.split("/")
    place = document
    for part in parts:
        place = place[int(part) if isinstance(place, list) else part]
    place[int(last) if isinstance(place, list) else last] = value
    return document


def test_what_is_learned_loads(tmp_path):
    (tmp_path / "x").write_text(json.dumps(learned()))
    assert generator_from("embedded", tmp_path / "x").knowledge.examples == 1


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("examples", 10**12),
        ("examples", -1),
        ("compositions/Li1 S1/amounts", {}),
        ("compositions/Li1 S1/amounts/Li", 10**9),
        ("compositions/Li1 S1/amounts/Li", 0),
        ("compositions/Li1 S1/amounts/Xx", 1),
        ("compositions/Li1 S1/bins", [1]),
        ("compositions/Li1 S1/bins", [1] * 100_000),
        ("compositions/Li1 S1/bins/0", 10**18),
        ("compositions/Li1 S1/cells", {str(10**9): 1}),
        ("compositions/Li1 S1/volume", 1e300),
        ("compositions/Li1 S1/volume", 0),
        ("space_groups", {"231": [0] * 9}),
        ("occupations/0/sites/Li/0", "x" * 1000),
        ("occupations/0/space_group", 0),
        ("volumes/Li", 1e300),
        ("volumes/Li", -1.0),
        ("volume_spread", 1e300),
        ("distances/Li-S", -1.0),
        ("distances/" + "x" * 1000, 1.0),
        ("units/0/species", ["P"] * 1000),
        ("units/0/species", ["P"]),
        ("units/0/coordinates/0/0", 1e300),
        ("parents/0/lattice", [[0.0] * 3] * 3),
        ("parents/0/lattice/0/0", 1e200),
        ("parents/0/coordinates", []),
        ("parents/0/species", ["Li"] * 10_000),
        ("parents/0/energy_above_hull", 1e300),
        ("settings/candidates", 10**12),
        ("settings/max_atoms", 10**6),
        ("unknown", 1),
    ],
)
def test_knowledge_of_the_embedded_generator_that_is_absurd(tmp_path, refused, path, value):
    (tmp_path / "x").write_text(json.dumps(put(learned(), path, value)))
    refused(lambda: generator_from("embedded", tmp_path / "x"), "damaged or written by another version")


@pytest.mark.parametrize(
    "data",
    [
        DEEP,
        b'{"a":' * 100_000,
        b'{"kind":"coevo-embedded-generator","examples":NaN}',
        b'{"kind":"coevo-embedded-generator","examples":1e999}',
        b'{"kind":"coevo-embedded-generator","examples":' + b"9" * 100_000 + b"}",
        b'{"kind":' + b'{"kind":' * 20 + b"1" + b"}" * 21,
        b"\xff\xfe",
        b"",
        b"\x80\x04K\x01.",
    ],
)
def test_knowledge_that_is_no_bounded_json(tmp_path, refused, data):
    (tmp_path / "x").write_bytes(data)
    refused(lambda: generator_from("embedded", tmp_path / "x"), "not complete JSON")


def test_knowledge_of_gigabytes_is_not_read(tmp_path, refused):
    with (tmp_path / "x").open("wb") as file:
        file.truncate(50_000_000_000)
    refused(lambda: generator_from("embedded", tmp_path / "x"), "more than 20000000 bytes")


# --- model archives


def member(name: str, data: bytes, **change) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for key, value in change.items():
        setattr(info, key, value)
    return info, data


def archive(path: Path, *members: tuple[tarfile.TarInfo, bytes], form: int = tarfile.USTAR_FORMAT) -> Path:
    with tarfile.open(path, "w", format=form) as tar:
        for info, data in members:
            tar.addfile(info, io.BytesIO(data))
    return path


def manifest(**change) -> tuple[tarfile.TarInfo, bytes]:
    text = {"kind": "coevo-external-model", "version": 1, "family": "f", "document": {}, "files": {}} | change
    return member("manifest.json", json.dumps(text, sort_keys=True, separators=(",", ":")).encode())


FILE = {"sha256": "0" * 64, "size": 3}


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([manifest(files={"a": {**FILE, "size": 10**15}}), member("model/a", b"abc")], "cut short or changed"),
        ([manifest(files={"a": {**FILE, "size": -3}}), member("model/a", b"abc")], "is not one of"),
        ([manifest(files={"a": {**FILE, "size": 10**30}})], "its manifest cannot be read"),
        ([manifest(files={f"{n}": FILE for n in range(5000)})], "is not one of"),
        ([manifest(files={"x" * 300: FILE}), member("model/x", b"abc")], "is not one of"),
        ([manifest(files={"a\x1b[2J": FILE}), member("model/a", b"abc")], "is not one of"),
        ([manifest(files={"../a": FILE}), member("model/../a", b"abc")], "is not one of"),
        (
            [manifest(files={"a": FILE}), member("model/a", b"abc", type=tarfile.SYMTYPE, linkname="/etc")],
            "does not list there|cut",
        ),
        ([manifest(files={"a": FILE}), member("model/a", b"abc", type=tarfile.CONTTYPE)], "does not list there"),
        ([manifest(files={"a": FILE, "b": FILE}), member("model/a", b"abc")], "cut short or changed|damaged|is missing"),
        ([manifest(document=[])], "is not one of"),
        ([manifest(family="g")], "is of family 'g', expected 'f'"),
        ([manifest(family="g" * 10_000)], "is of family"),
        ([member("manifest.json", DEEP)], "its manifest cannot be read"),
        ([member("manifest.json", b'{"a":NaN}')], "its manifest cannot be read"),
        ([member("manifest.json", b"x" * 5_000_000)], "not a model archive"),
        ([member("{}", b""), manifest()], "not a model archive"),
        ([], "not a model archive"),
    ],
)
def test_archives_that_lie(tmp_path, refused, members, message):
    path = archive(tmp_path / "x", *members)
    target = tmp_path / "model"
    target.mkdir()
    refused(lambda: unpack(path, target, "f"), message)
    assert sum(p.stat().st_size for p in target.rglob("*") if p.is_file()) < 100
    assert {p.name for p in tmp_path.iterdir()} == {"x", "model"}


def test_a_sparse_member_does_not_grow(tmp_path, refused):
    """A header of GNU's kind that declares a terabyte of zeros behind one block of data."""
    header = bytearray(tarfile.TarInfo("model/a").tobuf(tarfile.GNU_FORMAT))
    header[124:136] = b"%011o\0" % 512
    header[156:157] = tarfile.GNUTYPE_SPARSE
    header[386:410] = b"%011o\0%011o\0" % (0, 512)
    header[483:495] = b"\x80" + (10**12).to_bytes(11, "big")
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    first = manifest(files={"a": {**FILE, "size": 10**12}})
    path = archive(tmp_path / "x", first)
    data = path.read_bytes()[: 512 * 2] + bytes(header) + bytes(512)
    path.write_bytes(data + bytes(-len(data) % tarfile.RECORDSIZE))
    target = tmp_path / "model"
    target.mkdir()
    refused(lambda: unpack(path, target, "f"), "cut short or changed")
    assert list(target.iterdir()) == []


def test_an_archive_behind_another_header_is_none(tmp_path, refused):
    (tmp_path / "a").write_bytes(b"abc")
    pack(tmp_path / "good", "f", {}, {"a": tmp_path / "a"})
    (tmp_path / "x").write_bytes(disguised_as_json((tmp_path / "good").read_bytes()))
    for name, message in (("good", ""), ("x", "not a model archive")):
        target = tmp_path / f"{name}-model"
        target.mkdir()
        if message:
            refused(lambda target=target: unpack(tmp_path / "x", target, "f"), message)
        else:
            assert list(unpack(tmp_path / name, target, "f").files) == ["a"]


def test_what_could_not_be_read_again_is_not_written(tmp_path):
    deep: dict = {}
    for _ in range(100):
        deep = {"a": deep}
    for document, message in ((deep, "nested"), ({"a": 10**30}, "beyond 64 bits"), ({"a": "x" * 5_000_000}, "bytes, allowed")):
        with pytest.raises(ModelError, match=message):
            pack(tmp_path / "x", "f", document, {})
    assert list(tmp_path.iterdir()) == []


def test_an_archive_of_another_package(tmp_path, monkeypatch, refused):
    for path in install_example(tmp_path):
        monkeypatch.syspath_prepend(path)
    (tmp_path / "x").write_bytes(b"\x80\x04K\x01.")
    refused(lambda: generator_from("random-cells", tmp_path / "x", trusted=True), "not a model archive")
