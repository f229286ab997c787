"""What the environment of a family has: Python, packages, device and weights, as its own runner finds them."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from coevo.errors import ModelError
from coevo.models.external.environment import directory_of, environment_of, file_of, has_own, mark_of
from coevo.models.external.exchange import run_task

if TYPE_CHECKING:
    from coevo.models.external.families import ExternalFamily


@dataclass(frozen=True)
class Examination:
    """What ``check`` found.

    Attributes
    ----------
    versions : dict
        Package to version; the text of an error, after ``!``, where it cannot be imported.
    device : str
        Such as ``cpu`` or ``cuda: NVIDIA A100``.
    weights : dict
        Name of published weights to where they were found; None if they are not here.
    """

    versions: dict[str, str]
    device: str
    weights: dict[str, str | None]

    @property
    def broken(self) -> list[str]:
        """Packages that cannot be imported."""
        return [name for name, version in self.versions.items() if version.startswith("!")]


def examine_environment(family: ExternalFamily) -> Examination:
    """Run the family's ``check``.

    Raises
    ------
    ConfigError
        If the family has no environment.
    ModelError
        If it cannot be run, or answers something else.
    """
    with run_task(family, "check", {}) as run:
        versions, device, weights = (run.output.get(key) for key in ("versions", "device", "weights"))
        if not _texts(versions) or not isinstance(device, str) or not _texts(weights, or_none=True):
            raise ModelError("the answer to check has no versions, device and weights")
    assert isinstance(versions, dict)
    assert isinstance(weights, dict)
    return Examination(versions, device, weights)


def _texts(value: Any, *, or_none: bool = False) -> bool:
    return isinstance(value, dict) and all(isinstance(v, str) or (or_none and v is None) for v in value.values())


def condition_of(family: ExternalFamily) -> tuple[str, str]:
    """Say in two texts whether a family has an environment and where, without running anything.

    Returns
    -------
    str, str
        ``ready``, ``described``, ``own`` (coevo's own interpreter has its pins), ``outdated``, ``unfinished`` or ``none``; and
        the command line, file or directory.

    Raises
    ------
    ConfigError
        If its file is not valid.
    """
    directory, mark = directory_of(family.name), mark_of(directory_of(family.name))
    if mark is None and not file_of(family.name).exists():
        if has_own(family):
            return "own", sys.executable
        return ("unfinished", str(directory)) if directory.exists() else ("none", f"coevo env create {family.name}")
    environment = environment_of(family)
    if environment.kind == "file":
        return "described", " ".join(environment.command())
    assert mark is not None
    return ("ready" if mark.get("requirements") == family.digest() else "outdated"), str(directory)
