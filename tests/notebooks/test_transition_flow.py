"""Which transition a Flow is wired for, and when it is refused; that it ends in the right state is for test_python_page.py."""

from __future__ import annotations

from pathlib import Path

import pytest
from jobflow.managers.fireworks import flow_to_workflow

import coevo
from coevo.configs.loading import parse_config
from coevo.errors import ConfigError, LabellingError, StateNotFoundError
from coevo.flows.campaign import next_transition
from coevo.notebooks.nodes import Node
from tiny_node import Coevo, copy_of


@pytest.fixture
def own(finished: Coevo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Node:
    """A copy of the node with a branch ``try`` at its head and ``back`` a state before."""
    copy = copy_of(finished.directory, tmp_path)
    copy("branch", "tiny", "try", "--seed", "3")
    copy("branch", "tiny~1", "back")
    monkeypatch.setenv("COEVO_DATABASE", f"file:{copy.database}")
    return coevo.open("tiny")


def branch_of(flow) -> str:
    return flow.jobs[-1].function.__self__.branch


def test_the_flow_is_that_of_the_campaign(own: Node) -> None:
    flow = coevo.transition_flow(own.state())
    config = parse_config(own.store.read_config_text("tiny"), source="node.yaml")
    head = own.state().view.document
    wanted = next_transition(config, head, branch="main", start_iteration=2, iterations=1).flow
    assert [job.name for job in flow.jobs] == [job.name for job in wanted.jobs]
    assert [job.function.__self__ for job in flow.jobs] == [job.function.__self__ for job in wanted.jobs]
    assert len(flow_to_workflow(flow).fws) == len(flow.jobs)


def test_the_branch_is_the_one_by_which_the_state_was_opened(own: Node) -> None:
    assert branch_of(coevo.transition_flow(own.state("try"))) == "try"
    assert branch_of(coevo.transition_flow(own.state(), branch="try")) == "try"
    assert branch_of(coevo.transition_flow(own.state("main~1"))) == "back"
    seeds = [coevo.transition_flow(own.state(name)).jobs[0].function.__self__.node.branch_seed for name in ("main", "try")]
    assert seeds == [0, 3]


def test_a_state_without_a_branch_or_with_several_is_told(own: Node) -> None:
    with pytest.raises(StateNotFoundError, match="head of several branches"):
        coevo.transition_flow(own.state(own.state().id))
    with pytest.raises(StateNotFoundError, match="coevo branch tiny@"):
        coevo.transition_flow(own.state("main~2"))
    with pytest.raises(StateNotFoundError, match="branch back of tiny is at"):
        coevo.transition_flow(own.state(), branch="back")
    with pytest.raises(StateNotFoundError, match="branch nope of tiny is not there"):
        coevo.transition_flow(own.state(), branch="nope")


def test_a_state_of_another_database_than_that_of_the_jobs_is_refused(own: Node, finished: Coevo) -> None:
    other = coevo.open("tiny", database=finished.database).state()
    with pytest.raises(ConfigError, match="set COEVO_DATABASE"):
        coevo.transition_flow(other)
    assert branch_of(coevo.transition_flow(other, here=False)) == "main"


def test_what_the_labels_need_is_looked_for_where_they_are_made(own: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a code that is on no machine: the Flow is wired for others, and refused here before anything is computed."""
    monkeypatch.setenv("COEVO_ESPRESSO_COMMAND", "pw-of-nowhere.x")
    labelling = "labelling:\n  code: espresso"
    own.store.write_config_text("tiny", own.store.read_config_text("tiny").replace("labelling:", labelling))
    with pytest.raises(LabellingError):
        coevo.transition_flow(own.state())
    assert branch_of(coevo.transition_flow(own.state(), here=False)) == "main"


def test_a_configuration_that_is_not_valid_is_refused(own: Node) -> None:
    own.store.write_config_text("tiny", own.store.read_config_text("tiny").replace("max_steps: 80", "max_steps: many"))
    with pytest.raises(ConfigError, match="max_steps"):
        coevo.transition_flow(own.state())
