"""What a commit is given: one document, or its fields one by one, as they stand in jobs that an earlier version queued."""

from __future__ import annotations

from typing import Any

import pytest
from jobflow import JobStore, run_locally
from maggma.stores import MemoryStore

from coevo.configs.loading import load_config
from coevo.flows.campaign import seed_flow
from coevo.makers.commit import as_one
from coevo.makers.outputs import Transition, UnionTransition
from coevo.makers.step import current_store
from tiny_node import Coevo

BY_PLACE = {
    Transition: ("evaluated", "assessed", "generator", "force_field", "measured", "iteration"),
    UnionTransition: (
        "united",
        "evaluated",
        "assessed",
        "force_field",
        "generator",
        "measured",
        "iteration",
        "parents",
        "expected",
        "message",
    ),
}
"""What the flows of commit 5784276 handed over by place; the rest by name."""


@pytest.mark.parametrize("document", list(BY_PLACE))
def test_fields_one_by_one_are_the_document(document: type) -> None:
    names = BY_PLACE[document]
    values = {name: f"output {name}" for name in names}
    whole = as_one(
        document, values["evaluated" if document is Transition else "united"], tuple(values.values())[1:], {"trained": 1}
    )
    assert whole == {**values, "trained": 1}
    assert as_one(document, values, (), {}) is values


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("earlier", [False, True])
def test_a_commit_that_an_earlier_version_queued_gives_the_same_state(
    fresh: Coevo, monkeypatch: pytest.MonkeyPatch, earlier: bool
) -> None:
    monkeypatch.setenv("COEVO_DATABASE", f"file:{fresh.database}")
    monkeypatch.setenv("COEVO_WORKERS", "1")
    store = current_store()
    flow = seed_flow(load_config(str(fresh.directory / "tiny.yaml")), base=fresh.directory)
    commit: Any = flow.jobs[-1]
    commit.maker.branch = "again"
    if earlier:
        (done,) = commit.function_args
        names = BY_PLACE[Transition]
        commit.function_args = tuple(done[name] for name in names)
        commit.function_kwargs = {name: value for name, value in done.items() if name not in names}
    run_locally(flow, store=JobStore(MemoryStore()), log=False, ensure_success=True)
    assert store.state("tiny@again").id == store.state("tiny@main").id
