"""A repository whose checkout a family runs from, because no package index has it: what coevo knows before it looks at one."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from coevo.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class Checkout:
    """A repository that a user checks out; nothing of it comes with coevo, and nothing is written into it.

    Attributes
    ----------
    name : str
        As in requests to the runner, in ``FAMILY.yaml`` and as a folder of ``COEVO_CHECKOUTS``.
    repository : str
        URL that git can clone.
    commits : tuple of str
        Those that the runner was tested with, 40 hexadecimal digits each. The first is the one that is cloned, and the one whose
        digits enter the keys of jobs.
    licence : str
        Of what is in it.
    marker : str
        A file that a checkout of this repository has, by its path within.
    consent : bool
        Whether the licence is one that a user has to agree to before anything of it runs here (non-commercial, academic).
    missing : mapping of str to str
        Packages that it imports and that the environment does not have, and what the runner puts in their place.
    unread : tuple of str
        Folders of data and pictures that the runner reads nothing of: they may be absent or changed.

    Raises
    ------
    ConfigError
        If a name, a commit or a path is none.
    """

    name: str
    repository: str
    commits: tuple[str, ...]
    licence: str
    marker: str
    consent: bool = False
    missing: Mapping[str, str] = field(default_factory=dict, hash=False)
    unread: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        what = f"checkout {self.name}"
        if not _NAME.fullmatch(self.name):
            raise ConfigError(f"{what}: got name {self.name!r}, allowed: letters, digits and . _ -")
        if not self.commits or not all(_COMMIT.fullmatch(commit) for commit in self.commits):
            raise ConfigError(f"{what}: got commits {', '.join(self.commits) or 'none'}, allowed: 40 hexadecimal digits each")
        for path in (self.marker, *self.unread):
            if not path or path.startswith(("/", ":")) or ".." in path.split("/"):
                raise ConfigError(f"{what}: got path {path!r}, allowed: one within the repository")
