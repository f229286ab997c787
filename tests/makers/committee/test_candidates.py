"""Where the members of a parent differ over candidates."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from coevo.configs.tree import NodeSection, SelectionConfig
from coevo.configs.uncertainty_section import UncertaintyConfig
from coevo.makers.committee.candidates import NO_MEMBERS, candidate_spreads
from coevo.makers.select import SelectMaker
from coevo.makers.step import current_store, write_records
from coevo.node_store.canonical import structure_document

if TYPE_CHECKING:
    from pathlib import Path

NODE = NodeSection(name="a", elements=("Li", "S"), references="x")
ASKED = UncertaintyConfig(members=1, families=("chgnet/r2scan",))
OFFSETS = {"elements": ["Li", "S"], "values": [5.0, 15.0], "rank": 2, "residual_rms": 0.0, "n": 2}
CRYSTAL = Structure(Lattice.cubic(4.0), ["Li", "S"], [[0, 0, 0], [0.5, 0.5, 0.5]])


@pytest.fixture
def evaluated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Energies of three candidates: one that both members agree on, one that they differ about, one that one of them lacks."""
    monkeypatch.setenv("COEVO_DATABASE", f"file:{tmp_path}")
    own = [("a", -4.0), ("b", -4.3), ("c", -4.0)]
    other = [("a", -14.0), ("b", -14.1), ("c", None)]

    def shard(rows: list[tuple[str, float | None]]) -> list[dict[str, Any]]:
        return [write_records(current_store(), [{"id": i, "energy_per_atom": e, "note": ""} for i, e in rows])]

    return {"members": {"chgnet_1": shard(own), "chgnet_r2scan": shard(other)}, "runs": []}


def rows() -> dict[str, dict[str, Any]]:
    return {name: {"id": name, "structure": structure_document(CRYSTAL), "energy_per_atom": -4.0} for name in "abc"}


def parent(members: Any) -> Any:
    return SimpleNamespace(document={"metrics": {"committee": {"members": members}} if members is not None else {}})


def test_energies_of_other_families_are_compared_on_the_scale_of_the_node(evaluated: dict[str, Any]) -> None:
    found = candidate_spreads(rows(), evaluated, parent({"chgnet_r2scan": {"offsets": OFFSETS}}), NODE, ASKED)
    assert found["a"] == pytest.approx(0.0, abs=1e-9)
    assert found["b"] == pytest.approx(np.std([-4.0, -4.3, -4.1], ddof=1))
    assert found["c"] == pytest.approx(0.0, abs=1e-9)


def test_a_family_without_offsets_in_the_parent_does_not_count(evaluated: dict[str, Any]) -> None:
    found = candidate_spreads(rows(), evaluated, parent({"chgnet_r2scan": {"offsets": None}}), NODE, ASKED)
    assert found["b"] == pytest.approx(np.std([-4.0, -4.3], ddof=1))
    for hostile in ("x", {"chgnet_r2scan": [1]}, {"chgnet_r2scan": {"offsets": OFFSETS | {"values": [1e308, 1.0]}}}):
        assert candidate_spreads(rows(), evaluated, parent(hostile), NODE, ASKED) == found
    alone = {"members": {"chgnet_r2scan": evaluated["members"]["chgnet_r2scan"]}, "runs": []}
    assert candidate_spreads(rows(), alone, parent(None), NODE, ASKED) == {}
    assert candidate_spreads(rows(), {"members": {}, "runs": []}, parent(None), NODE, ASKED) == {}


def test_without_members_the_share_goes_to_the_others_and_that_is_said() -> None:
    select = SelectMaker(node=NODE, selection=SelectionConfig(uncertainty_fraction=0.5), uncertainty=ASKED)
    assert select._spreads({}, None, "0" * 64) == ({}, NO_MEMBERS)
    assert SelectMaker(node=NODE)._spreads({}, None, "0" * 64) == ({}, "")
