"""Tables of states that other code made."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest
from li_p_s_states import NODE, new_node
from rich.console import Console

from coevo.app.tables.states import branches_table, iteration_table, log_table
from coevo.campaigns.planning import start_from_state
from coevo.errors import CorruptArtifactError
from coevo.node_store.store import open_store
from coevo.settings import Settings
from coevo.studies.states.branches import Branch, branch_rows
from coevo.studies.states.summaries import node_status, summary
from tiny_node import Coevo

if TYPE_CHECKING:
    from pathlib import Path


def test_metrics_of_other_code_are_one_error_and_can_still_be_read(tmp_path: Path) -> None:
    with open_store(Settings(database=f"file:{tmp_path}/db")) as store:
        new_node(store).commit()
        view = store.state(NODE)
        message = r"the metrics of li-p-s-test@[0-9a-f]{12} are not those that this coevo writes \(KeyError: .*--format json"
        for table in (
            iteration_table,
            lambda view: log_table([view], NODE),
            lambda view: node_status(store, view.node),
            start_from_state,
        ):
            with pytest.raises(CorruptArtifactError, match=message):
                table(view)
        assert summary(view)["metrics"]["sun"] == 3


def test_a_node_that_has_no_tables_does_not_hide_the_others(tmp_path: Path) -> None:
    coevo = Coevo(tmp_path)
    with open_store(Settings(database=f"file:{coevo.database}")) as store:
        new_node(store).commit()
        store.create_node("other", ["Li"], {}, "")
    assert "the metrics of li-p-s-test@" in coevo("status", NODE, code=2).stderr
    told = coevo("status")
    assert "the metrics of li-p-s-test@" in told.stderr
    assert "other  Li" in told.stdout


def test_branches_say_who_looked_and_that_their_numbers_are_the_model_s() -> None:
    row = Branch("main", "a" * 64, 3, 40, 12, "", None, looked_at="agreed 5 (2 to 8)")
    alone = Branch("other", "b" * 64, 2, 30, 9, "", None)
    console = Console(width=160, record=True, file=io.StringIO())
    console.print(branches_table("a", [row, alone], "a teacher"))
    text = console.export_text()
    assert "S.U.N.: by the model alone; a teacher" in text
    assert "agreed 5 (2 to 8)" in text
    console.print(branches_table("a", [alone]))
    assert "looked at" not in console.export_text().replace(text, "")


@pytest.mark.parametrize("audit", ["text", 7, {"precision": 1}, {"precision": {}, "auditor": None, "relation": []}])
def test_branches_are_listed_whatever_somebody_else_s_audit_is(tmp_path: Path, audit: object) -> None:
    with open_store(Settings(database=f"file:{tmp_path}/db")) as store:
        new_node(store).commit(metrics={"sun": 3, "audit": audit})
        (row,) = branch_rows(store, NODE)
        assert row.looked_at == ""
