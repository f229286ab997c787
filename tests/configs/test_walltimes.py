"""Walltimes against an independent formula; tests/slurm/test_site_check.py compares with SLURM's own reading."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coevo.configs.slurm_syntax import LONGEST, format_walltime, parse_walltime

days, hours, minutes, seconds = (st.integers(0, top) for top in (300, 300, 5000, 500))
digits = st.integers(0, 3)


def padded(number: int, zeros: int) -> str:
    return "0" * zeros + str(number)


@given(days, hours, minutes, seconds, digits)
def test_every_form_of_slurm_is_the_sum_of_its_parts(d: int, h: int, m: int, s: int, zeros: int) -> None:
    forms = {
        padded(m, zeros): timedelta(minutes=m),
        f"{m}:{padded(s, zeros)}": timedelta(minutes=m, seconds=s),
        f"{h}:{m}:{padded(s, zeros)}": timedelta(hours=h, minutes=m, seconds=s),
        f"{d}-{h}": timedelta(days=d, hours=h),
        f"{padded(d, zeros)}-{h}:{m}": timedelta(days=d, hours=h, minutes=m),
        f"{d}-{h}:{m}:{s}": timedelta(days=d, hours=h, minutes=m, seconds=s),
    }
    for text, expected in forms.items():
        if 0 < expected.total_seconds() <= LONGEST:
            assert parse_walltime(text) == expected.total_seconds()
        else:
            with pytest.raises(ValueError, match="more than 0 and at most 366 days"):
                parse_walltime(text)


@given(st.integers(1, LONGEST), st.integers(1, LONGEST))
def test_what_is_written_is_read_back_and_keeps_the_order(one: int, other: int) -> None:
    assert parse_walltime(format_walltime(one)) == one
    assert (parse_walltime(format_walltime(one)) < parse_walltime(format_walltime(other))) == (one < other)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (59, "0:00:59"),
        (3600, "1:00:00"),
        (86_399, "23:59:59"),
        (86_400, "1-00:00:00"),
        (93_784, "1-02:03:04"),
    ],
)
def test_how_a_walltime_is_written(seconds: int, text: str) -> None:
    assert format_walltime(seconds) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "8h",
        "1:2:3:4",
        "-1",
        "1-",
        "1-2-3",
        "1.5",
        " 10",
        "10\n",
        "1:2:3\n",
        "UNLIMITED",
        "infinite",
        "١٠",
        "0",
        "0-0",
        "99999-0",
    ],
)
def test_what_is_no_walltime_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"no walltime|more than 0"):
        parse_walltime(text)
