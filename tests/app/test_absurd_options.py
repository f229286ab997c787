"""Numbers and names of options that nobody means: one line that says what is allowed, at once, and exit code 2."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hand_made_node import NODE, two_branches
from printed import Printed, printed  # noqa: F401 (a fixture)

from coevo.node_store.store import open_store
from coevo.settings import Settings


@pytest.fixture
def coevo(printed: Callable[..., Printed], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Printed]:  # noqa: F811
    database = f"file:{tmp_path / 'db'}"
    monkeypatch.setenv("COEVO_DATABASE", database)
    monkeypatch.chdir(tmp_path)
    two_branches(open_store(Settings(database=database)))
    return printed


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("gc", "--older-than", "1e400"), "less than or equal to 36500"),
        (("gc", "--older-than", "1e300"), "less than or equal to 36500"),
        (("gc", "--older-than", "nan"), "--older-than"),
        (("run", NODE, "-n", "99999999999999999999", "--plan"), "less than or equal to 1000"),
        (("submit", NODE, "-n", "1001", "--plan"), "less than or equal to 1000"),
        (("launch", "--loop", "--every", "inf"), "less than or equal to 86400"),
        (("jobs", "--watch", "--every", "inf"), "less than or equal to 86400"),
        (("add", NODE, "a.extxyz", "--as", "labels", "--functional", "  "), "--functional '  ': says nothing"),
        (("add", NODE, "a.extxyz", "--as", "labels", "--functional", "P\x1b[31mBE"), r"--functional 'P\x1b[31mBE': says nothing"),
        (("add", NODE, "a.extxyz", "--as", "labels", "--same-settings-as", ""), "--same-settings-as '': says nothing"),
        (("add", NODE, "a.extxyz", "--as", "labels", "--energy-key", ""), "--energy-key '': says nothing"),
        (("analyse", ""), "names neither a state nor a file"),
        (("motifs", " "), "names neither a state nor a file"),
        (("rediscover", NODE, "--against", ""), "--against '': names no set"),
        (("completeness", NODE, "--formulas", ""), "--formulas: got ''"),
        (("completeness", NODE, "--draws", "99999999999999999999"), "less than or equal to 100000"),
        (("completeness", NODE, "--e-hull", "nan"), "--e-hull"),
    ],
)
def test_it_is_told_and_nothing_is_done(coevo: Callable[..., Printed], arguments: tuple[str, ...], words: str) -> None:
    done = coevo(*arguments)
    assert (done.code, "Traceback" in done.err) == (2, False)
    assert words in done.err.replace("\n", " ")
