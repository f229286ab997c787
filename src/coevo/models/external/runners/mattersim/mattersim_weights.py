"""Published weights of MatterSim: where they are on this machine, and how they come here."""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from pathlib import Path

from coevo_runner import TaskError
from mattersim.utils.download_utils import download_checkpoint

PUBLISHED: dict[str, tuple[str, str]] = {
    "mattersim-v1.0.0-1M": ("pbe", "812737ca1933fb8860195a5376986fb82f697212"),
    "mattersim-v1.0.0-5M": ("pbe", "7641430c8b1a4877eaed73c11920c6ad7f3846d6"),
}
"""Weights by name: the scale of their energies, and the name of their file's content in MatterSim's git repository."""


def places() -> list[Path]:
    """Directories in which weights are looked for: that of MatterSim itself, and one that belongs to the environment."""
    own = Path(os.path.expanduser("~/.local/mattersim/pretrained_models"))  # noqa: PTH111 - Path's raises where there is no home
    environment = Path(sys.prefix) / "share" / "mattersim"
    return [own, environment] if own.is_absolute() else [environment]


def place_of(name: str) -> str | None:
    """Where published weights are on this machine; downloads nothing."""
    found = (place / f"{name}.pth" for place in places())
    return next((str(path) for path in found if path.is_file()), None)


def published(name: str) -> str:
    """Path of published weights, which are fetched if they are not here.

    Raises
    ------
    TaskError
        If they cannot be fetched, or the file is not the one that was published.
    """
    place = place_of(name) or fetched(name)
    found, expected = git_name(Path(place)), PUBLISHED[name][1]
    if found != expected:
        raise TaskError(
            "no_weights",
            f"{place} is not the file that was published as {name} (git calls its content {found}, expected {expected}); "
            "move it away",
        )
    return place


def fetched(name: str) -> str:
    """Fetch weights into the first of the places that can be written, whole or not at all: several workers may come at once."""
    reasons = []
    for place in places():
        try:
            place.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".coevo-", dir=place) as directory:
                download_checkpoint(f"{name}.pth", save_folder=directory)
                file = Path(directory) / f"{name}.pth"
                if git_name(file) != PUBLISHED[name][1]:
                    raise OSError("what came is not the file that was published")
                file.replace(place / f"{name}.pth")
        except OSError as err:  # that of a directory or of requests, whose errors are OSErrors
            reasons.append(f"{place}: {type(err).__name__}: {str(err)[:200]}")
        else:
            return str(place / f"{name}.pth")
    where = " or ".join(str(place) for place in places())
    raise TaskError(
        "no_weights",
        f"weights {name} are not here and cannot be fetched ({'; '.join(reasons)}); copy {name}.pth of MatterSim's repository "
        f"(pretrained_models) to {where}",
    )


def git_name(path: Path) -> str:
    """The name that git gives to the content of a file."""
    data = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
