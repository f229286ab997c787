"""``coevo completeness`` on a tiny node: what it draws, that it draws nothing twice, and that it changes no state."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from coevo.node_store.store import open_store
from coevo.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

    from tiny_node import Coevo

SMALL = ("completeness", "tiny", "--formulas", "Li2S", "--max-atoms", "3", "--e-hull", "0.5", "--targets", "li-p-s")


def reused(stderr: str) -> list[tuple[str, bool]]:
    """Jobs, and whether their result was there."""
    lines = [line.split() for line in stderr.splitlines() if "tiny/probe-" in line]
    return [(line[1].removeprefix("tiny/probe-"), "reused" in line) for line in lines]


def test_a_probe_is_drawn_once_and_changes_no_state(fresh: Coevo, tmp_path: Path) -> None:
    view = open_store(Settings(database=f"file:{fresh.database}")).state("tiny")
    first = fresh(*SMALL, "--draws", "3", "--batches", "1", "--format", "json")
    assert reused(first.stderr) == [("0/generate/0000", False), ("0/screen/0000", False)]
    place = tmp_path / "completeness.json"
    place.write_text("precious")
    refused = fresh(*SMALL, "--output", str(place), code=2)
    assert (refused.stdout, place.read_text(), len(refused.stderr.strip().splitlines())) == ("", "precious", 1)
    second = fresh(*SMALL, "--draws", "6", "--batches", "2", "--output", str(place), "--force")
    assert reused(second.stderr) == [
        ("0/generate/0000", True),
        ("0/screen/0000", True),
        ("1/generate/0000", False),
        ("1/screen/0000", False),
    ]
    document = json.loads(place.read_text())
    probe, one = document["probe"], json.loads(first.stdout)["probe"]
    assert (probe["asked"], probe["drawn"], probe["batches"], probe["formulas"]) == (6, 6, 2, ["Li2S"])
    assert probe["relaxed"] + sum(probe["rejected"].values()) == 6
    assert probe["relaxed"] > one["relaxed"] > 0
    assert document["overall"]["draws"] == sum(row["draws"] for row in document["formulas"]) == probe["within_e_hull"]
    assert document["withheld"]["references"] == ["Li2S"]  # which the state knows, so it counts for nothing
    assert "too few draws" in second.stdout
    assert "no withheld phase is within the probe's reach" in second.stdout
    assert f"The claim: {document['claim']}." in second.stdout
    after = open_store(Settings(database=f"file:{fresh.database}"))
    assert (after.backend.branches("tiny"), after.backend.state_ids("tiny")) == ({"main": view.id}, [view.id])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--draws", "2", "--batches", "3"), "--batches: got 3 for 2 draws, allowed: 1 to 2"),
        (("--formulas", "Na2S"), "Na2S holds Na, allowed: the elements of the node, Li, P, S"),
        (("--formulas", "Li7PS6"), "got Li7PS6 with 14 atoms in the smallest unit"),
        (("--formulas", "Li2S,Li7PS6"), "allowed: one that the generator draws, with at most 8 atoms"),
        (("--output", "nowhere/x.json"), "there is no directory nowhere"),
        (("--targets", "nowhere.json"), "nowhere.json"),
    ],
)
def test_bad_options_are_one_error(finished: Coevo, options: tuple[str, ...], words: str) -> None:
    done = finished("completeness", "tiny", *options, code=2)
    assert words in done.stderr
    assert (done.stdout, len(done.stderr.strip().splitlines())) == ("", 1)
