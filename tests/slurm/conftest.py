"""A launchpad of its own for each test."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from fireworks import LaunchPad

from coevo.slurm.submission import prepare_launchpad


@pytest.fixture
def files(mongodb_uri: str, tmp_path: Path) -> Path:
    """The files that a site writes for its workers, of one class."""
    server, _, name = mongodb_uri.rpartition("/")
    settings = {"host": f"{server}/{name}", "name": name, "uri_mode": True, "strm_lvl": "CRITICAL"}
    (tmp_path / "my_launchpad.yaml").write_text(yaml.safe_dump(settings))
    (tmp_path / "label.worker.yaml").write_text(yaml.safe_dump({"name": "here-label", "category": "label", "query": "{}"}))
    prepare_launchpad(LaunchPad.from_dict(settings))
    return tmp_path


@pytest.fixture
def launchpad(files: Path) -> LaunchPad:
    return LaunchPad.from_file(str(files / "my_launchpad.yaml"))
