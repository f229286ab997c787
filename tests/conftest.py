"""A node small enough that a whole transition takes seconds, shared by the tests of makers, flows and the command line."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mongodb_server import mongodb_server, mongodb_uri
from slurm_cluster import slurm_cluster
from tiny_node import TINY, Coevo, copy_of

__all__ = ["mongodb_server", "mongodb_uri", "slurm_cluster"]

os.environ["OMP_NUM_THREADS"] = "1"


@pytest.fixture(scope="session")
def tiny_text() -> str:
    return TINY


@pytest.fixture(scope="session")
def seeded(tmp_path_factory: pytest.TempPathFactory, tiny_text: str) -> Path:
    """A directory with an initialised tiny node; copy it, do not change it."""
    directory = tmp_path_factory.mktemp("seeded")
    (directory / "tiny.yaml").write_text(tiny_text)
    Coevo(directory)("init", "tiny.yaml")
    return directory


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, seeded: Path) -> Coevo:
    """A tiny node after two transitions that nobody disturbed; read it, do not change it."""
    coevo = copy_of(seeded, tmp_path_factory.mktemp("finished"))
    coevo("run", "tiny", "-n", "2")
    return coevo


@pytest.fixture
def fresh(seeded: Path, tmp_path: Path) -> Coevo:
    """A command line on a copy of the initialised tiny node."""
    return copy_of(seeded, tmp_path)
