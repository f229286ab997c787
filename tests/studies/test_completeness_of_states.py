"""Completeness of a probe made by hand: which draws are one minimum, which the state has, and which phases were met."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hand_made_states import ELEMENTAL, Node, config_for, energy, simple
from pymatgen.analysis.phase_diagram import PDEntry, PhaseDiagram
from pymatgen.core import Lattice, Structure

from coevo.app.tables.completeness import completeness_lines
from coevo.configs.tree import NodeConfig
from coevo.flows.probe import Probe, probe_config
from coevo.makers.step import current_store, write_records
from coevo.node_store.canonical import structure_document, structure_id
from coevo.studies.completeness.measuring import measure
from coevo.studies.completeness.withheld import phases_to_meet
from crystal_piles import displaced, known_phases

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from coevo.node_store.views import StateView

BETA = "beta-Li3PS4 (ordered approximant)"
PHASES = known_phases()
NEAR = displaced(PHASES["Li2S"], 0.01, 2)
LAYERED = Structure(Lattice.hexagonal(4.0, 6.0), ["Li", "Li", "S"], [[1 / 3, 2 / 3, 0.2], [2 / 3, 1 / 3, 0.8], [0, 0, 0.5]])
CUBIC_LI3P = Structure.from_spacegroup(
    "Fm-3m", Lattice.cubic(6.0), ["Li", "Li", "P"], [[0.25, 0.25, 0.25], [0.5, 0.5, 0.5], [0, 0, 0]]
)

Drawn = tuple[Structure, float]
"""A crystal, and its energy above hull in eV/atom."""


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StateView]:
    """A node that withholds three phases: it has found one of them, and another structure of that formula."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COEVO_DATABASE", f"file:{tmp_path_factory.mktemp('completeness')}/db")
        patch.delenv("COEVO_ARTIFACTS", raising=False)
        node = {"name": "withheld", "elements": ["Li", "P", "S"], "references": "li-p-s"}
        references = {"exclude": ["Li2S", "Li3P", BETA]}
        made = Node(current_store(), NodeConfig.model_validate({"node": node, "references": references}))
        yield made.grow(made.seed(), "main", [NEAR, LAYERED], {})


def hull_energy(structure: Structure) -> float:
    """Of the state's hull at this composition, by pymatgen; eV/atom."""
    known = [simple(element, ELEMENTAL[element]) for element in ("Li", "P", "S")] + [NEAR, LAYERED]
    diagram = PhaseDiagram([PDEntry(s.composition, energy(s) * len(s)) for s in known])
    return float(diagram.get_hull_energy_per_atom(structure.composition))


def probe_of(state: StateView, batches: Sequence[Sequence[Drawn]], parents: tuple[str, ...] = ()) -> Probe:
    store, shards = current_store(), []
    for batch in batches:
        records: list[dict[str, Any]] = [
            {
                "id": structure_id(structure),
                "structure": structure_document(structure),
                "energy_per_atom": hull_energy(structure) + above,
                "origin": {"operator": "symmetric"} | ({"parents": list(parents)} if parents else {}),
            }
            for structure, above in batch
        ]
        reference = write_records(store, records)
        shards.append((({"candidates": reference, "rejected": {}}, {"relaxed": reference, "rejected": {"exploded": 1}}),))
    config = probe_config(NodeConfig.model_validate(state.document["config"]))
    force_field = state.document["checkpoints"]["force_field"]
    return Probe(config, force_field, sum(map(len, batches)), tuple(shards))  # type: ignore[arg-type]


FIRST = [(PHASES["Li2S"], 0.0), (LAYERED, 0.04), (CUBIC_LI3P, 0.03), (PHASES["Li3P"], -0.01), (CUBIC_LI3P, 0.2)]
SECOND = [(displaced(PHASES["Li2S"], 0.02, 5), 0.01), (CUBIC_LI3P, 0.02), (NEAR, 0.9)]


@pytest.fixture(scope="module")
def found(state: StateView) -> dict[str, Any]:
    return measure(state, probe_of(state, [FIRST, SECOND]), e_hull=0.05, phases=phases_to_meet(state))


def test_minima_are_counted_within_the_window(found: dict[str, Any]) -> None:
    overall, probe = found["overall"], found["probe"]
    assert (probe["relaxed"], probe["within_e_hull"], probe["rejected"]) == (8, 6, {"exploded": 2})
    assert [overall[name] for name in ("draws", "species", "singletons", "doubletons")] == [6, 4, 2, 2]
    assert overall["note"].startswith("too few draws")
    assert (overall["recapture"]["first"], overall["recapture"]["second"], overall["recapture"]["both"]) == (4, 2, 2)
    rows = {row["formula"]: row for row in found["formulas"]}
    assert {name: (row["draws"], row["species"]) for name, row in rows.items()} == {"Li2S": (3, 2), "Li3P": (3, 2)}


def test_what_the_state_has_of_the_probe(found: dict[str, Any]) -> None:
    node = found["overall"]["node"]
    assert (node["probe_minima_held"], node["as_references"], node["draws_of_them"]) == (2, 0, 3)
    assert (node["minima"], node["minima_met_by_probe"]) == (2, 2)
    assert node["share_of_draws"] == 0.5
    assert node["share_of_draws_95"] == pytest.approx([0.1181, 0.8819], abs=1e-4)  # 3 of 6 by Clopper and Pearson's table


def test_the_lowest_minimum_of_a_formula_and_who_met_it(state: StateView, found: dict[str, Any]) -> None:
    rows = {row["formula"]: row for row in found["formulas"]}
    lowest = rows["Li3P"]["lowest"]
    # the batch that found it says nothing of how often one does: 0 of the 1 other
    assert (lowest["of"], lowest["batches"], lowest["batches_that_met_it"]) == ("probe", 1, 0)
    assert lowest["energy_above_hull"] == pytest.approx(-0.01)
    assert lowest["share_95"] == pytest.approx([0.0, 0.975], abs=1e-4)
    # a probe that meets the layered one alone has missed what the state has
    higher = [[(LAYERED, 0.04)], [(LAYERED, 0.03)]]
    (row,) = measure(state, probe_of(state, higher), e_hull=0.05)["formulas"]
    assert (row["lowest"]["of"], row["lowest"]["batches_that_met_it"]) == ("entry", 0 if energy(NEAR) < energy(LAYERED) else 2)
    assert row["lowest"]["batches"] == 2
    (row,) = (row for row in measure(state, probe_of(state, [FIRST]), e_hull=0.05)["formulas"] if row["formula"] == "Li3P")
    assert (row["lowest"]["batches"], row["lowest"]["share_95"]) == (0, None)


def test_what_a_label_lifted_is_a_minimum_of_the_force_field_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Draws have energies of the force field, so the state's phases are compared by theirs: 0.45 eV/atom below the hull here."""
    monkeypatch.setenv("COEVO_DATABASE", f"file:{tmp_path}/db")
    node = Node(current_store(), config_for("lifted", hull="labelled"))
    identifier = structure_id(NEAR)
    state = node.grow(node.seed(), "main", [NEAR], {}, refuted={identifier: energy(NEAR) + 0.5})
    probe = probe_of(state, [[(displaced(NEAR, 0.01, 3), energy(NEAR) + 0.02 - hull_energy(NEAR))]])
    (row,) = measure(state, probe, e_hull=0.04)["formulas"]
    assert (row["node"]["minima"], row["node"]["minima_met_by_probe"]) == (1, 1)
    assert row["lowest"]["of"] == "entry"
    assert row["lowest"]["energy_above_hull"] == pytest.approx(0.05 - 0.5)


def test_withheld_phases_within_reach(found: dict[str, Any]) -> None:
    withheld = found["withheld"]
    assert (withheld["out_of_reach"], withheld["references"]) == ([BETA], [])  # 32 atoms
    assert withheld["probe"] == {"k": 2, "m": 2, "interval_95": pytest.approx([0.1581, 1.0], abs=1e-4)}
    assert withheld["node"] == {"k": 1, "m": 2, "interval_95": pytest.approx([0.0126, 0.9874], abs=1e-4)}
    assert [(row["name"], row["probe_draws"], row["probe_batches"]) for row in withheld["phases"]] == [
        ("Li2S", 3, 2),  # whatever the energy of the draw
        ("Li3P", 1, 1),
    ]


def test_enough_draws_have_numbers_and_bred_ones_have_none(state: StateView) -> None:
    batches = [FIRST, SECOND, FIRST]
    found = measure(state, probe_of(state, batches), e_hull=0.05)["overall"]
    assert (found["draws"], found["singletons"], found["note"]) == (10, 0, "")
    assert found["coverage"]["value"] == 1.0
    bred = measure(state, probe_of(state, batches, parents=("a" * 64,)), e_hull=0.05)["overall"]
    assert (bred["coverage"], bred["richness"]) == (None, None)
    assert bred["note"].startswith("the estimator fails here: 10 draws were made from others")


def test_atoms_far_from_older_batches_and_references(state: StateView, monkeypatch: pytest.MonkeyPatch) -> None:
    assert measure(state, probe_of(state, [FIRST]), e_hull=0.05)["environments"] is None
    calibration = {
        "delta": 0.06,
        "delta90": 0.1,
        "per_species": {},
        "reason": "",
        "crystals": [],
        "left_out": [],
        "elements": ["Li", "P", "S"],
        "not_held": [],
        "temperature": 300.0,
        "timestep": 2.0,
        "apart": 200.0,
        "snapshots": 3,
        "force_field": "ab" * 32,
        "quests": {"bandwidth": 0.015, "of_volume": 0.02},
        "told_apart": {"classes": 1, "pairs": 0, "left_out": 0, "largest": None, "mixed": []},
    }
    monkeypatch.setitem(state.document["metrics"], "environment_calibration", calibration)
    # the second batch brings the same Li2S, moved by 0.001 Å, and something new
    again = displaced(PHASES["Li2S"], 0.001, 3)
    found = measure(state, probe_of(state, [[(PHASES["Li2S"], 0.0)], [(again, 0.0), (CUBIC_LI3P, 0.02)]]), e_hull=0.05)
    first, second = found["environments"]["batches"]
    counts = {symbol: (share["count"], share["n"]) for symbol, share in second.items()}
    assert [share["count"] == share["n"] for share in first.values()] == [True] * 3  # the references are elements
    lithium = [sum(site.specie.symbol == "Li" for site in structure) for structure in (again, CUBIC_LI3P)]
    assert counts["Li"] == (lithium[1], sum(lithium))
    assert counts["P"][0] == counts["P"][1] == len(CUBIC_LI3P) - lithium[1]
    assert counts["S"] == (0, len(again) - lithium[0])
    assert second["S"]["low"] == 0.0
    [line] = [line for line in completeness_lines(found) if "δ90" in line]
    assert f"S 0.0 % of {counts['S'][1]} (95 %: 0.0 to " in line


def test_a_probe_without_a_low_minimum(state: StateView) -> None:
    found = measure(state, probe_of(state, [[(CUBIC_LI3P, 0.4)], []]), e_hull=0.05)
    assert (found["overall"]["draws"], found["overall"]["node"]["share_of_draws"]) == (0, None)
    assert [row["formula"] for row in found["formulas"]] == ["Li2S"]  # what the state has and the probe has not met
    assert found["formulas"][0]["lowest"]["batches_that_met_it"] == 0


def test_the_claim_is_of_the_generator_and_no_more(found: dict[str, Any]) -> None:
    claim = found["claim"]
    assert claim.startswith("of what the embedded generator, unfitted and without parents, can make at ≤ 20 atoms in Li-P-S")
    assert "tolerances" in claim
    assert claim.endswith("nothing is said of chemical space")


def test_the_claim_names_formulas_as_they_are_drawn(state: StateView) -> None:
    probe = probe_of(state, [FIRST])
    generator = probe.config.generator.model_copy(update={"compositions": ("Li20S10", "Li2S", "Li3P")})
    asked = measure(state, replace(probe, config=probe.config.model_copy(update={"generator": generator})), e_hull=0.05)
    assert " can make of Li2S, Li3P at " in asked["claim"]
    assert asked["probe"]["formulas"] == ["Li2S", "Li3P"]
