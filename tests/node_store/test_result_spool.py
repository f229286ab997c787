"""A result is not lost because the database is away when its job ends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from coevo.errors import StorageError
from coevo.node_store import result_spool
from coevo.node_store.result_spool import put_patiently, take_in_spooled

KEY = "ab" * 32
RESULT = {"output": {"n": 1.5, "key": KEY}, "provenance": {"name": "x/1/curate"}}


class Server:
    """A store whose server comes back after some attempts."""

    def __init__(self, away: int) -> None:
        self.away = away
        self.results: dict[str, Any] = {}

    def put_job_result(self, key: str, document: dict[str, Any]) -> dict[str, Any]:
        if self.away:
            self.away -= 1
            raise StorageError("the server does not answer")
        return self.results.setdefault(key, document)


@pytest.fixture
def spool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COEVO_DATABASE", "mongodb://localhost/coevo")
    monkeypatch.setenv("COEVO_ARTIFACTS", f"file://{tmp_path}")
    monkeypatch.setenv("COEVO_SPOOL", str(tmp_path / "spool"))
    monkeypatch.setattr(result_spool, "FIRST_WAIT", 0.001)
    return tmp_path / "spool"


def test_a_server_that_comes_back_gets_the_result(spool: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COEVO_PATIENCE", "3600")
    server = Server(away=3)
    assert put_patiently(server, KEY, RESULT) == RESULT  # type: ignore[arg-type]
    assert server.results == {KEY: RESULT}
    assert not spool.exists()


def test_a_result_waits_in_the_spool_for_the_next_run(spool: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COEVO_PATIENCE", "0")
    server = Server(away=1)
    with pytest.raises(StorageError, match="the result is kept in"):
        put_patiently(server, KEY, RESULT)  # type: ignore[arg-type]
    assert [json.loads(path.read_text()) for path in spool.iterdir()] == [RESULT]
    take_in_spooled(server, KEY)  # type: ignore[arg-type]
    assert server.results == {KEY: RESULT}
    assert list(spool.iterdir()) == []
    take_in_spooled(server, KEY)  # type: ignore[arg-type]


def test_a_result_stays_in_the_spool_while_the_server_is_away(spool: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COEVO_PATIENCE", "0")
    server = Server(away=2)
    with pytest.raises(StorageError):
        put_patiently(server, KEY, RESULT)  # type: ignore[arg-type]
    with pytest.raises(StorageError):
        take_in_spooled(server, KEY)  # type: ignore[arg-type]
    assert len(list(spool.iterdir())) == 1


def test_a_spooled_file_that_is_no_result_is_passed_over(spool: Path) -> None:
    spool.mkdir()
    (spool / f"{KEY}.json").write_text("{")
    server = Server(away=0)
    take_in_spooled(server, KEY)  # type: ignore[arg-type]
    assert server.results == {}


def test_an_embedded_database_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COEVO_DATABASE", f"file:{tmp_path}")
    monkeypatch.setenv("COEVO_SPOOL", str(tmp_path / "spool"))
    with pytest.raises(StorageError, match="does not answer"):
        put_patiently(Server(away=1), KEY, RESULT)  # type: ignore[arg-type]
    assert not (tmp_path / "spool").exists()
