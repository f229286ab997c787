"""How the Python of a family is started on this machine, and with which variables."""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, Literal

from coevo.configs.model_environments import ModelEnvironment, read_environment_file
from coevo.errors import ConfigError
from coevo.settings import Settings, read_settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from coevo.models.external.families import ExternalFamily

MARK = "coevo-environment.json"
"""Written into an environment when ``coevo env create`` has finished it."""

OWN = "coevo"
"""Stands for coevo's own interpreter in the file of a family whose pins agree with what is installed here."""

_OURS = re.compile(r"(COEVO|JOBFLOW|FW|JFREMOTE|MONGO|AWS|PYTHON|VIRTUAL_ENV|CONDA_PYTHON)")
"""Beginnings of variables that speak to coevo's own process: its servers and its Python are none of the family's business."""

_SECRET = re.compile(r"PASS|SECRET|TOKEN|KEY|CREDENTIAL|AUTH", re.IGNORECASE)

Kind = Literal["made", "file", "own"]


@dataclass(frozen=True)
class Environment:
    """A Python that exists, as far as this machine's files say.

    Attributes
    ----------
    family : str
    kind : {"made", "file", "own"}
        Made by ``coevo env create``, described in a file, or coevo's own, which has the family's pins.
    words : tuple of str
        Command line up to and with the interpreter.
    described : ModelEnvironment
    device : str
        ``auto``, ``cpu`` or ``cuda``.
    """

    family: str
    kind: Kind
    words: tuple[str, ...]
    described: ModelEnvironment
    device: str

    def command(self, *arguments: str) -> list[str]:
        """The command line that runs the interpreter with arguments, modules loaded before."""
        command = [*self.words, *arguments]
        if not self.described.modules:
            return command
        # `module` is a function of login shells; the names were checked and are quoted all the same.
        loads = " && ".join(f"module load {shlex.quote(name)}" for name in self.described.modules)
        return ["bash", "-lc", f'{loads} && exec "$@"', "coevo", *command]

    def variables(self, environment: Mapping[str, str] | None = None) -> dict[str, str]:
        """Variables of the subprocess: those of this process, without what is coevo's own and without secrets.

        The scheduler's choice of a GPU (``CUDA_VISIBLE_DEVICES``) is passed on.
        """
        given = os.environ if environment is None else environment
        passed = set(self.described.pass_variables)
        kept = {k: v for k, v in given.items() if k in passed or not (_OURS.match(k) or _SECRET.search(k))}
        fixed = {"PYTHONNOUSERSITE": "1", "PYTHONHASHSEED": "0", "PYTHONUNBUFFERED": "1", "CUBLAS_WORKSPACE_CONFIG": ":4096:8"}
        if self.device == "cpu":
            fixed["CUDA_VISIBLE_DEVICES"] = ""
        return {**kept, **fixed, **self.described.variables}

    def secrets(self, environment: Mapping[str, str] | None = None) -> list[str]:
        """Values that must not stand in a log: variables whose names look like secrets."""
        return [v for k, v in self.variables(environment).items() if len(v) >= 6 and _SECRET.search(k)]


def directory_of(family: str, settings: Settings | None = None) -> Path:
    """Where ``coevo env create`` makes the environment of a family."""
    return (settings or read_settings()).environments_directory / family


def file_of(family: str, settings: Settings | None = None) -> Path:
    """The file that describes the environment of a family, if there is one."""
    return (settings or read_settings()).environments_directory / f"{family}.yaml"


def mark_of(directory: Path) -> dict[str, Any] | None:
    """What ``coevo env create`` wrote into a finished environment; None if there is none."""
    try:
        mark = json.loads((directory / MARK).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return mark if isinstance(mark, dict) else None


def environment_of(family: ExternalFamily, settings: Settings | None = None) -> Environment:
    """Find the environment of a family.

    Parameters
    ----------
    family : ExternalFamily
    settings : Settings, optional
        Those of this process by default.

    Raises
    ------
    ConfigError
        If there is none, or its file is not valid.
    """
    settings = settings or read_settings()
    file, directory = file_of(family.name, settings), directory_of(family.name, settings)
    described = read_environment_file(file) if file.exists() else ModelEnvironment()
    prefix = tuple(shlex.split(described.prefix))
    if described.python == OWN:
        _require_own(family, file, prefix)
        return Environment(family.name, "file", (sys.executable,), described, settings.device)
    if described.python or prefix:
        return Environment(family.name, "file", (*prefix, described.python or "python"), described, settings.device)
    if mark_of(directory) is None and has_own(family):
        return Environment(family.name, "own", (sys.executable,), described, settings.device)
    if mark_of(directory) is None:
        state = "is not finished" if directory.exists() else "does not exist"
        raise ConfigError(
            f"family {family.name} has no environment: {directory} {state}; make it with `coevo env create {family.name}`, or "
            f"name an existing Python in {file} (python: PATH, or prefix: conda run --no-capture-output -n NAME)"
        )
    return Environment(family.name, "made", (str(python_in(directory)),), described, settings.device)


def is_described(family: ExternalFamily, settings: Settings | None = None) -> bool:
    """Whether the family's file names a Python, so that one made by ``coevo env create`` would not be used."""
    file = file_of(family.name, settings)
    described = read_environment_file(file) if file.exists() else ModelEnvironment()
    return bool(described.python or described.prefix)


def has_own(family: ExternalFamily) -> bool:
    """Whether coevo's own environment has all pins of a family that offers itself as an extra."""
    return bool(family.extra) and next(_differing(family), None) is None


def _differing(family: ExternalFamily) -> Iterator[str]:
    """Pins that coevo's own environment does not have, with what it has."""
    for pin in family.pins():
        name, _, wanted = pin.partition("==")
        try:
            found = version(name)
        except PackageNotFoundError:
            found = "none"
        if found.partition("+")[0] != wanted.partition("+")[0]:  # +cpu and +cu130 are builds of one version
            yield f"{name} {found}, pinned {wanted}"


def _require_own(family: ExternalFamily, file: Path, prefix: tuple[str, ...]) -> None:
    """Refuse coevo's own interpreter for a family whose pins it does not have.

    Raises
    ------
    ConfigError
        Naming what differs.
    """
    if prefix:
        raise ConfigError(f"{file}: python: {OWN} is this interpreter, before which no prefix can stand; leave one of them away")
    differing = list(_differing(family))
    if differing:
        raise ConfigError(
            f"{file}: python: {OWN} cannot run {family.name}: {'; '.join(differing[:5])}"
            f"{f' and {len(differing) - 5} more' if len(differing) > 5 else ''}; make an environment with "
            f"`coevo env create {family.name}`"
        )


def python_in(directory: Path) -> Path:
    """The interpreter of a virtual environment."""
    return directory / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
