"""A node with a second opinion: two members of its own family and one of another, from init to report."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from second_family import SHIFT, install_witness

from tiny_node import TINY, Coevo, copy_of

SECTION = """
uncertainty:
  members: 2
  families: [witness/elsewhere]
"""
NODE = (
    TINY.replace("  structures: 5\n", "  structures: 5\n  uncertainty_fraction: 0.4\n").replace(
        "  min_frames: 4\n", "  min_frames: 4\n  worse_tolerance: 1.0\n"
    )
    + SECTION
)
OTHER = "witness_elsewhere"
MEMBERS = ["chgnet_1", "chgnet_2", OTHER]


pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def opinions(tmp_path_factory: pytest.TempPathFactory) -> Coevo:
    """A tiny node with a second opinion after two transitions; read it, do not change it."""
    directory = tmp_path_factory.mktemp("opinions")
    coevo = Coevo(directory, PYTHONPATH=install_witness(directory / "installed"))
    (directory / "tiny.yaml").write_text(NODE)
    (directory / "init.txt").write_text(coevo("init", "tiny.yaml").stdout)
    (directory / "run.txt").write_text(coevo("run", "tiny", "-n", "2").stdout)
    return coevo


def copied(source: Coevo, target: Path) -> Coevo:
    return copy_of(source.directory, target, PYTHONPATH=source.environment["PYTHONPATH"])


def shown(coevo: Coevo, ref: str) -> dict[str, Any]:
    return json.loads(coevo("show", ref, "--format", "json").stdout)


def queried(coevo: Coevo, ref: str, *arguments: str) -> list[dict[str, Any]]:
    return json.loads(coevo("query", ref, *arguments, "--format", "json").stdout)


def test_members_are_checkpoints_of_the_states(opinions: Coevo) -> None:
    seed, first, second = (shown(opinions, f"tiny@{ref}") for ref in ("main~2", "main~1", "main"))
    assert sorted(seed["checkpoints"]) == [f"committee/{OTHER}", "force_field", "generator"]
    assert sorted(second["checkpoints"]) == sorted([*(f"committee/{name}" for name in MEMBERS), "force_field", "generator"])
    other = [state["checkpoints"][f"committee/{OTHER}"]["sha256"] for state in (seed, first, second)]
    assert len(set(other)) == 1  # as published, in all of them
    # which families the first labels fall into is another matter on another class of machine: none may be for validation
    fitted = [pair for pair in ((first, seed), (second, first)) if pair[0]["metrics"]["force_field"]["frames"]["validation"]]
    assert fitted
    for state, before in fitted:
        own = [state["checkpoints"][name] for name in ("force_field", "committee/chgnet_1", "committee/chgnet_2")]
        assert len({each["sha256"] for each in own}) == 3  # other seeds, other splits
        parents = [before["checkpoints"].get(f"committee/{name}", before["checkpoints"]["force_field"]) for name in MEMBERS[:2]]
        assert [each["parent"] for each in own[1:]] == [each["sha256"] for each in parents]
    conditions = second["checkpoint_conditions"]
    assert {conditions[f"committee/{name}"] for name in MEMBERS} == {"here"}


def test_no_member_is_trained_on_what_is_test_for_the_state(opinions: Coevo) -> None:
    from coevo.makers.step import read_records
    from coevo.node_store.store import open_store
    from coevo.settings import read_settings

    store = open_store(read_settings(database=opinions.environment["COEVO_DATABASE"]))
    view = store.state("tiny@main")
    splits = view.manifest["labels"]
    assert {"test", "train"} <= set(splits.values())
    for slot, checkpoint in view.document["checkpoints"].items():
        if checkpoint.get("training_set") and slot != "generator":
            trained = {row["id"] for row in read_records(store, {"sha256": checkpoint["training_set"]})}
            assert trained
            assert {splits[identifier] for identifier in trained} <= {"train", "validation"}


def test_entries_say_what_each_member_says(opinions: Coevo) -> None:
    rows = queried(opinions, "tiny@main")
    assert rows
    for row in rows:
        assert sorted(row["energies_above_hull"]) == MEMBERS
        values = [row["energy_above_hull"], *row["energies_above_hull"].values()]
        assert row["energy_above_hull_std"] == pytest.approx(np.std(values, ddof=1), abs=1e-12)
        assert all(value >= 0 for value in values)
        own = sum(row["energies_above_hull"][name] <= 0.2 for name in MEMBERS[:2]) + row["is_stable"] > 1.5
        both = bool(own and row["energies_above_hull"][OTHER] <= 0.2)
        assert row["is_confidently_sun"] is (row["is_sun"] and both)


def test_the_first_state_has_one_opinion_of_another_family(opinions: Coevo) -> None:
    """A published CHGNet and a witness of other data: two families, before anything was fitted."""
    metrics = shown(opinions, "tiny@main~2")["metrics"]["committee"]
    assert metrics["agreement"]["voices"] == ["force_field", OTHER]
    assert metrics["force_field"]["training"] == "PBE of MPtrj"
    assert {name: member["reason"] for name, member in metrics["members"].items()} == {
        "chgnet_1": "not fitted yet",
        "chgnet_2": "not fitted yet",
        OTHER: "",
    }
    assert metrics["calibration"] is None


def test_offsets_bring_another_scale_to_that_of_the_node(opinions: Coevo) -> None:
    """The witness is CHGNet 0.2.0 shifted by element; what is left is what 0.2.0 and the node's model differ by."""
    member = shown(opinions, "tiny@main~2")["metrics"]["committee"]["members"][OTHER]
    offsets = dict(zip(member["offsets"]["elements"], member["offsets"]["values"], strict=True))
    assert sorted(offsets) == sorted(SHIFT)
    for symbol, shift in SHIFT.items():
        assert offsets[symbol] == pytest.approx(-shift, abs=0.1)
    assert member["offsets"]["residual_rms"] < 0.1


def test_filters_reach_the_spread_and_single_members(opinions: Coevo) -> None:
    everything = queried(opinions, "tiny@main")
    middle = sorted(row["energy_above_hull_std"] for row in everything)[len(everything) // 2]
    found = queried(opinions, "tiny@main", f"energy_above_hull_std >= {middle}", "--sort", "-energy_above_hull_std")
    assert [row["energy_above_hull_std"] for row in found] == sorted(
        (row["energy_above_hull_std"] for row in everything if row["energy_above_hull_std"] >= middle), reverse=True
    )
    stable = queried(opinions, "tiny@main", f"energies_above_hull.{OTHER} <= 0.2 AND is_sun = TRUE")
    assert {row["structure_id"] for row in stable} == {
        row["structure_id"] for row in everything if row["energies_above_hull"][OTHER] <= 0.2 and row["is_sun"]
    }
    assert queried(opinions, "tiny@main", "energies_above_hull.nobody < 1") == []
    done = opinions("query", "tiny@main", f'energies_above_hull.{OTHER} = "low"', code=2)
    assert "is a number and is compared with" in done.stderr
    text = opinions("query", "tiny@main", "--format", "csv").stdout.splitlines()[0]
    assert (
        f"energy_above_hull_std,is_confidently_sun,dynamically_stable,energies_above_hull.chgnet_1,energies_above_hull.chgnet_2,energies_above_hull.{OTHER}"
        in text
    )


def test_a_notebook_has_a_column_for_each_member(opinions: Coevo) -> None:
    from coevo.node_store.store import open_store
    from coevo.notebooks.states import State
    from coevo.settings import read_settings

    store = open_store(read_settings(database=opinions.environment["COEVO_DATABASE"]))
    state = State(store, store.state("tiny@main"))
    table, none = state.to_dataframe(), state.to_dataframe("nelements = 7")
    assert table.dtypes.to_dict() == none.dtypes.to_dict()
    rows = {row["structure_id"]: row for row in queried(opinions, "tiny@main")}
    for name in MEMBERS:
        column = table[f"energies_above_hull.{name}"]
        assert column.to_dict() == {key: row["energies_above_hull"][name] for key, row in rows.items()}
    assert table["energy_above_hull_std"].notna().all()
    assert table["is_confidently_sun"].dtype == "boolean"


def test_part_of_the_budget_goes_where_the_members_differ(opinions: Coevo) -> None:
    first, second = (shown(opinions, f"tiny@{ref}")["metrics"]["selection"] for ref in ("main~1", "main"))
    # the seed has one member, which is enough to differ from the force field
    assert first["structures"]["uncertainty"] == second["structures"]["uncertainty"] == 2
    assert "note" not in first
    labels = json.loads(opinions("show", "tiny@main", "--format", "json").stdout)["counts"]
    assert labels["labels"] > 0


def test_errors_on_new_labels_are_compared_with_what_members_had_said(opinions: Coevo) -> None:
    states = [shown(opinions, f"tiny@{ref}") for ref in ("main~2", "main~1", "main")]
    for before, state in pairwise(states):
        voices = sorted(slot.removeprefix("committee/") for slot in before["checkpoints"] if slot.startswith("committee/"))
        found = state["metrics"]["committee"]["calibration"]
        assert found["voices"] == voices
        n = state["metrics"]["force_field"]["prequential"]["all"]["n"]
        rmse = state["metrics"]["force_field"]["prequential"]["all"]["energy_rmse_mev_per_atom"]
        for quantity in ("energy", "force"):
            assert found[quantity]["n"] == n
            assert sum(group["n"] for group in found[quantity]["bins"]) == n
        squares = sum(group["n"] * group["error"] ** 2 for group in found["energy"]["bins"])
        assert (squares / n) ** 0.5 == pytest.approx(rmse, rel=1e-6)


def test_what_people_read(opinions: Coevo) -> None:
    metrics = shown(opinions, "tiny@main")["metrics"]["committee"]
    confident, sun = metrics["agreement"]["confidently_sun"], metrics["agreement"]["sun"]
    said = f"3 members; {confident} of {sun} S.U.N. entries confidently, by families with different training"
    for command in (("status", "tiny"), ("show", "tiny@main")):
        text = " ".join(opinions(*command).stdout.replace("│", " ").split())
        assert said in text
        assert "all call" in text
        assert "rank correlation" in text
    assert "teacher chgnet/r2scan" in opinions("show", "tiny@main").stdout
    table = opinions("query", "tiny@main").stdout
    assert "±" in table
    assert table.count("confident") == confident
    assert table.count("disputed") == sum(row["is_sun"] for row in queried(opinions, "tiny@main")) - confident
    entry = queried(opinions, "tiny@main")[0]["structure_id"]
    assert "E_hull by members" in opinions("show", "tiny@main", entry[:12]).stdout
    assert "(one family)" not in (opinions.directory / "run.txt").read_text()


def test_the_plan_counts_members(opinions: Coevo) -> None:
    rows = json.loads(opinions("run", "tiny", "--plan", "--format", "json").stdout)["steps"]
    jobs = {row["step"]: (row["jobs"], row["resources"]) for row in rows}
    assert jobs["train-member"] == (2, "gpu")
    assert jobs["re-evaluate-member"] == (4, "screen")
    assert jobs["spread"] == (3, "screen")
    assert jobs["calibrate"] == (1, "screen")


def test_verify_and_the_numbers_again(opinions: Coevo, tmp_path: Path) -> None:
    opinions("verify", "tiny")
    again = json.loads(opinions("verify", "tiny", "--signals", "--format", "json").stdout)["signals"]
    names = {row["name"] for row in again}
    assert {"median spread of E_hull", f"entries that {OTHER} calls stable", "calibration of energy, ratio"} <= names
    assert all(row["agrees"] for row in again)
    coevo = copied(opinions, tmp_path)
    sha256 = shown(coevo, "tiny@main")["checkpoints"]["committee/chgnet_1"]["sha256"]
    (tmp_path / "db" / "blobs" / sha256[:2] / sha256[2:]).unlink()
    done = coevo("verify", "tiny", code=1)
    assert "committee/chgnet_1 checkpoint" in done.stdout + done.stderr


def test_a_bundle_has_the_members(opinions: Coevo, tmp_path: Path) -> None:
    bundle = tmp_path / "tiny.zip"
    opinions("export", "tiny@main", str(bundle))
    there = Coevo(tmp_path, PYTHONPATH=opinions.environment["PYTHONPATH"])
    there("import", str(bundle))
    here, again = (shown(coevo, "tiny@main") for coevo in (opinions, there))
    assert again["id"] == here["id"]
    assert {c["sha256"] for c in again["checkpoints"].values()} == {c["sha256"] for c in here["checkpoints"].values()}
    there("verify", "tiny")
    refused = there("run", "tiny", code=2)  # the family of another package is asked about
    assert "uncertainty.families" in refused.stderr
    there("trust", "tiny", "--configuration", "--yes")
    assert queried(there, "tiny@main", "is_confidently_sun = TRUE") == queried(opinions, "tiny@main", "is_confidently_sun = TRUE")


def test_an_extension_that_a_member_does_not_know_is_refused_with_the_way_out(opinions: Coevo, tmp_path: Path) -> None:
    (tmp_path / "cl.cif").write_text("data_x\n")
    done = opinions("extend", "tiny@main", "--elements", "Cl", "--as", "more", "--references", str(tmp_path / "cl.cif"), code=2)
    text = " ".join(done.stderr.split())
    assert "got witness/elsewhere, which does not know Cl" in text
    assert "coevo init more --from-state tiny@" in text
    assert "--set 'uncertainty.families=[]'" in text


def test_the_report_has_the_section(opinions: Coevo, tmp_path: Path) -> None:
    opinions("report", "tiny", "--output", str(tmp_path / "report"), "--without-map")
    page = (tmp_path / "report" / "index.html").read_text()
    assert '<section id="opinions">' in page
    for name in ("agreement", "calibration"):
        assert (tmp_path / "report" / "figures" / f"{name}.svg").stat().st_size > 1000
        assert f'id="figure-{name}"' in page
    assert "on the word of" in page
    rows = (tmp_path / "report" / "data" / "agreement.csv").read_text().splitlines()
    assert len(rows) == 1 + 16


def test_garbage_collection_leaves_the_members(opinions: Coevo, tmp_path: Path) -> None:
    coevo = copied(opinions, tmp_path)
    coevo("gc", "--delete")
    coevo("verify", "tiny")


def test_labels_outside_an_iteration_are_judged_too(opinions: Coevo, tmp_path: Path) -> None:
    coevo = copied(opinions, tmp_path)
    coevo("label", "tiny", "--limit", "2")
    before, after = shown(coevo, "tiny@main~1"), shown(coevo, "tiny@main")
    for slot, checkpoint in before["checkpoints"].items():
        assert after["checkpoints"][slot]["sha256"] == checkpoint["sha256"]
    assert after["metrics"]["committee"]["agreement"]["voices"] == ["force_field", *MEMBERS]
    assert all("energies_above_hull" in row for row in queried(coevo, "tiny@main"))


def test_another_node_from_the_state_and_fewer_members(opinions: Coevo, tmp_path: Path) -> None:
    coevo = copied(opinions, tmp_path)
    coevo("init", "other", "--from-state", "tiny@main", "--set", "uncertainty.members=1")
    state = shown(coevo, "other@main")
    assert sorted(state["checkpoints"]) == ["committee/chgnet_1", f"committee/{OTHER}", "force_field", "generator"]
    before = shown(coevo, "tiny@main")["checkpoints"]
    assert state["checkpoints"]["committee/chgnet_1"]["sha256"] == before["committee/chgnet_1"]["sha256"]
    coevo("init", "alone", "--from-state", "tiny@main", "--set", "uncertainty.members=0", "--set", "uncertainty.families=[]",
          "--set", "selection.uncertainty_fraction=0")  # fmt: skip
    assert sorted(shown(coevo, "alone@main")["checkpoints"]) == ["force_field", "generator"]
    assert "energies_above_hull" not in queried(coevo, "alone@main")[0]
    assert "S.U.N. (one family)" in coevo("status", "alone").stdout


def test_a_merge_fits_the_members_on_the_labels_of_both(opinions: Coevo, tmp_path: Path) -> None:
    coevo = copied(opinions, tmp_path)
    coevo("branch", "tiny@main~1", "side")
    coevo("run", "tiny", "--branch", "side", "--seed", "3", "-n", "1")
    coevo("merge", "tiny@main", "tiny@side", "--into", "tiny@main")
    merged, left = shown(coevo, "tiny@main"), shown(coevo, "tiny@main~1")
    assert sorted(merged["checkpoints"]) == sorted(left["checkpoints"])
    member = merged["checkpoints"]["committee/chgnet_1"]
    if merged["metrics"]["committee"]["members"]["chgnet_1"]["fit"]["adopted"]:
        assert member["parent"] == left["checkpoints"]["committee/chgnet_1"]["sha256"]
    assert len(member["parents"]) == 2
    coevo("verify", "tiny")
