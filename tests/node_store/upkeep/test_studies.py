"""Upkeep of studies: their files stay while their state does, they go with it, and damage is found."""

from __future__ import annotations

from datetime import timedelta

import pytest
from li_p_s_states import NODE
from made_studies import add_study, study_document, with_file
from upkeep_cases import furnished_node, make_old

from coevo.node_store.store import open_store
from coevo.node_store.study_documents import note_key, put_study
from coevo.node_store.upkeep.garbage import collect_garbage
from coevo.node_store.upkeep.verification import verify
from coevo.settings import Settings


@pytest.fixture(params=["directory", pytest.param("server", marks=pytest.mark.service)])
def store(request, tmp_path):
    settings = Settings(database=f"file:{tmp_path / 'data'}")
    if request.param == "server":
        settings = Settings(database=request.getfixturevalue("mongodb_uri"), artifacts=(tmp_path / "blobs").as_uri())
    with open_store(settings) as store:
        yield store


def collect(store, *, delete=True):
    return collect_garbage(store, delete=delete, older_than=timedelta(days=1), artifacts_not_shared=True)


def test_files_of_studies_stay_while_their_state_does_and_studies_go_with_it(store):
    furnished_node(store)
    kept, going = store.state(NODE), store.state(f"{NODE}@try")
    of_kept = add_study(store, kept, **with_file(store, b"kept"))
    of_going = add_study(store, going, **with_file(store, b"going"))
    files = {study.id: study.document["artifacts"][0]["sha256"] for study in store.studies(NODE)}
    make_old(store)
    assert collect(store).kinds["studies"].count == 0
    assert all(map(store.artifacts.has, files.values()))
    store.delete_branch(NODE, "try")
    make_old(store)
    would = collect(store, delete=False)
    assert (would.kinds["states"].count, would.kinds["studies"].count) == (1, 1)
    assert {study.id for study in store.studies(NODE)} == {of_kept, of_going}
    done = collect(store)
    assert (done.kinds["states"].count, done.kinds["studies"].count) == (1, 1)
    assert done.kinds["studies"].bytes > 0
    assert [study.id for study in store.studies(NODE)] == [of_kept]
    assert store.artifacts.has(files[of_kept])
    assert collect(store).kinds["studies"].count == 0
    assert verify(store, NODE).problems == []


def test_verification_reads_studies_and_their_files(store):
    furnished_node(store)
    view = store.state(NODE)
    name = add_study(store, view, **with_file(store))
    result = verify(store, NODE)
    assert (result.problems, result.counts["studies"]) == ([], 1)
    file = store.studies(NODE)[0].document["artifacts"][0]["sha256"]
    path = store.artifacts.directory / file[:2] / file[2:]
    path.unlink()
    (problem,) = verify(store, NODE, quick=True).problems
    assert f"file phonons.txt ({file}) of study {name}" in problem.where
    path.write_bytes(b"frequencies")
    assert verify(store, NODE).problems == []
    noted = store.backend.note(NODE, note_key(view.id, name))
    noted["study"]["results"] = {"frequencies": [9.0]}
    store.backend.write_note(NODE, note_key(view.id, name), noted)
    (problem,) = verify(store, NODE).problems
    assert f"study {name}" in problem.where
    assert "its document has the id" in problem.what
    assert add_study(store, view, **with_file(store)) == name  # and the remedy that is named helps
    assert verify(store, NODE).problems == []


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"state": "f" * 64}, "its state is damaged or not stored"),
        ({"checkpoints": {"force_field": "f" * 64}}, "its force_field ffffffffffff is not that of its state"),
        ({"artifacts": [{"name": "x", "sha256": "f" * 64, "size": 1}]}, "it is not in"),
    ],
)
def test_verification_finds_studies_that_no_commit_would_have_stored(store, changes, what):
    furnished_node(store)
    put_study(store.backend, NODE, study_document(store.state(NODE), **changes), "2026-01-01T00:00:00")
    (problem,) = verify(store, NODE).problems
    assert what in problem.what
