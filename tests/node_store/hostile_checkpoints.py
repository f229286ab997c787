"""Checkpoints that run a command when they are loaded without care, and bundles that bring them."""

from __future__ import annotations

import os
import pickle
import tarfile
from pathlib import Path
from typing import Any

from forgeries import Forgery

from coevo.models.external.archive import pack


class _Payload:
    def __init__(self, marker: Path):
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch '{self.marker}'",)


def payload(marker: Path) -> bytes:
    """A pickle that makes a file when it is loaded."""
    return pickle.dumps({"state_dict": _Payload(marker)}, protocol=2)


def archive(family: str, directory: Path, files: dict[str, bytes]) -> bytes:
    """A model archive of a family, as its own code would write it."""
    directory.mkdir(parents=True)
    paths = {}
    for name, data in files.items():
        paths[name] = directory / name
        paths[name].parent.mkdir(parents=True, exist_ok=True)
        paths[name].write_bytes(data)
    pack(directory / "archive", family, {"weights": "folder"}, paths)
    return (directory / "archive").read_bytes()


def model_of_mattergen(directory: Path, marker: Path) -> bytes:
    """A model directory with a payload in its pickle and another in what its configuration constructs."""
    config = f"lightning_module:\n  _target_: os.system\n  _args_: ['touch {marker}']\n".encode()
    return archive("mattergen", directory, {"config.yaml": config, "checkpoints/last.ckpt": payload(marker)})


def disguised_as_json(data: bytes) -> bytes:
    """The archive again, behind an extended header called ``{}``: it begins like JSON, and tar reads it as before."""
    record = b"11 mtime=0\n"
    header = tarfile.TarInfo("{}")
    header.type, header.size = tarfile.XHDTYPE, len(record)
    first = header.tobuf(tarfile.USTAR_FORMAT) + record.ljust(tarfile.BLOCKSIZE, b"\0")
    assert data.endswith(bytes(len(first)))
    return first + data[: -len(first)]


def with_checkpoint(bundle: Path, target: Path, role: str, data: bytes, **declared: Any) -> str:
    """Write a bundle whose newest state has another checkpoint in a role; return the checkpoint's sha256."""
    forgery = Forgery(bundle)
    document = forgery.state()
    old = document["checkpoints"].get(role, {"parent": None, "training_set": None})
    blob = forgery.put_blob(data)
    document["checkpoints"][role] = {**old, "uri": "", **blob, **declared}
    forgery.put_state(document)
    _drop_unneeded(forgery)
    forgery.declare()
    forgery.write(target)
    return blob["sha256"]


def _drop_unneeded(forgery: Forgery) -> None:
    states = b"".join(data for name, data in forgery.members.items() if name.endswith("state.json"))
    manifests = b"".join(
        data for name, data in forgery.members.items() if name.startswith("blobs/") and data.startswith(b'{"labels"')
    )
    for name in [name for name in forgery.members if name.startswith("blobs/")]:
        if name.removeprefix("blobs/").replace("/", "").encode() not in states + manifests:
            del forgery.members[name]
