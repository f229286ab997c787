"""Bundles that a stranger changed: their members, written again with hashes and sizes that fit."""

from __future__ import annotations

import hashlib
import json
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path

import zstandard

from coevo.node_store.bundles.format import BundleLimits
from coevo.node_store.canonical import canonical_json
from coevo.node_store.identity import identity_digest
from coevo.node_store.shards import compress

SMALL = BundleLimits(total=20_000_000)


class Forgery:
    """The members of a bundle, to be changed and written again with hashes and sizes that fit."""

    def __init__(self, path: Path):
        with zipfile.ZipFile(path) as archive:
            self.members = {name: archive.read(name) for name in archive.namelist()[1:]}
            self.contents = json.loads(archive.read("bundle.json"))
        self.extra: list[tuple[zipfile.ZipInfo, bytes]] = []

    @property
    def head(self) -> str:
        return self.contents["states"][-1]

    def lines(self, segment: str, state: str | None = None) -> list[dict]:
        data = self.members[f"states/{state or self.head}/{segment}.jsonl.zst"]
        text = zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True).read()
        return [json.loads(line) for line in text.splitlines()]

    def put_lines(self, segment: str, documents: list[dict] | bytes) -> None:
        text = documents if isinstance(documents, bytes) else b"".join(canonical_json(d) + b"\n" for d in documents)
        self.members[f"states/{self.head}/{segment}.jsonl.zst"] = compress(text) if text else b""

    def state(self) -> dict:
        return json.loads(self.members[f"states/{self.head}/state.json"])

    def put_state(self, document: dict) -> None:
        """Replace the newest state, under the id that its new document has."""
        old, new = self.head, identity_digest(document)
        document["_id"] = new
        renamed = {name.replace(old, new): data for name, data in self.members.items()}
        self.members = {**renamed, f"states/{new}/state.json": canonical_json(document)}
        self.contents["states"][-1] = self.contents["heads"]["main"] = new

    def put_manifest(self, change: Callable[[dict], None]) -> None:
        document = self.state()
        old = document["manifest"]["sha256"]
        manifest = json.loads(self.members.pop(f"blobs/{old[:2]}/{old[2:]}"))
        change(manifest)
        document["manifest"] = self.put_blob(canonical_json(manifest))
        self.put_state(document)

    def put_blob(self, data: bytes) -> dict:
        sha256 = hashlib.sha256(data).hexdigest()
        blobs = {name: data for name, data in self.members.items() if name.startswith("blobs/")}
        blobs[f"blobs/{sha256[:2]}/{sha256[2:]}"] = data
        states = {name: data for name, data in self.members.items() if not name.startswith("blobs/")}
        self.members = {**states, **dict(sorted(blobs.items()))}
        return {"sha256": sha256, "size": len(data)}

    def declared(self, name: str) -> dict:
        return next(member for member in self.contents["members"] if member["name"] == name)

    def declare(self) -> None:
        self.contents["members"] = [
            {
                "name": name,
                "size": len(data),
                "uncompressed": len(decompressed(data)) if name.endswith(".zst") else len(data),
                "sha256": hashlib.sha256(data).hexdigest(),
            }
            for name, data in self.members.items()
        ]

    def write(self, path: Path, contents: bytes | None = None) -> Path:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(zip_entry("bundle.json"), canonical_json(self.contents) if contents is None else contents)
            for name, data in self.members.items():
                archive.writestr(zip_entry(name), data)
            for info, data in self.extra:
                archive.writestr(info, data)
        return path


def decompressed(data: bytes) -> bytes:
    return zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True).read()


def zip_entry(name: str, mode: int = stat.S_IFREG | 0o644) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.create_system = 3
    info.external_attr = mode << 16
    return info
