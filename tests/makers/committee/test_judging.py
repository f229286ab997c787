"""What a member says, and what follows for the entries."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from coevo.analysis.signals.agreement import Training
from coevo.configs.tree import NodeSection
from coevo.configs.uncertainty_section import OtherForceField
from coevo.makers.committee.judging import judge_member, with_opinions
from coevo.makers.committee.population import Population, population_of
from coevo.node_store.canonical import structure_document

NODE = NodeSection(name="a", elements=("Li", "S"), references="x")
CHECKPOINT = {"family": "chgnet", "sha256": "a" * 64, "parent": "b" * 64}
OWN = Training("chgnet", "r2SCAN", "MP-r2SCAN", "the node's labels")
OTHER = Training("sevennet", "PBE", "MPtrj", "PBE of MPtrj")
CELL = Lattice.cubic(4.0)
LI, S = Structure(CELL, ["Li"], [[0, 0, 0]]), Structure(CELL, ["S"], [[0, 0, 0]])
LIS = Structure(CELL, ["Li", "S"], [[0, 0, 0], [0.5, 0.5, 0.5]])


def population(*energies: float) -> Population:
    """Lithium and sulphur as references, and entries of LiS with these energies, eV/atom."""
    structures = [LI, S, *[LIS] * len(energies)]
    own = np.array([-2.0, -4.0, *energies])
    ids = [f"{number}" * 64 for number in range(len(structures))]
    return Population(ids, structures, own, np.array([True, True, *[False] * len(energies)]))


def documents(found: Population, above: list[float], **more: Any) -> list[dict[str, Any]]:
    rows = []
    for place, (identifier, value) in enumerate(zip(found.ids, above, strict=True)):
        kind = "reference" if found.is_reference[place] else "entry"
        is_sun = kind == "entry" and value <= 0.1
        rows.append(
            {"structure_id": identifier, "kind": kind, "energy_above_hull": value, "is_sun": is_sun, "duplicate_of": None, **more}
        )
    return rows


def test_a_member_has_a_hull_of_its_own() -> None:
    found = population(-4.0, -3.9)
    said = judge_member(found, np.array([-1.0, -3.0, -2.5, -2.4]), CHECKPOINT, None, OWN, NODE)
    np.testing.assert_allclose(said.above, [0.0, 0.0, 0.0, 0.1], atol=1e-9)
    assert said.document["evaluated"] == 4
    assert not said.document["reason"]


def test_a_member_of_another_scale_is_brought_to_that_of_the_node() -> None:
    found = population(-4.0)
    chosen = OtherForceField("chgnet", "r2scan")
    said = judge_member(found, np.array([-7.0, -19.0, -14.0]), CHECKPOINT, chosen, OTHER, NODE)
    offsets = dict(zip(said.document["offsets"]["elements"], said.document["offsets"]["values"], strict=True))
    assert offsets == pytest.approx({"Li": 5.0, "S": 15.0})
    np.testing.assert_allclose(said.above, 0.0, atol=1e-9)


def test_who_has_no_elemental_reference_has_no_say() -> None:
    found = population(-4.0)
    said = judge_member(found, np.array([-7.0, np.nan, -14.0]), CHECKPOINT, OtherForceField("chgnet", "r2scan"), OTHER, NODE)
    assert said.above is None
    assert (
        "cannot be brought to the scale of the node: it has no energy of an elemental reference of S" in said.document["reason"]
    )
    assert judge_member(found, None, None, None, OWN, NODE).document["reason"] == "not fitted yet"
    missing = judge_member(found, np.full(3, np.nan), CHECKPOINT, None, OWN, NODE)
    assert (missing.above, missing.document["reason"]) == (None, "it has no energy of any structure")
    rows, agreement = with_opinions(documents(found, [0.0, 0.0, 0.0]), {"a": said}, OWN, 0.1)
    assert agreement["voices"] == ["force_field"]
    assert [row["energies_above_hull"] for row in rows] == [{}, {}, {}]
    assert {row["energy_above_hull_std"] for row in rows} == {None}


def test_confident_disputed_and_one_family() -> None:
    found = population(-4.0, -4.0, -4.0)
    rows = documents(found, [0.0, 0.0, 0.0, 0.05, 0.3])
    same = judge_member(found, np.array([-2.0, -4.0, -4.0, -4.0, -4.0]), CHECKPOINT, None, OWN, NODE)
    alone, agreement = with_opinions(rows, {"chgnet_1": same}, OWN, 0.1)
    assert {row["is_confidently_sun"] for row in alone} == {None}
    assert (agreement["independent"], agreement["confidently_sun"], agreement["sun"]) == (False, None, 2)

    other = judge_member(found, np.array([-2.0, -4.0, -4.0, -3.5, -4.0]), CHECKPOINT, None, OTHER, NODE)
    both, agreement = with_opinions(rows, {"chgnet_1": same, "sevennet": other}, OWN, 0.1)
    # the references are never S.U.N.; the third entry is not, by its own force field
    assert [row["is_confidently_sun"] for row in both] == [None, None, True, False, False]
    assert (agreement["independent"], agreement["confidently_sun"], agreement["sun"]) == (True, 1, 2)
    assert agreement["stable"] == [2, 3, 2]
    assert both[3]["energies_above_hull"] == pytest.approx({"chgnet_1": 0.0, "sevennet": 0.5})
    assert both[3]["energy_above_hull_std"] == pytest.approx(np.std([0.05, 0.0, 0.5], ddof=1))


def test_the_own_voice_is_the_force_fields_also_of_what_a_label_refutes() -> None:
    found = population(-3.2)
    rows = documents(found, [0.0, 0.0, 0.25])
    rows = [{**d, "energy_per_atom": energy} for d, energy in zip(rows, [-2.0, -4.0, -2.75], strict=True)]
    rows[-1] |= {"model_energy_per_atom": -3.2, "hull_status": "refuted", "is_sun": False}
    geometries = [
        {"kind": d["kind"], "id": d["structure_id"], "structure": structure_document(s)}
        for d, s in zip(rows, found.structures, strict=True)
    ]
    assert population_of(rows, geometries).own.tolist() == [-2.0, -4.0, -3.2]
    silent = judge_member(found, None, None, None, OWN, NODE)
    _, agreement = with_opinions(rows, {"a": silent}, OWN, 0.1)
    assert agreement["stable"] == [1], "0.25 eV/atom above the hull by the label, and 0.2 below it by the force field"
