"""What the values of a site may look like that stand in ``#SBATCH`` lines and in the job script.

A value that passes is one word to sbatch and cannot begin another line: no space, quote, backslash, ``#`` or control character.

Also here, walltimes in the forms that SLURM takes: M, M:S, H:M:S, D-H, D-H:M and D-H:M:S.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator

MINUTE, HOUR, DAY = 60, 3600, 86_400
LONGEST = 366 * DAY
"""Seconds of the longest walltime that is taken for one; a typing error makes longer ones."""

_WITH_DAYS = re.compile(r"([0-9]{1,8})-([0-9]{1,8})(?::([0-9]{1,8}))?(?::([0-9]{1,8}))?")
_WITHOUT_DAYS = re.compile(r"([0-9]{1,8})(?::([0-9]{1,8}))?(?::([0-9]{1,8}))?")


def parse_walltime(text: str) -> int:
    """Read a walltime.

    Parameters
    ----------
    text : str
        One number is minutes, ``M:S`` minutes and seconds, ``H:M:S`` hours, minutes and seconds; after days and a dash come
        hours, minutes and seconds (sbatch(1), ``--time``).

    Returns
    -------
    int
        Seconds, at least 1.

    Raises
    ------
    ValueError
        If it has none of these forms, is zero (SLURM's word for no limit), or longer than :data:`LONGEST`.
    """
    if match := _WITH_DAYS.fullmatch(text):
        days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    elif match := _WITHOUT_DAYS.fullmatch(text):
        given = [int(part) for part in match.groups() if part is not None]
        days, (hours, minutes, seconds) = 0, given if len(given) == 3 else [0, *given, *[0] * (2 - len(given))]
    else:
        raise ValueError(
            f"{text[:40]!r} is no walltime; allowed: M, M:S, H:M:S, D-H, D-H:M or D-H:M:S, such as 24:00:00 or 2-12 (days-hours)"
        )
    total = days * DAY + hours * HOUR + minutes * MINUTE + seconds
    if not 0 < total <= LONGEST:
        raise ValueError(f"{text[:40]!r} is {total} seconds; allowed: more than 0 and at most {LONGEST // DAY} days")
    return total


def format_walltime(seconds: int) -> str:
    """Write seconds as ``H:MM:SS``, or ``D-HH:MM:SS`` from one day on; :func:`parse_walltime` reads it back."""
    days, rest = divmod(seconds, DAY)
    hours, rest = divmod(rest, HOUR)
    minutes, rest = divmod(rest, MINUTE)
    return f"{days}-{hours:02d}:{minutes:02d}:{rest:02d}" if days else f"{hours}:{minutes:02d}:{rest:02d}"


_NAME = r"[A-Za-z0-9_][A-Za-z0-9_.@+-]*"
_NAME_FORM = re.compile(_NAME)
_PARTITION_FORM = re.compile(rf"{_NAME}(?:,{_NAME})*")
_RESOURCE = r"[A-Za-z][\w.-]*(?:[:=/][\w.-]+){0,3}(?:\(S:[0-9,-]+\))?"
_GRES_FORM = re.compile(rf"{_RESOURCE}(?:,{_RESOURCE})*", re.ASCII)
_CONSTRAINT_FORM = re.compile(r"[A-Za-z0-9_.,:=&|*()\[\]+@/-]+")
_MEMORY_FORM = re.compile(r"[0-9]{1,9}[KMGTkmgt]?")
_EXTRA_FORM = re.compile(r"--([a-z][a-z0-9-]*)(?:=[!-~]+)?")
_MODULE_FORM = re.compile(r"[A-Za-z0-9_][\w.+/:@=-]*", re.ASCII)
_VARIABLE_FORM = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_DIRECTORY_FORM = re.compile(r"/[\w.+@:=,/-]*")

OPTIONS_OF_KEYS = {
    "account": "account",
    "constraint": "constraint",
    "cpus-per-task": "cpus_per_task",
    "gres": "gres",
    "mem": "memory",
    "nodes": "nodes",
    "ntasks": "tasks",
    "partition": "partition",
    "qos": "qos",
    "time": "walltime",
}
"""Options of sbatch that have a key of their own, and the key."""
_OWN_OPTIONS = """
    array chdir comment error help job-name no-requeue open-mode output parsable quiet requeue test-only usage version wait wrap
"""
OPTIONS_OF_COEVO = frozenset(_OWN_OPTIONS.split())
"""Options of sbatch that coevo gives itself, or that would keep it from following the job."""


def _name(value: str) -> str:
    return _matching(value, _NAME_FORM, "one name of letters, digits and _ . @ + -")


def _partition(value: str) -> str:
    return _matching(value, _PARTITION_FORM, "a name, or several joined by commas, such as gpu or gpu,long")


def _gres(value: str) -> str:
    return _matching(value, _GRES_FORM, "name:count or name:type:count, such as gpu:1 or gpu:a100:2")


def _constraint(value: str) -> str:
    return _matching(value, _CONSTRAINT_FORM, "features joined by & | , without spaces, such as a100&nvlink")


def _memory(value: str) -> str:
    return _matching(value, _MEMORY_FORM, "a whole number and K, M, G or T, such as 16G (per node; 0: all memory of the node)")


def _walltime(value: str) -> str:
    parse_walltime(value)
    return value


def _module(value: str) -> str:
    return _matching(value, _MODULE_FORM, "one module, such as cuda/12.4")


def _directory(value: str) -> str:
    text = _matching(value, _DIRECTORY_FORM, "an absolute path without spaces, quotes or $, such as ${HOME}/coevo")
    if ".." in text.split("/"):
        raise ValueError(f"{text!r} has a .. in it; allowed: an absolute path, such as ${{HOME}}/coevo")
    return text.rstrip("/") or "/"


def _extra(value: str) -> str:
    match = _EXTRA_FORM.fullmatch(value)
    forbidden = sorted(set("\"'`\\#").intersection(value))
    if match is None or forbidden or "$$" in value:
        raise ValueError(f"got {_shown(value)}, allowed: one option of sbatch without spaces or quotes, such as --mail-type=FAIL")
    if match[1] in OPTIONS_OF_KEYS:
        raise ValueError(f"--{match[1]} has a key of its own; write {OPTIONS_OF_KEYS[match[1]]}: … instead")
    if match[1] in OPTIONS_OF_COEVO:
        raise ValueError(f"--{match[1]} is not allowed: coevo gives it itself, or could not follow the job; leave it out")
    return value


def _command(value: str) -> str:
    """Commands are shell by design; only what would break the script or be lost from it is refused."""
    if not value.strip() or not value.isprintable():
        raise ValueError(f"got {_shown(value)}, allowed: one line of shell; several lines are several items of the list")
    if value.endswith("\\"):
        raise ValueError(f"{_shown(value)} ends in a backslash, which would swallow the next line; write the command on one line")
    if "$$" in value:
        raise ValueError(f"{_shown(value)} holds $$, which the template of the job script would drop; write $BASHPID")
    return value


def _prefix(value: str) -> str:
    return _command(value) if value else value


def _matching(value: str, form: re.Pattern[str], allowed: str) -> str:
    if form.fullmatch(value) is None:
        raise ValueError(f"got {_shown(value)}, allowed: {allowed}")
    return value


def _shown(value: str) -> str:
    return repr(value if len(value) <= 60 else value[:57] + "...")


def _number_as_text(value: Any) -> Any:
    return str(value) if type(value) is int else value  # YAML reads 60 and 16000 as numbers


Name = Annotated[str, BeforeValidator(_number_as_text), AfterValidator(_name)]
Partition = Annotated[str, BeforeValidator(_number_as_text), AfterValidator(_partition)]
Gres = Annotated[str, AfterValidator(_gres)]
Constraint = Annotated[str, AfterValidator(_constraint)]
Memory = Annotated[str, BeforeValidator(_number_as_text), AfterValidator(_memory)]
Walltime = Annotated[str, BeforeValidator(_number_as_text), AfterValidator(_walltime)]
Extra = Annotated[str, AfterValidator(_extra)]
Module = Annotated[str, AfterValidator(_module)]
Command = Annotated[str, AfterValidator(_command)]
Prefix = Annotated[str, AfterValidator(_prefix)]
Directory = Annotated[str, AfterValidator(_directory)]


def check_variable(name: str) -> None:
    """Refuse what is no name of an environment variable.

    Raises
    ------
    ValueError
    """
    _matching(name, _VARIABLE_FORM, "a name of letters, digits and _")
