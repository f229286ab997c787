"""What git says of a directory, asked so that nothing of it runs and nothing in it is written; and a repository at one commit.

A directory that somebody else made may tell git, in its own ``.git/config``, to start programs: a file system monitor, hooks,
filters, transports. Those that can be switched off are, and filters, which cannot, are refused. git itself refuses a directory of
another user, unless the user's own configuration calls it safe; that is left to the user.
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from coevo.errors import ConfigError
from coevo.output.plain_text import plain

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_TIMEOUT = 300.0
"""Seconds that a question may take, over a slow file system."""

_CLONE_TIMEOUT = 3600.0

_QUIET = ("-c", "core.fsmonitor=", "-c", f"core.hooksPath={os.devnull}")
"""Options with which git starts no program that a repository names."""

_READING = (*_QUIET, "-c", "protocol.allow=never", "--no-optional-locks")
"""Options that moreover fetch nothing, not even what a partial clone lacks, and write no index."""

_NO_PROTOCOL = {"GIT_ALLOW_PROTOCOL": "none"}
"""A variable for the same: a repository's own ``protocol.ext.allow`` wins over ``protocol.allow``, and over this nothing does.

It lists the names of those that are allowed, and no protocol is called so.
"""

_SHOWN = 5
"""Paths that a message names."""


@dataclass(frozen=True)
class RepositoryState:
    """What is checked out in a directory.

    Attributes
    ----------
    commit : str or None
        40 hexadecimal digits; None if the directory is no repository of its own, or has no commit.
    changes : tuple of str
        Paths that are not as they are in the commit: changed, absent, or not in it; of what it ignores only what Python imports.
    """

    commit: str | None
    changes: tuple[str, ...] = ()

    def told_changes(self) -> str:
        """The first few of the changes, for a message."""
        more = len(self.changes) - _SHOWN
        return ", ".join(plain(path[:100]) for path in self.changes[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def state_of(directory: Path, unread: Sequence[str] = ()) -> RepositoryState:
    """Ask git for the commit of a directory and for what differs from it.

    Parameters
    ----------
    directory : Path
        The top of a repository's working tree.
    unread : sequence of str
        Folders in which differences do not count.

    Raises
    ------
    ConfigError
        If there is no git, it refuses the directory or fails, or the repository names a filter program.
    """
    names = _ask(directory, "config", "--list", "--show-scope", "--name-only").stdout.splitlines()
    for name in names:
        scope, _, key = name.partition("\t")
        if scope in {"local", "worktree"} and key.startswith("filter."):
            raise ConfigError(
                f"{directory}: its .git/config names a program for git to run ({plain(key[:100])}), and coevo does not ask git "
                "about such a repository; make a new clone of it"
            )
    asked = _ask(directory, "rev-parse", "--show-toplevel", "HEAD", check=False)
    if asked.returncode != 0:
        if "not a git repository" in asked.stderr or "HEAD" in asked.stderr:
            return RepositoryState(None)
        raise _failed(directory, asked)
    top, _, commit = asked.stdout.rstrip("\n").rpartition("\n")
    if os.path.realpath(top) != os.path.realpath(directory):
        return RepositoryState(None)
    status = ("status", "--porcelain=v1", "-z", "--untracked-files=normal", "--ignore-submodules=dirty", "--no-renames")
    where = ("--", ".", *(f":(exclude,top){folder}" for folder in unread))
    changes = [line[3:] for line in _ask(directory, *status, *where).stdout.split("\0") if line]
    # files that git was told not to look at (assume-unchanged, skip-worktree), so that it would hide a change of them
    flags = _ask(directory, "ls-files", "-v", "-z", *where).stdout.split("\0")
    hidden = [line[2:] for line in flags if line[:1].islower() or (line[:1] == "S" and (directory / line[2:]).exists())]
    others = ("ls-files", "--others", "--ignored", "--exclude-standard", "-z")
    ignored = [path for path in _ask(directory, *others, *where).stdout.split("\0") if _can_be_imported(path)]
    return RepositoryState(commit, tuple(dict.fromkeys(changes + hidden + ignored)))


def _can_be_imported(path: str) -> bool:
    """Whether Python that has a repository on its path may import a file there by a name: a module, not what it compiled of one.

    What lies in folders that are in no name (``.venv``, ``site-packages``), or in the ``build`` of setuptools, is not.
    """
    *folders, name = path.split("/")
    stem, _, kind = name.partition(".")
    importable = kind in {"py", "so"} or kind.endswith(".so")
    return importable and all(map(str.isidentifier, (*folders, stem))) and folders[:1] != ["build"]


def clone_at(repository: str, commit: str, directory: Path) -> None:
    """Fetch one commit of a repository, without its history, into a new directory.

    Parameters
    ----------
    repository : str
        URL.
    commit : str
        40 hexadecimal digits.
    directory : Path
        Empty or absent; whoever calls removes it after an error.

    Raises
    ------
    ConfigError
        If there is no git, or the commit cannot be fetched.
    """
    directory.mkdir(parents=True, exist_ok=True)
    _git(directory, *_QUIET, "init", "--quiet")
    _git(directory, "remote", "add", "origin", repository)
    _git(directory, *_QUIET, "fetch", "--quiet", "--depth", "1", "--no-tags", "origin", commit, timeout=_CLONE_TIMEOUT)
    _git(directory, *_QUIET, "checkout", "--quiet", "--detach", commit, timeout=_CLONE_TIMEOUT)


def _ask(directory: Path, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run git in a directory so that it only reads there, and starts and fetches nothing."""
    return _git(directory, *_READING, *arguments, check=check, more=_NO_PROTOCOL)


def _git(
    directory: Path,
    *arguments: str,
    check: bool = True,
    timeout: float = _TIMEOUT,
    more: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run git in a directory, with none of the variables that would show it another one, and no question to anybody."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    # GIT_SSL_CAINFO, GIT_PROXY_SSL_… and the like say how this machine reaches the network
    kept |= {name: value for name, value in os.environ.items() if name.startswith(("GIT_SSL_", "GIT_PROXY_", "GIT_CONFIG_"))}
    variables = {
        **kept,
        "LC_ALL": "C",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_LFS_SKIP_SMUDGE": "1",
        "GIT_HTTP_LOW_SPEED_LIMIT": "1000",
        "GIT_HTTP_LOW_SPEED_TIME": "60",
        **(more or {}),
    }
    try:
        done = subprocess.run(
            ["git", *arguments],
            cwd=directory,
            env=variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=timeout,
            check=False,
        )
    except FileNotFoundError:
        raise ConfigError(
            f"{directory}: there is no git on PATH, which says at what commit it is; install git or load its module"
        ) from None
    except (OSError, subprocess.TimeoutExpired) as err:
        raise ConfigError(f"{directory}: git cannot be asked: {err}") from None
    if check and done.returncode != 0:
        raise _failed(directory, done)
    return done


def _failed(directory: Path, done: subprocess.CompletedProcess[str]) -> ConfigError:
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    if any("dubious ownership" in line for line in lines):
        return ConfigError(
            f"{directory} belongs to another user, and git looks at it only if you call it safe: "
            f"git config --global --add safe.directory {directory}"
        )
    return ConfigError(f"{directory}: git: {(lines or [f'exit code {done.returncode}'])[-1][:300]}")
