"""Settings of a process, from ``COEVO_*`` environment variables, read when they are needed (on the worker, not at import)."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from coevo.errors import ConfigError

EMBEDDED_PREFIX = "file:"
MONGODB_PREFIXES = ("mongodb://", "mongodb+srv://")


class Settings(BaseSettings):
    """Where a process finds its database and artifacts, and what it may use of the machine.

    None of these enter a job key or a state id: the same work with more workers gives the same state.
    """

    model_config = SettingsConfigDict(env_prefix="COEVO_", extra="forbid", frozen=True, hide_input_in_errors=True)

    database: str = Field(default="file:./coevo-data", description="file:DIRECTORY (embedded) or mongodb://… (a server)")
    artifacts: str | None = Field(
        default=None,
        description="fsspec URI of the artifact store; DIRECTORY/blobs for an embedded database, required with mongodb://",
    )
    workers: int | None = Field(default=None, ge=1, description="worker processes on this machine; all usable cores if unset")
    device: Literal["auto", "cpu", "cuda"] = Field(default="auto", description="where force fields run")
    scratch: str | None = Field(
        default=None,
        description="directory where labelling codes run, and where frames without a label are kept; a temporary one if unset",
    )
    espresso_command: str = Field(default="pw.x", description="how pw.x is started, such as mpirun -np 4 pw.x")
    pseudopotentials: str | None = Field(default=None, description="directory of pseudopotentials (UPF) for Quantum ESPRESSO")
    vasp_command: str = Field(default="vasp_std", description="how VASP is started, such as mpirun -n 4 vasp_std")

    environments: str | None = Field(
        default=None,
        description="directory of the environments of model families that cannot share coevo's own (docs/generators.md)",
    )
    checkouts: str | None = Field(
        default=None, description="directory of checkouts that model families run from, each in a folder of its name"
    )

    patience: int = Field(
        default=600,
        ge=0,
        description="seconds for which a finished job waits for a MongoDB server that is away, to store its result",
    )
    spool: str | None = Field(
        default=None, description="directory where results are kept that could not be stored, until their job runs again"
    )
    site: str | None = Field(default=None, description="YAML file of the site whose cluster is used (docs/sites.md)")

    @model_validator(mode="after")
    def _artifacts_with_a_server(self) -> Settings:
        if self.database.startswith(MONGODB_PREFIXES):
            if not self.artifacts:
                msg = "COEVO_ARTIFACTS is required with a mongodb:// database: set it to a URI all workers reach, e.g. s3://bucket/coevo"
                raise ValueError(msg)
        elif not self.database.startswith(EMBEDDED_PREFIX) or len(self.database) == len(EMBEDDED_PREFIX):
            msg = "COEVO_DATABASE must be file:DIRECTORY or mongodb://HOST/DATABASE"
            raise ValueError(msg)
        return self

    @property
    def environments_directory(self) -> Path:
        """The directory of the environments of model families."""
        if self.environments:
            return Path(self.environments).expanduser().absolute()
        return Path(os.environ.get("XDG_DATA_HOME") or "~/.local/share").expanduser().absolute() / "coevo" / "environments"

    @property
    def is_embedded(self) -> bool:
        """Whether the database is a directory rather than a server."""
        return self.database.startswith(EMBEDDED_PREFIX)

    @property
    def directory(self) -> Path:
        """The directory of an embedded database."""
        if not self.is_embedded:
            raise ConfigError("the database is a MongoDB server and has no directory")
        path = self.database.removeprefix(EMBEDDED_PREFIX)
        return Path(path.removeprefix("//")).expanduser()


def read_settings(**given: str) -> Settings:
    """Read the settings from the environment, as it is now.

    Parameters
    ----------
    **given
        Settings that are given otherwise, and win.

    Raises
    ------
    ConfigError
        If a variable is not valid; the message names the variable and not its value, which may hold a password.
    """
    prefix = str(Settings.model_config["env_prefix"])
    variables = sorted(item for item in os.environ.items() if item[0].upper().startswith(prefix))
    return _settings_of(tuple(variables), tuple(sorted(given.items())))


@lru_cache(maxsize=16)
def _settings_of(variables: tuple[tuple[str, str], ...], given: tuple[tuple[str, str], ...]) -> Settings:  # noqa: ARG001
    """Read the settings once for each state of the environment: jobs ask a hundred times, and each answer takes 15 ms."""
    try:
        return Settings(**dict(given))  # type: ignore[arg-type]
    except ValidationError as err:
        lines = []
        for problem in err.errors(include_url=False, include_input=False):
            name = "COEVO_" + "_".join(str(part) for part in problem["loc"]).upper() if problem["loc"] else ""
            lines.append(f"{name}: {problem['msg']}" if name else problem["msg"].removeprefix("Value error, "))
        raise ConfigError("settings: " + "; ".join(lines)) from None


def usable_workers(asked: int | None = None) -> int:
    """Worker processes here: ``COEVO_WORKERS``, else what a configuration (perhaps a stranger's) asks for, up to all cores."""
    cores = len(os.sched_getaffinity(0))
    return read_settings().workers or min(asked or cores, cores)
