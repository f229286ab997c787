"""One server for all tests of serving that one process runs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from serve_process import ServeProcess
from tiny_node import Coevo, copy_of


@pytest.fixture(scope="session")
def coevo(finished: Coevo, tmp_path_factory: pytest.TempPathFactory) -> Coevo:
    """A copy of the tiny node with a branch whose name looks like others."""
    found = copy_of(finished.directory, tmp_path_factory.mktemp("served"))
    found("branch", "tiny@main~1", "older")
    return found


@pytest.fixture(scope="session")
def server(coevo: Coevo) -> Iterator[ServeProcess]:
    with ServeProcess(coevo) as found:
        yield found
