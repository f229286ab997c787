"""Checkouts named or cloned by ``coevo env create``: looked at first, recorded when all is well, and nothing before."""

from __future__ import annotations

import secrets
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from coevo.errors import ConfigError
from coevo.models.external.checkouts import RECORDED, Place, has_consent, places_of, record, takes_any_commit, verify
from coevo.models.external.environment import file_of
from coevo.models.external.repositories import clone_at
from coevo.settings import read_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from coevo.families import Checkout
    from coevo.models.external.checkouts import VerifiedCheckout
    from coevo.models.external.families import ExternalFamily

    Agree = Callable[[Checkout], bool]


def named_paths(family: ExternalFamily, given: Sequence[str]) -> dict[str, Path]:
    """Read ``PATH`` or ``NAME=PATH`` for the checkouts of a family.

    Raises
    ------
    ConfigError
        If the family runs from no checkout, it is not said for which of several a path is, or one is named twice.
    """
    names = [checkout.name for checkout in family.checkouts]
    if given and not names:
        raise ConfigError(f"--checkout: got {given[0]!r}, and {family.name} runs from no checkout; leave the option away")
    paths: dict[str, Path] = {}
    for text in given:
        name, equals, path = text.partition("=")
        if not equals or name not in names:
            if len(names) > 1:
                raise ConfigError(f"--checkout: got {text!r}, allowed: NAME=PATH, NAME one of {', '.join(names)}")
            name, path = names[0], text
        if name in paths or not path:
            raise ConfigError(f"--checkout: got {text!r}, allowed: one path for {name}")
        paths[name] = Path(path).expanduser().absolute()
    return paths


def obtain_checkouts(
    family: ExternalFamily,
    paths: Mapping[str, Path],
    *,
    clone: bool,
    any_commit: bool,
    agree: Agree,
    today: str,
    say: Callable[[str], None] = lambda _line: None,
) -> list[VerifiedCheckout]:
    """Look at the checkouts of a family, ask for consent, clone what is to be cloned, and record it.

    Parameters
    ----------
    family : ExternalFamily
    paths : mapping
        Name to directory, of those that the user names.
    clone : bool
        Whether to clone those that are named nowhere, or that are not what was tested, into the directory of environments.
    any_commit : bool
        Whether those that the user names may be at other commits, changed, or without git.
    agree : callable
        Asked about a checkout whose licence wants consent, once; says whether the user agrees.
    today : str
        ISO date of a consent.
    say : callable
        Told what happens.

    Returns
    -------
    list of VerifiedCheckout
        Those that are here; the others are not named yet.

    Raises
    ------
    ConfigError
        If one is not what was tested, cannot be cloned, or its licence is not agreed to; then nothing is recorded.
    """
    found, lacking = {}, []
    for place in places_of(family):
        checkout = place.checkout
        say(f"{family.name} runs from a checkout of {checkout.name}: {checkout.repository}, licence {checkout.licence}")
        for package, stand_in in checkout.missing.items():
            say(f"    in place of {package}: {stand_in}")
        if checkout.name in paths:
            found[checkout.name] = verify(family, _named(family, place, paths[checkout.name], any_commit))
        elif place.path is not None and not clone:
            found[checkout.name] = verify(family, place)
        elif place.path is not None and (here := _verified_or_none(family, place)) is not None:
            found[checkout.name] = here
        else:
            lacking.append(place)
    consents = _consents(family, agree, today)
    cloned = [_cloned(family, place, say) for place in lacking] if clone else []
    given = {name: {"path": str(path), "any_commit": any_commit} for name, path in paths.items()}
    given |= {one.name: {"path": str(one.path), "any_commit": False} for one in cloned}
    if given or consents:
        record(family, given, consents)
    for name, consent in consents.items():
        say(f"recorded that you agree to the licence of {name}, {consent['licence']}")
    everything = [*found.values(), *cloned]
    for one in everything:
        say(f"checkout {one}")
    return everything


def _named(family: ExternalFamily, place: Place, path: Path, any_commit: bool) -> Place:
    """The place that the user gives now; FAMILY.yaml would win over it."""
    file = str(file_of(family.name))
    if place.said_by == file:
        if place.path != path or any_commit > place.any_commit:
            raise ConfigError(
                f"--checkout: got {path}, and {file} names {place.path} for {place.checkout.name}, which wins; change it there "
                "(checkouts, any_commit)"
            )
        return place
    return replace(place, path=path, said_by="--checkout", any_commit=any_commit or takes_any_commit(family))


def _verified_or_none(family: ExternalFamily, place: Place) -> VerifiedCheckout | None:
    if place.said_by == str(file_of(family.name)):  # a clone would not be used
        return verify(family, place)
    try:
        return verify(family, place)
    except ConfigError:
        return None


def _consents(family: ExternalFamily, agree: Agree, today: str) -> dict[str, dict[str, str]]:
    consents = {}
    for checkout in family.checkouts:
        if has_consent(family, checkout):
            continue
        if not agree(checkout):
            raise ConfigError(
                f"nothing was made: {family.name} runs from {checkout.name}, whose licence, {checkout.licence}, was not agreed "
                "to (--accept-licence in a script)"
            )
        consents[checkout.name] = {"licence": checkout.licence, "date": today}
    return consents


def _cloned(family: ExternalFamily, place: Place, say: Callable[[str], None]) -> VerifiedCheckout:
    """Clone beside the place where it will be, and put it there when it is whole."""
    checkout = place.checkout
    target = read_settings().environments_directory / "checkouts" / checkout.name
    there = replace(place, path=target, said_by=RECORDED, any_commit=False)
    if target.exists():
        try:
            return verify(family, there)
        except ConfigError as err:
            raise ConfigError(f"--clone: {target} is there already; move it away, or mend it: {err}") from None
    say(f"-- git fetch --depth 1 {checkout.repository} {checkout.commits[0]}")
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{checkout.name}-{secrets.token_hex(8)}")
    partial.mkdir()  # with the permissions that the user's umask gives, unlike a temporary directory
    try:
        try:
            clone_at(checkout.repository, checkout.commits[0], partial)
        except ConfigError as err:
            raise ConfigError(
                f"--clone: {checkout.name} cannot be fetched from {checkout.repository}: {str(err).replace(f'{partial}: ', '')}; "
                f"without a way there, clone it elsewhere and give it with --checkout"
            ) from None
        verify(family, replace(there, path=partial))
        try:
            partial.rename(target)
        except OSError as err:
            if not target.exists():
                raise ConfigError(f"--clone: {target} cannot be made: {err}") from None
            # another process cloned it meanwhile; it is looked at below
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return verify(family, there)
