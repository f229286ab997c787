"""``coevo merge`` and ``coevo extend`` on a node with real labels and a real fit; killed, repeated, refused."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from pymatgen.core import Lattice, Structure
from pymatgen.io.cif import CifWriter

from coevo.node_store.store import open_store
from coevo.settings import Settings
from signalled_runs import killed
from tiny_node import Coevo, copy_of

if TYPE_CHECKING:
    from pathlib import Path


def shown(coevo: Coevo, ref: str) -> dict[str, Any]:
    return json.loads(coevo("show", ref, "--format", "json").stdout)


@pytest.fixture(scope="module")
def two_branches(finished: Coevo, tmp_path_factory: pytest.TempPathFactory) -> Coevo:
    """The finished node, and a branch that left it after the first transition with another seed."""
    coevo = copy_of(finished.directory, tmp_path_factory.mktemp("branches"))
    coevo("branch", "tiny~1", "other")
    live = coevo.database / "tiny" / "node.yaml"
    live.write_text(live.read_text().replace("seed: 7", "seed: 8"))
    coevo("run", "tiny", "-n", "1", "--branch", "other")
    return coevo


@pytest.mark.long
@pytest.mark.timing
def test_a_merge_killed_again_and_again_ends_in_the_same_state(two_branches: Coevo, tmp_path: Path) -> None:
    whole = copy_of(two_branches.directory, tmp_path / "whole")
    before = {ref: shown(whole, ref) for ref in ("tiny", "tiny@other")}
    done = whole("merge", "tiny", "tiny@other", "--into", "tiny")
    assert "merge tiny@" in done.stdout
    merged = shown(whole, "tiny")
    assert merged["parents"] == [before["tiny"]["id"], before["tiny@other"]["id"]]
    assert merged["iteration"] == 3
    for kind in ("force_field", "generator"):
        assert merged["checkpoints"][kind]["parents"] == [state["checkpoints"][kind]["sha256"] for state in before.values()]
    assert merged["metrics"]["union"]["labels"] > max(state["counts"]["labels"] for state in before.values())
    assert merged["metrics"]["force_field"]["prequential"]["all"]["n"] > 0
    assert whole("merge", "tiny", "tiny@other", "--into", "tiny").stderr.strip().endswith("nothing to do")
    other = copy_of(two_branches.directory, tmp_path / "killed")
    for step in ("unite", "train-force-field", "assess"):
        killed(other, "merge", "tiny", "tiny@other", "--into", "tiny", name=f"tiny/3/{step}")
    other("merge", "tiny", "tiny@other", "--into", "tiny")
    assert shown(other, "tiny")["id"] == merged["id"]
    # the merge is a state like any other: the loop goes on from it
    whole("run", "tiny", "-n", "1")
    assert shown(whole, "tiny")["parents"] == [merged["id"]]


@pytest.mark.long
def test_a_merge_without_training_is_evaluated_by_the_force_field_of_one_side(two_branches: Coevo, tmp_path: Path) -> None:
    coevo = copy_of(two_branches.directory, tmp_path)
    right = shown(coevo, "tiny@other")
    merging = ("merge", "tiny", "tiny@other", "--into", "tiny@both", "--no-train", "--force-field", "RIGHT", "--format", "json")
    merged = json.loads(coevo(*merging).stdout)
    assert merged["outcome"] == "merged"
    for kind in ("force_field", "generator"):
        assert merged["checkpoints"][kind]["sha256"] == right["checkpoints"][kind]["sha256"]
    rows = {
        ref: {row["structure_id"]: row for row in json.loads(coevo("query", ref, "--format", "json").stdout)}
        for ref in ("tiny", "tiny@other", "tiny@both")
    }
    assert set(rows["tiny@both"]) == set(rows["tiny"]) | set(rows["tiny@other"])
    for identity, row in rows["tiny@other"].items():
        assert rows["tiny@both"][identity]["energy_per_atom"] == row["energy_per_atom"]


@pytest.mark.long
def test_an_extended_node_runs_in_the_larger_system(finished: Coevo, tmp_path: Path) -> None:
    coevo = copy_of(finished.directory, tmp_path)
    licl = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.13), ["Li", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    cl2 = Structure.from_spacegroup("Cmce", Lattice.orthorhombic(6.24, 4.48, 8.26), ["Cl"], [[0, 0.13, 0.1]])
    (tmp_path / "chlorine.cif").write_text("\n".join(str(CifWriter(s)) for s in (licl, cl2)))
    extending = ("extend", "tiny", "--elements", "Cl", "--as", "with-cl", "--references", "chlorine.cif")
    coevo(*extending)
    before, after = shown(coevo, "tiny"), shown(coevo, "with-cl")
    assert after["parents"] == [before["id"]]
    assert after["counts"]["entries"] == before["counts"]["entries"]
    assert after["counts"]["references"] == before["counts"]["references"] + 2
    assert after["checkpoints"]["force_field"]["sha256"] == before["checkpoints"]["force_field"]["sha256"]
    assert "nothing to do" in coevo(*extending).stderr
    coevo("run", "with-cl", "-n", "1")
    grown = shown(coevo, "with-cl")
    # the offsets of chlorine were fitted on its labelled references, the others stayed
    with open_store(Settings(database=f"file:{coevo.database}")) as store:
        frozen, fitted = (next(iter(store.state(ref).manifest["offsets"].values())) for ref in ("tiny", "with-cl"))
    assert fitted["elements"] == ["Cl", "Li", "P", "S"]
    assert fitted["values"][1:] == frozen["values"]
    assert grown["metrics"]["force_field"]["warning"] == ""
    assert grown["metrics"]["labels"]["status"]["admitted"] > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["merge", "tiny", "tiny~1"], "Missing option '--into'"),
        (["merge", "tiny", "nowhere", "--into", "tiny"], "there is no node 'nowhere'"),
        (["merge", "tiny", "tiny~1", "--into", "BadName"], "node.name: got BadName, allowed: text matching"),
        (["merge", "tiny", "tiny~1", "--into", "tiny~1"], "a merge moves a branch; write NODE or NODE@BRANCH"),
        (["merge", "tiny", "tiny~1", "--into", "tiny@-x"], "'-x' cannot name a branch"),
        (["extend", "tiny", "--elements", "Xx", "--as", "x", "--references", "li-p-s"], "'Xx' is not a chemical element"),
        (["extend", "tiny", "--elements", "S", "--as", "x", "--references", "li-p-s"], "(Li, P, S are there)"),
        (["extend", "tiny", "--elements", "Cl", "--as", "x", "--references", "none.cif"], "no such file"),
        (["extend", "tiny", "--elements", "Cl", "--as", "x", "--references", "li-p-s"], "no structure of Cl alone"),
        (["extend", "tiny", "--elements", "", "--as", "x", "--references", "li-p-s"], "names no element"),
    ],
)
def test_bad_merges_and_extensions_are_one_error(finished: Coevo, arguments: list[str], message: str) -> None:
    done = finished(*arguments, code=2)
    assert message in " ".join(done.stderr.split())
    assert [path.parent.name for path in finished.database.glob("*/node.json")] == ["tiny"]
