"""What the environment of a family has: Python, packages, device and weights, as its own runner finds them."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from coevo.errors import ConfigError, ModelError
from coevo.models.external.checkouts import places_of, require_consent, verify
from coevo.models.external.environment import directory_of, environment_of, file_of, has_own, mark_of
from coevo.models.external.exchange import run_task

if TYPE_CHECKING:
    from coevo.models.external.families import ExternalFamily

_STAND_INS = 100
_TEXT = 300
"""Characters of a name or text of a runner that are shown."""


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
    stand_ins : dict
        Package that the family imports and that is not here, to what the runner put in its place.
    checkouts : dict
        Name to path and commit of what the family ran from.
    """

    versions: dict[str, str]
    device: str
    weights: dict[str, str | None]
    stand_ins: dict[str, str] = field(default_factory=dict)
    checkouts: dict[str, str] = field(default_factory=dict)

    @property
    def broken(self) -> list[str]:
        """Packages that cannot be imported."""
        return [name for name, version in self.versions.items() if version.startswith("!")]


def examine_environment(family: ExternalFamily) -> Examination:
    """Run the family's ``check``.

    Raises
    ------
    ConfigError
        If the family has no environment, or a checkout of it is absent or not what was tested.
    ModelError
        If it cannot be run, or answers something else.
    """
    with run_task(family, "check", {}) as run:
        versions, device, weights = (run.output.get(key) for key in ("versions", "device", "weights"))
        if not _texts(versions) or not isinstance(device, str) or not _texts(weights, or_none=True):
            raise ModelError("the answer to check has no versions, device and weights")
        stand_ins = run.output.get("stand_ins", {})
        if not _texts(stand_ins) or len(stand_ins) > _STAND_INS:
            raise ModelError(f"the answer to check: stand_ins: allowed: at most {_STAND_INS} texts by name")
        checkouts = {one.name: f"{one.path} at {one.commit}{'' if one.tested else ' (untested)'}" for one in run.checkouts}
    assert isinstance(versions, dict)
    assert isinstance(weights, dict)
    shown = {name[:_TEXT]: text[:_TEXT] for name, text in stand_ins.items()}
    return Examination(versions, device, weights, shown, checkouts)


def _texts(value: Any, *, or_none: bool = False) -> bool:
    return isinstance(value, dict) and all(isinstance(v, str) or (or_none and v is None) for v in value.values())


def condition_of(family: ExternalFamily) -> tuple[str, str]:
    """Say in two texts whether a family has an environment and where, without running anything.

    Returns
    -------
    str, str
        ``ready``, ``described``, ``own`` (coevo's own interpreter has its pins), ``no checkout`` (otherwise ready),
        ``outdated``, ``unfinished`` or ``none``; and the command line, file or directory.

    Raises
    ------
    ConfigError
        If its file is not valid.
    """
    condition, where = _condition_of_python(family)
    if condition in {"ready", "described", "own"} and any(found.problem for found in looked_at(family)):
        return "no checkout", where
    return condition, where


@dataclass(frozen=True)
class FoundCheckout:
    """What is known of a checkout without running anything of it.

    Attributes
    ----------
    name : str
    repository : str
    licence : str
    path : str
        Empty if none is named.
    named_by : str
        A file, ``coevo env create`` or ``COEVO_CHECKOUTS``.
    commit : str
    problem : str
        Why it is not used; empty if it is.
    """

    name: str
    repository: str
    licence: str
    path: str
    named_by: str
    commit: str
    problem: str


def looked_at(family: ExternalFamily) -> list[FoundCheckout]:
    """Look for the checkouts of a family, as before a run, and at each; git is asked for their commits.

    Raises
    ------
    ConfigError
        If the family's file is not valid.
    """
    found = []
    for place in places_of(family):
        checkout, commit, problem = place.checkout, "", ""
        try:
            commit = verify(family, place).commit
            require_consent(family, checkout)
        except ConfigError as err:
            problem = str(err)
        path = "" if place.path is None else str(place.path)
        named = (path, place.said_by, commit, problem)
        found.append(FoundCheckout(checkout.name, checkout.repository, checkout.licence, *named))
    return found


def _condition_of_python(family: ExternalFamily) -> tuple[str, str]:
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
