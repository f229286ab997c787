"""``coevo label`` and ``coevo add``: labels and references outside a full iteration."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from tiny_node import Coevo, copy_of

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.long
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


@pytest.mark.long
def test_what_users_have_is_added_through_the_same_checks(finished: Coevo, tmp_path: Path) -> None:
    coevo = copy_of(finished.directory, tmp_path)
    lithium = bulk("Li", "bcc", a=3.43)
    good = SinglePointCalculator(lithium, energy=-1.9, forces=[[0.0, 0.0, 0.0]], stress=np.full(6, 0.001))
    wild = lithium.copy()
    wild.calc = SinglePointCalculator(wild, energy=-1.9, forces=[[900.0, 0.0, 0.0]], stress=np.full(6, 0.001))
    lithium.calc = good
    write(tmp_path / "mine.extxyz", [wild, lithium], format="extxyz")
    added = json.loads(coevo("add", "tiny", "mine.extxyz", "--as", "labels", "--functional", "PBE", "--format", "json").stdout)
    assert added["labels_added"] == 2
    counts = added["metrics"]["labels"]
    assert (counts["reasons"], counts["status"]) == ({"large_force": 1}, {"admitted": 1, "rejected": 1})
    (warning,) = counts["warnings"]  # 900 eV/Å where symmetry allows none
    assert "look at their unit" in warning
    # lithium is a reference of the node: the label is one of it, at its relaxed geometry
    assert added["metrics"]["validation"]["labelled"] == 1
    # the same file again is the same labels
    again = json.loads(coevo("add", "tiny", "mine.extxyz", "--as", "labels", "--functional", "PBE", "--format", "json").stdout)
    assert again["labels_added"] == 0
    before = again["counts"]["references"]
    write(tmp_path / "known.extxyz", [bulk("LiS", "rocksalt", a=5.2)], format="extxyz")
    new = json.loads(coevo("add", "tiny", "known.extxyz", "--as", "references", "--format", "json").stdout)
    assert new["counts"]["references"] == before + 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["add", "tiny", "none.xyz", "--as", "labels"], "none.xyz: no such file"),
        (["add", "tiny", "none.cif", "--as", "references"], "no such file"),
        (["add", "tiny~1", "none.cif", "--as", "references"], "is not a branch"),
        (["add", "tiny", "none.cif", "--as", "references", "--functional", "PBE"], "are for labels"),
        (["add", "tiny", "none.cif"], "Missing option '--as'"),
    ],
)
def test_what_cannot_be_added(finished: Coevo, arguments: list[str], message: str) -> None:
    assert message in " ".join(finished(*arguments, code=2).stderr.split())
