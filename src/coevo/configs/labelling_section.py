"""Which codes a configuration may name in ``labelling.code``, and what is stated of the labels of a Maker."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

from pydantic import Field, field_validator

from coevo.configs.section import Section
from coevo.families import entry_points_of

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

LABELLER_GROUP = "coevo.labellers"
"""Group of the entry points by which other packages bring labelling codes: ``NAME = "package.module:Class"``."""

LABELLING_CODES = ("teacher", "espresso", "vasp", "maker")
"""Codes that come with coevo; others are found by their entry points."""

CODE_PATTERN = r"^[a-z][a-z0-9-]{0,39}$"
IMPORT_PATH = r"^([A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)+)?$"

_ARGUMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(->[^\s>]+)*")


def installed_labellers() -> dict[str, EntryPoint]:
    """Labelling codes that other installed packages bring, by name."""
    return entry_points_of(LABELLER_GROUP)


def is_of_another_package(code: Any) -> bool:
    """Whether a code does not come with coevo."""
    return code not in LABELLING_CODES


def known_code(code: str) -> str:
    """Return a code if it is one.

    Raises
    ------
    ValueError
        If no package that is installed brings it.
    """
    if code not in LABELLING_CODES and code not in (installed := installed_labellers()):
        allowed = ", ".join([*LABELLING_CODES, *sorted(installed)])
        raise ValueError(f"got {code}, allowed: {allowed}, or a code whose package is installed (docs/labels.md)")
    return code


def plain_arguments(arguments: dict[str, Any]) -> dict[str, Any]:
    """Return arguments of a labelling code if they are plain data under names of arguments.

    Raises
    ------
    ValueError
        If a name is none, or a key, a value or a type is one that JSON, MongoDB or a decoder would not leave as it is.
    """
    for name in arguments:
        if not _ARGUMENT.fullmatch(name):
            raise ValueError(f"{name!r} is not the name of an argument; allowed: NAME, or NAME->KEY for a part of one")
    _check_plain(arguments, "")
    return arguments


def _check_plain(value: Any, where: str) -> None:
    if isinstance(value, dict):
        for key, item in value.items():
            here = f"{where}{key}"
            if not isinstance(key, str):
                raise ValueError(f"{here}: got a key that is no text, allowed: text")  # noqa: TRY004  (pydantic wants it)
            if key.startswith(("@", "$", "_fw_")) or "." in key:
                raise ValueError(f"{here}: got a key that a decoder or a database acts on (@…, $…, _fw_…, or with a dot)")
            _check_plain(item, f"{here}: ")
    elif isinstance(value, list | tuple):
        for item in value:
            _check_plain(item, where)
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{where}got {value}, allowed: finite numbers")
    elif not (value is None or isinstance(value, str | bool | int | float)):
        raise ValueError(f"{where}got a {type(value).__name__}, allowed: text, numbers, true, false, null, lists and mappings")


class StatedConfig(Section):
    """What you state of the labels of a Maker: used where neither its class nor its task documents say it."""

    functional: str = Field(
        default="",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9+._/ -]{0,59}$|^$",
        description="functional of the energies, such as PBE or r2SCAN; what the Maker's input set says, else its name, if empty",
    )
    anion_corrected: bool | None = Field(
        default=None,
        description="whether the energies hold the MP2020 anion correction already; what is known of the Maker if null",
    )
    first_principles: bool | None = Field(
        default=None, description="whether the labels count as first-principles ones; if null, those of DFT Makers of atomate2 do"
    )
    version: str = Field(
        default="",
        pattern=r"^[A-Za-z0-9+._-]{0,40}$",
        description="version that task documents must name, such as 6.4.2 (VASP Makers: 6 if empty); another is an error",
    )
    packages: tuple[str, ...] = Field(
        default=(), description="further distributions whose versions change the numbers; those that are found are always told"
    )

    @field_validator("version", mode="before")
    @classmethod
    def _number_as_text(cls, value: Any) -> Any:
        return f"{value:g}" if type(value) in {int, float} else value  # YAML reads 6 and 6.4 as numbers

    @field_validator("packages")
    @classmethod
    def _distribution_names(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?", name):
                raise ValueError(f"{name!r} is not the name of a distribution, such as mace-torch")
        return tuple(sorted(set(value)))
