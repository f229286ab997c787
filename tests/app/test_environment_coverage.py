"""A node that judges environments by entropy and is told to judge them by coverage: the next transition has all of the course."""

from __future__ import annotations

import json

import pytest

from tiny_node import Coevo, copy_of

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def adopted(finished: Coevo, tmp_path_factory: pytest.TempPathFactory) -> Coevo:
    coevo = copy_of(finished.directory, tmp_path_factory.mktemp("adopted"))
    path = coevo.database / "tiny" / "node.yaml"
    path.write_text(path.read_text().replace("ruler_size: 4", "ruler_size: 4\n  environment_signal: coverage"))
    coevo("run", "tiny", "-n", "2")
    return coevo


def metrics(coevo: Coevo, ref: str) -> dict:
    return json.loads(coevo("show", ref, "--format", "json").stdout)["metrics"]


def test_the_next_transition_calibrates_and_the_one_after_hands_it_on(adopted: Coevo) -> None:
    before, first, second = (metrics(adopted, ref) for ref in ("tiny~2", "tiny~1", "tiny"))
    assert "environment_calibration" not in before
    assert first["environment_calibration"] == second["environment_calibration"]
    found = first["environment_calibration"]
    assert len(found["crystals"]) == 6
    assert found["left_out"] == []
    assert 0.04 < found["delta"] < found["delta90"] < 0.25
    assert [crystal["formula"] for crystal in found["crystals"]].count("Li2S") == 1
    # all iterations at once, then those that are judged: here all again, for atoms are few
    assert list(first["environment_coverage"]["iterations"]) == ["1", "2", "3"]
    assert list(second["environment_coverage"]["iterations"]) == ["1", "2", "3", "4"]
    signal = second["maturity"]["signals"][1]
    assert signal["cause"] in {"moving", "few atoms"}, signal


def test_all_of_it_is_computed_again_and_shown(adopted: Coevo) -> None:
    for ref in ("tiny~2", "tiny~1", "tiny"):
        adopted("verify", ref, "--signals")
    printed = adopted("status", "tiny").stdout
    assert "share of Li far from older ones" in printed
    assert "two environments differ by more than δ = " in " ".join(printed.split())
    adopted("report", "tiny", "--output", str(adopted.directory / "page"))
    assert "further than δ90 from all older ones" in (adopted.directory / "page" / "index.html").read_text()
    table = (adopted.directory / "page" / "data" / "far-environments.csv").read_text().splitlines()
    assert [line.split(",")[:2] for line in table[1:]] == [[str(i), symbol] for i in (1, 2, 3, 4) for symbol in ("Li", "P", "S")]
