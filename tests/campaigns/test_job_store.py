"""``coevo run --job-store``: jobflow's documents in the JOB_STORE of the user's settings, and nowhere without it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import jobflow
import pytest
from jobflow import Flow, JobStore, job
from maggma.core import StoreError
from maggma.stores import JSONStore, MemoryStore, MongoStore

from coevo.campaigns.running import run_flow, users_job_store
from coevo.errors import ConfigError, StorageError
from coevo.node_store.store import open_store
from coevo.settings import Settings
from tiny_node import Coevo, copy_of

CONFIG = """
JOB_STORE:
  docs_store:
    type: JSONStore
    paths: {path}
    read_only: false
"""


@pytest.fixture
def said() -> list[str]:
    return []


def give(monkeypatch: pytest.MonkeyPatch, store: object) -> None:
    monkeypatch.setattr(jobflow.SETTINGS, "JOB_STORE", store)


def test_a_store_that_keeps_nothing_is_told(monkeypatch: pytest.MonkeyPatch, said: list[str]) -> None:
    give(monkeypatch, JobStore(MemoryStore()))
    users_job_store(said.append)
    assert len(said) == 1
    assert "in memory and keeps nothing" in said[0]


def test_a_store_on_disk_is_opened(monkeypatch: pytest.MonkeyPatch, said: list[str], tmp_path: Path) -> None:
    give(monkeypatch, JobStore(JSONStore(str(tmp_path / "outputs.json"), read_only=False)))
    assert users_job_store(said.append).count() == 0
    assert said == []


def test_a_store_that_does_not_answer_is_one_line(monkeypatch: pytest.MonkeyPatch, said: list[str]) -> None:
    away = MongoStore("jobs", "outputs", host="127.0.0.1", port=9, mongoclient_kwargs={"serverSelectionTimeoutMS": 100})
    give(monkeypatch, JobStore(away))
    with pytest.raises(ConfigError, match=r"JOB_STORE .* cannot be opened: .*without --job-store"):
        users_job_store(said.append)


class FullStore(MemoryStore):
    def update(self, docs: object, key: object = None) -> None:
        raise StoreError("the disk is full")


def test_a_store_that_takes_nothing_is_one_line() -> None:
    with pytest.raises(
        StorageError, match=r"JOB_STORE did not take the documents of tiny: the disk is full; .*without --job-store"
    ):
        run_flow(Flow([job(abs)(-1)], name="tiny"), JobStore(FullStore()))


@pytest.mark.long
def test_the_documents_of_a_run_are_kept_where_the_user_says(finished: Coevo, tmp_path: Path) -> None:
    """The second transition again: its results are found by their keys, and the state is the same."""
    (tmp_path / "jobflow.yaml").write_text(CONFIG.format(path=tmp_path / "outputs.json"))
    coevo = copy_of(finished.directory, tmp_path, JOBFLOW_CONFIG_FILE=str(tmp_path / "jobflow.yaml"))
    store = open_store(Settings(database=f"file:{coevo.database}"))
    head, before = store.state("tiny").id, store.state("tiny~1").id
    (coevo.database / "tiny" / "refs" / "main").write_text(before + "\n")
    coevo("run", "tiny", "--job-store")
    assert store.state("tiny").id == head
    kept = json.loads((tmp_path / "outputs.json").read_text())
    assert {"tiny/2/curate", "tiny/2/train-force-field", "tiny/2/commit"} <= {document["name"] for document in kept}
    assert [document["output"] for document in kept if document["name"] == "tiny/2/commit"] == [{"state": head}]


@pytest.mark.parametrize(
    ("settings", "variables", "told"),
    [
        ("JOB_STORE: {docs_store: {type: NoStore}}", {}, "KeyError: 'NoStore'"),
        pytest.param("JOB_STORE: [1,", {}, "ParserError: ", marks=pytest.mark.long),
        pytest.param(
            "CREATE_FOLDERS: false",
            {"JOBFLOW_JOB_STORE": '{"password": "s3cret"}'},
            "JOB_STORE: Value error, Must provide JobStore",
            marks=pytest.mark.long,
        ),
    ],
)
def test_settings_of_jobflow_that_cannot_be_read_are_one_line(
    tmp_path: Path, settings: str, variables: dict[str, str], told: str
) -> None:
    file = tmp_path / "jobflow.yaml"
    file.write_text(settings)
    environment = {**os.environ, "JOBFLOW_CONFIG_FILE": str(file), "COEVO_DATABASE": f"file:{tmp_path}/db", **variables}
    command = [sys.executable, "-m", "coevo.app.cli", "run", "tiny"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    [line] = done.stderr.splitlines()
    assert line.startswith(f"coevo: jobflow's settings ({file}, or JOBFLOW_… variables) cannot be read: {told}")
    assert "s3cret" not in line
