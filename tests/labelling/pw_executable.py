"""Whether the real ``pw.x`` and ``mpirun`` are here: in CI they must be, elsewhere the tests that need them are skipped."""

from __future__ import annotations

import os
import shutil

import pytest


def require_pw(name: str = "pw.x") -> None:
    """Skip the test if there is no such executable; fail it in CI."""
    if shutil.which(name):
        return
    told = f"no {name} on PATH: apt-get install quantum-espresso, or run make test as root on Debian or Ubuntu, which installs it"
    if os.environ.get("CI"):
        pytest.fail(told)
    pytest.skip(told)
