"""``coevo label``: labels outside a full iteration."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tiny_node import Coevo, copy_of

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.slow
def test_labels_of_the_best_entries_make_a_state_and_the_models_stay(finished: Coevo, tmp_path: Path) -> None:
    coevo = copy_of(finished.directory, tmp_path)
    before = json.loads(coevo("show", "tiny", "--format", "json").stdout)
    added = json.loads(coevo("label", "tiny", "--limit", "3", "--format", "json").stdout)
    assert added["parents"] == [before["id"]]
    assert added["iteration"] == before["iteration"] + 1
    assert added["counts"]["labels"] == before["counts"]["labels"] + added["labels_added"]
    for kind in ("force_field", "generator"):
        assert added["checkpoints"][kind]["sha256"] == before["checkpoints"][kind]["sha256"]
    assert added["metrics"]["population"]["entries"] == before["metrics"]["population"]["entries"]
    # a teacher is another force field: nothing is said of stability
    assert added["metrics"]["validation"] is None
    # what is labelled with these settings is not labelled again
    coevo("label", "tiny", "--limit", "100", "--no-competing")
    again = json.loads(coevo("label", "tiny", "--limit", "100", "--format", "json").stdout)
    once_more = json.loads(coevo("label", "tiny", "--limit", "100", "--format", "json").stdout)
    assert once_more["labels_added"] == 0
    assert again["counts"]["labels"] == once_more["counts"]["labels"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["label", "tiny~1"], "tiny~1 is not the head of a branch"),
        (["label", "nowhere"], "there is no node 'nowhere'"),
        (["label", "tiny", "--limit", "0"], "--limit"),
        (["label", "tiny", "--labeller", "crystal"], "--labeller"),
    ],
)
def test_what_cannot_be_labelled(finished: Coevo, arguments: list[str], message: str) -> None:
    assert message in " ".join(finished(*arguments, code=2).stderr.split())
