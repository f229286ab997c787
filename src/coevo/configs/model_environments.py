"""Where a model family's Python is, from ``FAMILY.yaml`` in the directory of environments (``COEVO_ENVIRONMENTS``).

The file is only needed for what exists already (an interpreter, a conda environment, a container) or for limits and variables;
an environment that ``coevo env create`` made is found without it.
"""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Any

from pydantic import Field, field_validator

from coevo.configs.loading import parse_tree, read_text
from coevo.configs.tree import Section

if TYPE_CHECKING:
    from pathlib import Path

    from coevo.configs.yaml_tree import Location

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MODULE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+/-]*")


class ModelEnvironment(Section):
    """How the Python of a model family is started on this machine."""

    python: str | None = Field(
        default=None,
        min_length=1,
        description="interpreter; that of the environment made by `coevo env create` if null, or python if there is a prefix; "
        "coevo: this interpreter, of a family whose pins it has",
    )
    prefix: str = Field(
        default="",
        description="words before the interpreter, such as conda run --no-capture-output -n NAME or apptainer exec IMAGE",
    )
    modules: tuple[str, ...] = Field(default=(), description="environment modules loaded before (module load)")
    variables: dict[str, str] = Field(default_factory=dict, description="environment variables that are set")
    pass_variables: tuple[str, ...] = Field(
        default=(), description="variables passed on although their names look like secrets, such as HF_TOKEN"
    )
    timeout: int = Field(default=172_800, ge=1, description="seconds after which a run is ended by force")
    patience: int = Field(
        default=3600, ge=1, description="seconds after which a worker that has not answered a batch is ended by force"
    )

    checkouts: dict[str, str] = Field(
        default_factory=dict, description="directory of each checkout that the family runs from, by name, such as DiffCSP"
    )
    consents: dict[str, str] = Field(
        default_factory=dict,
        description="licences that you agree to, by the name of the checkout",
    )
    any_commit: bool = Field(
        default=False, description="take checkouts at commits that were not tested, with changes, or without git"
    )

    @field_validator("prefix")
    @classmethod
    def _words(cls, value: str) -> str:
        try:
            shlex.split(value)
        except ValueError as err:
            raise ValueError(f"got {value!r}, allowed: words as in a shell ({err})") from None
        return value

    @field_validator("modules")
    @classmethod
    def _module_names(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if not _MODULE.fullmatch(name):
                raise ValueError(f"{name!r} is not the name of a module; allowed: letters, digits and . _ + - / as in cuda/12.4")
        return value

    @field_validator("variables", "pass_variables")
    @classmethod
    def _variable_names(cls, value: Any) -> Any:
        for name in value:
            if not _VARIABLE.fullmatch(name):
                raise ValueError(f"{name!r} is not the name of a variable; allowed: letters, digits and _")
        return value

    @field_validator("checkouts")
    @classmethod
    def _absolute(cls, value: dict[str, str]) -> dict[str, str]:
        for path in value.values():
            if not path.startswith(("/", "~")):
                raise ValueError(f"got {path!r}, allowed: an absolute path")
        return value


def _hidden(location: Location) -> bool:
    return location[:1] == ("variables",)


def read_environment_file(path: Path) -> ModelEnvironment:
    """Read ``FAMILY.yaml``.

    Raises
    ------
    ConfigError
        If the file cannot be read or is not valid; values of variables are not repeated.
    """
    text = read_text(path)
    return parse_tree(ModelEnvironment, text, str(path), hidden=_hidden) if text.strip() else ModelEnvironment()
