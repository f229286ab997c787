"""The command line in this process: quicker than in one of its own, for tests of what many commands print."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, NamedTuple

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Printed(NamedTuple):
    """What a command printed, and its exit code."""

    out: str
    err: str
    code: int


@pytest.fixture
def printed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Printed]:
    """Run ``coevo ARGUMENTS`` on the database of ``COEVO_DATABASE``."""

    def run(*arguments: str | Path) -> Printed:
        import signal

        from coevo.app.cli import main

        before = signal.getsignal(signal.SIGINT)
        monkeypatch.setattr(sys, "argv", ["coevo", *map(str, arguments)])
        capsys.readouterr()
        try:
            with pytest.raises(SystemExit) as ended:
                main()
        finally:
            signal.signal(signal.SIGINT, before)
        code = ended.value.code
        return Printed(*capsys.readouterr(), code if isinstance(code, int) else 0)

    return run


def wide(monkeypatch: pytest.MonkeyPatch, columns: int = 1000) -> None:
    """Make the terminal so wide that no text is broken into lines, or as narrow as is said."""
    from coevo.app import terminal

    for console in (terminal.out, terminal.err):
        monkeypatch.setattr(console, "_width", columns)


__all__ = ["Printed", "printed", "wide"]
