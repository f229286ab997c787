"""Databases for the tests of the store."""

from __future__ import annotations

import os

import pytest

from s3_server import s3_bucket, s3_environment, s3_server

__all__ = ["s3_bucket", "s3_environment", "s3_server"]


@pytest.fixture(autouse=True)
def _no_outside_settings(monkeypatch, tmp_path):
    for name in [name for name in os.environ if name.startswith("COEVO_") and not name.startswith("COEVO_TEST_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
