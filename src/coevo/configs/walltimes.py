"""Walltimes in the forms that SLURM takes: M, M:S, H:M:S, D-H, D-H:M and D-H:M:S."""

from __future__ import annotations

import re

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
