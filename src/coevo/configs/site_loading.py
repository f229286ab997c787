"""Sites from YAML files: find, read, expand ``${VARIABLE}``, check and show.

Secrets come from the environment (``${VARIABLE}``) and are repeated nowhere: no message, digest or ``site show`` has them.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import dataclass
from functools import partial
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coevo.configs.loading import parse_tree, read_text
from coevo.configs.site_tree import Site
from coevo.configs.yaml_tree import Location, dotted, read_yaml
from coevo.errors import ConfigError
from coevo.settings import read_settings

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_FILE = "site.yaml"
MASK = "***"

_VARIABLE = re.compile(r"\$\{([^{}]*)\}")
_SHELL_KEYS = frozenset({"commands", "prefix"})
"""Keys whose ``${…}`` belong to the shell of the job."""
_SECRET_NAME = re.compile(r"PASS|SECRET|TOKEN|KEY|CREDENTIAL", re.IGNORECASE)
_PLAIN_VARIABLES = frozenset({"HOME", "USER", "LOGNAME", "PATH", "LD_LIBRARY_PATH", "PYTHONPATH", "SCRATCH", "WORK", "TMPDIR"})
"""Variables whose values may be shown; what comes from any other one may be a secret."""
_CREDENTIALS = re.compile(r"(?<=://)[^/\s]*@")
_HIDDEN_KEYS = frozenset({"database", "launchpad", "artifacts"})


@dataclass(frozen=True)
class LoadedSite:
    """A site and where it came from.

    Attributes
    ----------
    site : Site
        With every ``${VARIABLE}`` expanded.
    written : dict
        The plain data of the file, not expanded.
    source : str
        The file's path.
    """

    site: Site
    written: dict[str, Any]
    source: str

    @property
    def digest(self) -> str:
        """Twelve hexadecimal digits of what is written: another file, another digest; a changed password, the same."""
        text = _CREDENTIALS.sub(f"{MASK}@", json.dumps(self.written, sort_keys=True, ensure_ascii=True))
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @property
    def files(self) -> Path:
        """Directory of the files that workers read, below the site's own."""
        return Path(self.site.directory) / f"site-{self.site.site}-{self.digest}"


def example_names() -> list[str]:
    """Names of the bundled example sites."""
    folder = resources.files("coevo.configs") / "sites"
    return sorted(item.name.removesuffix(".yaml") for item in folder.iterdir() if item.name.endswith(".yaml"))


def example_text(name: str) -> str:
    """Return the YAML text of a bundled example site.

    Raises
    ------
    ConfigError
        If there is none of this name.
    """
    if name not in example_names():
        raise ConfigError(f"no example site {name!r}; allowed: {', '.join(example_names())}")
    return (resources.files("coevo.configs") / "sites" / f"{name}.yaml").read_text(encoding="utf-8")


def find_site(given: str | Path | None = None) -> Path:
    """Find the site's file: the one that is given, else ``COEVO_SITE``, else ``./site.yaml``.

    Raises
    ------
    ConfigError
        If no file is named, and there is no ``site.yaml`` here.
    """
    named = given or read_settings().site
    if named:
        return Path(named).expanduser()
    path = Path(DEFAULT_FILE)
    if not path.exists():
        raise ConfigError(
            f"no site: give --site FILE, set COEVO_SITE, or have a {DEFAULT_FILE} in this directory; `coevo site init` writes one"
        )
    return path


def load_site(given: str | Path | None = None) -> LoadedSite:
    """Load the site that :func:`find_site` finds.

    Raises
    ------
    ConfigError
        If the file cannot be read or is not valid; the message has one line per problem.
    """
    path = find_site(given)
    return parse_site(read_text(path, hint="; `coevo site init` writes one"), str(path))


def load_site_to_plan(given: str | Path | None = None) -> tuple[LoadedSite, list[str]]:
    """Load a site whose secrets need not be known: a plan reads classes and walltimes, which do not depend on them.

    Returns
    -------
    LoadedSite
        With ``unset`` in the place of variables that the environment lacks.
    list of str
        These variables, as far as database and artifacts need them: without them neither can be asked.

    Raises
    ------
    ConfigError
        If the file cannot be read or is not valid.
    """
    path = find_site(given)
    text = read_text(path, hint="; `coevo site init` writes one")
    lacking = {name for name in _VARIABLE.findall(text) if not os.environ.get(name)}
    loaded = parse_site(text, str(path), {**os.environ, **dict.fromkeys(lacking, "unset")})
    needed = [str(loaded.written.get(key, "")) for key in ("database", "artifacts")]
    return loaded, sorted({name for value in needed for name in _VARIABLE.findall(value)} & lacking)


def parse_site(text: str, source: str, environment: Mapping[str, str] | None = None) -> LoadedSite:
    """Read and check the YAML text of a site.

    Parameters
    ----------
    text : str
    source : str
        What error messages call the text, usually its path.
    environment : mapping, optional
        Where ``${VARIABLE}`` is looked up; ``os.environ`` by default.

    Raises
    ------
    ConfigError
        With one line for each problem, in the order of the text.
    """
    prepare = partial(expand, environment=os.environ if environment is None else environment)
    site = parse_tree(Site, text, source, prepare=prepare, hidden=_is_hidden)
    return LoadedSite(site, read_yaml(text).data, source)


def expand(data: dict[str, Any], environment: Mapping[str, str]) -> tuple[dict[str, Any], list[tuple[Location, str]]]:
    """Expand ``${VARIABLE}`` in every text of a site, except in commands and prefixes, which are shell.

    Parameters
    ----------
    data : dict
        Plain data of a site's file.
    environment : mapping

    Returns
    -------
    dict
        The expanded data; what cannot be expanded stays.
    list of (Location, str)
        What could not be expanded, and why; no value is repeated.
    """
    problems: list[tuple[Location, str]] = []
    return _expanded(data, (), environment, problems), problems


def _expanded(value: Any, location: Location, environment: Mapping[str, str], problems: list[tuple[Location, str]]) -> Any:
    if isinstance(value, dict):
        return {key: _expanded(item, (*location, key), environment, problems) for key, item in value.items()}
    if isinstance(value, list):
        return [_expanded(item, (*location, index), environment, problems) for index, item in enumerate(value)]
    if not isinstance(value, str) or _SHELL_KEYS.intersection(location):
        return value
    for name in _VARIABLE.findall(value):
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            problems.append((location, f"{dotted(location)}: ${{{name[:40]}}} names no variable; allowed: ${{NAME}}"))
        elif not environment.get(name):
            state = "empty" if name in environment else "not set"
            problems.append((location, f"{dotted(location)}: the environment variable {name} is {state}; export {name}=…"))
    if "${" in _VARIABLE.sub("", value):
        problems.append((location, f"{dotted(location)}: a ${{ is not closed; allowed: ${{NAME}}"))
    return _VARIABLE.sub(lambda match: environment.get(match[1]) or match[0], value)


def _is_hidden(location: Location) -> bool:
    """Whether the value at a location, or a part of it, may be a secret."""
    return location[:1] == ("environments",) or bool(_HIDDEN_KEYS.intersection(location[:1]))


def resolved(loaded: LoadedSite) -> dict[str, Any]:
    """Return the whole tree as it is used, defaults included, as plain data with secrets masked."""
    site = loaded.site
    data = site.model_dump(mode="json")
    data["database"], data["launchpad"] = site.database_server.place, site.launchpad_server.place
    data["artifacts"] = site.artifacts.partition("?")[0]
    written = loaded.written.get("environments") or {}
    for name, environment in data["environments"].items():
        given = (written.get(name) or {}).get("variables") or {}
        environment["variables"] = {
            key: MASK if _is_secret(key, given.get(key)) else value for key, value in environment["variables"].items()
        }
    if site.queue == "none":  # nothing else of a class is used
        data["classes"] = {name: {"environment": kind["environment"]} for name, kind in data["classes"].items()}
    return {**data, "digest": loaded.digest, "files": str(loaded.files)}


def _is_secret(name: str, written: Any) -> bool:
    text = str(written)
    taken = set(_VARIABLE.findall(text)) - _PLAIN_VARIABLES
    return bool(taken) or _SECRET_NAME.search(name) is not None or _CREDENTIALS.search(text) is not None
