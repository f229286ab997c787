"""Where the checkouts are that a family runs from, and whether they are what was tested: asked before every run.

Where one is, says ``FAMILY.yaml``, else what ``coevo env create`` recorded, else the directory ``COEVO_CHECKOUTS``. The record
lies beside ``FAMILY.yaml`` and outlives the environment; it holds the user's consent to a licence as well, with its date.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coevo.configs.model_environments import ModelEnvironment, read_environment_file
from coevo.errors import ConfigError
from coevo.models.external.environment import file_of
from coevo.models.external.repositories import RepositoryState, state_of
from coevo.settings import Settings, read_settings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from coevo.families import Checkout
    from coevo.models.external.environment import Environment
    from coevo.models.external.families import ExternalFamily

RECORDED = "coevo env create"
"""Who names a checkout that is in the record."""


@dataclass(frozen=True)
class Place:
    """Where a checkout is said to be.

    Attributes
    ----------
    checkout : Checkout
    path : Path or None
        Absolute; None if nothing says it.
    said_by : str
        A file, or ``COEVO_CHECKOUTS``.
    any_commit : bool
        Whether the user takes other commits, changes and directories without git.
    """

    checkout: Checkout
    path: Path | None
    said_by: str = ""
    any_commit: bool = False


@dataclass(frozen=True)
class VerifiedCheckout:
    """A checkout that was looked at.

    Attributes
    ----------
    name : str
    path : Path
        Absolute, without symbolic links.
    commit : str
        For provenance: 40 hexadecimal digits, with ``, changed`` where the user takes changes; ``no commit`` where there
        is no repository, or no git to ask.
    tested : bool
        Whether that is a commit that the runner was tested with.
    """

    name: str
    path: Path
    commit: str
    tested: bool

    def __str__(self) -> str:
        return f"{self.name} {self.commit}{'' if self.tested else ' (untested)'}: {self.path}"


def record_of(family: str, settings: Settings | None = None) -> Path:
    """The file in which ``coevo env create`` records checkouts and consents of a family."""
    return (settings or read_settings()).environments_directory / f"{family}.checkouts.json"


def places_of(family: ExternalFamily, settings: Settings | None = None) -> list[Place]:
    """Say where the checkouts of a family are said to be; looks at none of them.

    Raises
    ------
    ConfigError
        If ``FAMILY.yaml`` is not valid or names a checkout that the family does not have.
    """
    settings = settings or read_settings()
    file, described = file_of(family.name, settings), _described(family, settings)
    recorded = _recorded(family.name, settings)["checkouts"]
    return [_place(checkout, file, described, recorded, settings) for checkout in family.checkouts]


def _place(checkout: Checkout, file: Path, described: ModelEnvironment, recorded: Mapping[str, Any], settings: Settings) -> Place:
    if checkout.name in described.checkouts:
        return Place(checkout, Path(described.checkouts[checkout.name]).expanduser(), str(file), described.any_commit)
    found = recorded.get(checkout.name)
    if isinstance(found, dict) and isinstance(found.get("path"), str):
        any_commit = described.any_commit or found.get("any_commit") is True
        return Place(checkout, Path(found["path"]), RECORDED, any_commit)
    if settings.checkouts:
        path = Path(settings.checkouts).expanduser().absolute() / checkout.name
        if path.exists():
            return Place(checkout, path, "COEVO_CHECKOUTS", described.any_commit)
    return Place(checkout, None, any_commit=described.any_commit)


def verified_checkouts(family: ExternalFamily, settings: Settings | None = None) -> tuple[VerifiedCheckout, ...]:
    """Look at all checkouts of a family, as before every run; none for a family that needs none.

    Raises
    ------
    ConfigError
        If one is absent, of another repository, at a commit that was not tested, or changed, or if its licence was not agreed to.
    """
    if not family.checkouts:
        return ()
    settings = settings or read_settings()
    for checkout in family.checkouts:
        require_consent(family, checkout, settings)
    return tuple(verify(family, place) for place in places_of(family, settings))


def variables_of(environment: Environment, checkouts: Sequence[VerifiedCheckout]) -> dict[str, str]:
    """Variables of a run; Python writes no compiled files beside the modules of a checkout, which stays as it is."""
    return environment.variables() | ({"PYTHONDONTWRITEBYTECODE": "1"} if checkouts else {})


def verify(family: ExternalFamily, place: Place) -> VerifiedCheckout:
    """Look at one checkout.

    Raises
    ------
    ConfigError
        If it is absent, of another repository, at a commit that was not tested, or changed.
    """
    checkout, path = place.checkout, place.path
    what = f"family {family.name}: checkout of {checkout.name}"
    if path is None:
        raise ConfigError(
            f"{what}: got none, allowed: one of {checkout.repository} ({checkout.licence}) at commit {checkout.commits[0]}; name "
            f"it with `coevo env create {family.name} --checkout PATH`, fetch it with --clone, or set COEVO_CHECKOUTS to a "
            f"directory with {checkout.name} in it"
        )
    said = f" (named by {place.said_by})" if place.said_by else ""
    if not (path / checkout.marker).is_file():
        reason = f"which has no file {checkout.marker}" if path.is_dir() else "which is no directory"
        raise ConfigError(f"{what}: got {path}{said}, {reason}, allowed: a checkout of {checkout.repository}")
    path = path.resolve()
    if place.any_commit:
        return _untested(checkout, path)
    state = state_of(path, checkout.unread)
    allowed = " or ".join(checkout.commits)
    unless = "; --any-commit of `coevo env create` takes what nobody tested"
    if state.commit is None:
        raise ConfigError(
            f"{what}: got {path}{said}, which is no git repository with a commit, so that nobody knows what it is, allowed: a "
            f"clone at commit {allowed}{unless}"
        )
    if state.commit not in checkout.commits:
        raise ConfigError(
            f"{what}: got {path}{said} at commit {state.commit}, allowed: {allowed}; do `git -C {path} checkout "
            f"{checkout.commits[0]}`, or name another clone{unless}"
        )
    if state.changes:
        raise ConfigError(
            f"{what}: got {path}{said} with changes ({state.told_changes()}), allowed: what commit {state.commit} has; put them "
            f"back (`git -C {path} status --ignored` lists them), or name another clone{unless}"
        )
    return VerifiedCheckout(checkout.name, path, state.commit, tested=True)


def _untested(checkout: Checkout, path: Path) -> VerifiedCheckout:
    """Describe what the user takes as it is; where there is no git, nobody says at what commit it is."""
    state = state_of(path, checkout.unread) if shutil.which("git") else RepositoryState(None)
    if state.commit is None:
        return VerifiedCheckout(checkout.name, path, "no commit", tested=False)
    changed = ", changed" if state.changes else ""
    return VerifiedCheckout(checkout.name, path, state.commit + changed, tested=state.commit in checkout.commits and not changed)


def takes_any_commit(family: ExternalFamily) -> bool:
    """Whether ``FAMILY.yaml`` says ``any_commit: true``, of all checkouts of the family.

    Raises
    ------
    ConfigError
        If it is not valid.
    """
    return _described(family, read_settings()).any_commit


def has_consent(family: ExternalFamily, checkout: Checkout, settings: Settings | None = None) -> bool:
    """Whether the licence of a checkout needs no consent, or the user has agreed to just this one.

    Raises
    ------
    ConfigError
        If ``FAMILY.yaml`` is not valid.
    """
    if not checkout.consent:
        return True
    settings = settings or read_settings()
    recorded = _recorded(family.name, settings)["consents"].get(checkout.name)
    agreed = recorded.get("licence") if isinstance(recorded, dict) else None
    return checkout.licence in {agreed, _described(family, settings).consents.get(checkout.name)}


def require_consent(family: ExternalFamily, checkout: Checkout, settings: Settings | None = None) -> None:
    """Refuse a checkout whose licence the user has not agreed to.

    Raises
    ------
    ConfigError
        Saying how to agree; also if ``FAMILY.yaml`` is not valid.
    """
    settings = settings or read_settings()
    if not has_consent(family, checkout, settings):
        raise ConfigError(
            f"family {family.name} runs from {checkout.name} ({checkout.repository}), whose licence, {checkout.licence}, was "
            f"not agreed to here: `coevo env create {family.name}` asks for it, or say consents: "
            f"{{{checkout.name}: {checkout.licence}}} in {file_of(family.name, settings)}"
        )


def record(
    family: ExternalFamily,
    checkouts: Mapping[str, Mapping[str, Any]] | None = None,
    consents: Mapping[str, Mapping[str, Any]] | None = None,
) -> Path:
    """Add checkouts and consents to the record of a family, at once or not at all.

    Parameters
    ----------
    family : ExternalFamily
    checkouts : mapping
        Name to ``path`` and ``any_commit``.
    consents : mapping
        Name to ``licence`` and ``date``.
    """
    path, known = record_of(family.name), _recorded(family.name)
    document = {"checkouts": {**known["checkouts"], **(checkouts or {})}, "consents": {**known["consents"], **(consents or {})}}
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(json.dumps(document, sort_keys=True, indent=2) + "\n", encoding="utf-8")
    partial.replace(path)
    return path


def _described(family: ExternalFamily, settings: Settings) -> ModelEnvironment:
    file = file_of(family.name, settings)
    described = read_environment_file(file) if file.exists() else ModelEnvironment()
    names = [checkout.name for checkout in family.checkouts]
    for key, given in (("checkouts", described.checkouts), ("consents", described.consents)):
        for name in given:
            if name not in names:
                raise ConfigError(
                    f"{file}: {key}: got {name!r}, allowed: {', '.join(names) or 'none, as it runs from no checkout'}"
                )
    return described


def _recorded(family: str, settings: Settings | None = None) -> dict[str, dict[str, Any]]:
    try:
        document = json.loads(record_of(family, settings).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        document = {}
    known = document if isinstance(document, dict) else {}
    return {key: value if isinstance(value := known.get(key), dict) else {} for key in ("checkouts", "consents")}
