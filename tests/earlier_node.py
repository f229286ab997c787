"""The node of an earlier version (tests/earlier_version), laid where a test wants it."""

from __future__ import annotations

import hashlib
import shutil
import tarfile
import tempfile
from functools import lru_cache
from pathlib import Path

from tiny_node import Coevo

FILES = Path(__file__).parent / "earlier_version"
THIN_BUNDLE = FILES / "thin-bundle.zip"
"""Without checkpoints."""

STATES = [
    "3ba8d5ebcc7d4a414e548fbb8e26e1ccb33312771798e2b566459cffecfdf5af",
    "142b699cf91c9dc4d40f6499c7ed02e448ce2eb8345ea23c284a2e1f8b27f4b6",
    "6c12f1d8c468055254897bb55da25cfc27343b5437e219ce39a12d5c5a246762",
    "13fd2fb63b66379f19d1c2faee8d84a41f9beff604223c118a477624e323e650",
    "e6979ade313fca96799da4a93a724cbac9de7a698f90cf91e5e176afc5cba7db",
]
"""All its states: references, a transition, labels added, the transition of branch ``try``, and the merge, the head of main."""

WEIGHTS = "d85e7bfefc863d23b408f9bdc3c8fda3f54e21ee82f3db18051ac675d42a5ff3"
"""The force field of all of them: CHGNet's published weights 0.3.0."""


@lru_cache(maxsize=1)
def weights() -> bytes:
    """The bytes of the published weights, which the files leave out."""
    from coevo.models.chgnet.force_field import ChgnetForceField

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "weights"
        ChgnetForceField.published("0.3.0").save(path)
        data = path.read_bytes()
    assert hashlib.sha256(data).hexdigest() == WEIGHTS
    return data


def write_bundle(path: Path) -> Path:
    """Write the bundle with checkpoints, byte for byte as it was exported."""
    rest, place = (FILES / "bundle-without-weights.bin").read_bytes(), 184_572
    data = rest[:place] + weights() + rest[place:]
    assert hashlib.sha256(data).hexdigest() == "3e41514dedb94d13bb503e1d5197775768d4cbd239f870d7783ee3397222fd4a"
    path.write_bytes(data)
    return path


def earlier_node(directory: Path, **environment: str) -> Coevo:
    """A command line on the node as its user had it, in a directory that does not exist or is empty."""
    directory.mkdir(parents=True, exist_ok=True)
    with tarfile.open(FILES / "node.tar.xz") as archive:
        archive.extractall(directory, filter="data")
    (directory / "coevo-data").rename(directory / "db")
    shutil.copy(FILES / "mine.extxyz", directory)
    blob = directory / "db" / "blobs" / WEIGHTS[:2] / WEIGHTS[2:]
    blob.parent.mkdir(exist_ok=True)
    blob.write_bytes(weights())
    return Coevo(directory, **environment)
