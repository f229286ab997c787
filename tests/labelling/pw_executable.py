"""Whether the real ``pw.x`` can be run: in CI it must be there, elsewhere its tests are skipped without it."""

from __future__ import annotations

import os
import shutil

import pytest


def require_pw() -> None:
    """Skip the test if there is no ``pw.x``; fail it in CI."""
    if shutil.which("pw.x"):
        return
    told = "no pw.x on PATH: apt-get install quantum-espresso, or run make test as root on Debian or Ubuntu, which installs it"
    if os.environ.get("CI"):
        pytest.fail(told)
    pytest.skip(told)
