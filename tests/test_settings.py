"""Settings from COEVO_* variables."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from coevo.errors import ConfigError
from coevo.settings import read_settings


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("COEVO_")]:
        monkeypatch.delenv(name)


def test_defaults_are_an_embedded_database_in_the_working_directory() -> None:
    settings = read_settings()
    assert settings.is_embedded
    assert settings.directory == Path("coevo-data")
    assert (settings.artifacts, settings.workers, settings.device) == (None, None, "auto")


@pytest.mark.parametrize(
    ("value", "directory"),
    [
        ("file:./data", Path("data")),
        ("file:/srv/nodes", Path("/srv/nodes")),
        ("file:///srv/nodes", Path("/srv/nodes")),
        ("file:~/x", Path.home() / "x"),
    ],
)
def test_the_directory_of_an_embedded_database(monkeypatch: pytest.MonkeyPatch, value: str, directory: Path) -> None:
    monkeypatch.setenv("COEVO_DATABASE", value)
    assert read_settings().directory == directory


def test_settings_are_read_when_asked_for_and_not_at_import(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COEVO_WORKERS", "3")
    assert read_settings().workers == 3
    monkeypatch.setenv("COEVO_WORKERS", "4")
    assert read_settings().workers == 4


def test_a_server_needs_artifacts_that_all_workers_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COEVO_DATABASE", "mongodb://user:secret@host/coevo")
    with pytest.raises(ConfigError, match="COEVO_ARTIFACTS is required with a mongodb:// database") as caught:
        read_settings()
    assert "secret" not in str(caught.value)
    monkeypatch.setenv("COEVO_ARTIFACTS", "s3://bucket/coevo")
    settings = read_settings()
    assert not settings.is_embedded
    with pytest.raises(ConfigError, match="has no directory"):
        _ = settings.directory


@pytest.mark.parametrize("value", ["", "file:", "sqlite:x", "/srv/nodes", "http://host"])
def test_other_databases_are_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("COEVO_DATABASE", value)
    with pytest.raises(ConfigError, match="COEVO_DATABASE must be file:DIRECTORY or mongodb://HOST/DATABASE"):
        read_settings()


@pytest.mark.parametrize(("name", "value"), [("COEVO_WORKERS", "0"), ("COEVO_WORKERS", "many"), ("COEVO_DEVICE", "tpu")])
def test_a_value_out_of_range_names_its_variable_and_not_the_value(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=f"settings: {name}: ") as caught:
        read_settings()
    assert f"'{value}'" not in str(caught.value).replace("'auto', 'cpu' or 'cuda'", "")
