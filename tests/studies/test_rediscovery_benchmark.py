"""The benchmark of withheld phases: its sets, its scores against counts by hand, arms that go on, and a run of it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hand_made_states import Node
from pymatgen.core import Lattice, Structure

from coevo.analysis.comparison.uniqueness import Item, match_references
from coevo.configs.references import ReferenceStructure, load_references
from coevo.configs.tree import CurationConfig, NodeConfig
from coevo.makers.populations.population import matching_of
from coevo.makers.step import current_store
from crystal_piles import displaced, known_phases

ROOT = Path(__file__).parents[2]
PHASES = known_phases(60)


@pytest.fixture
def withheld(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    from workloads import withheld

    return withheld


@pytest.fixture
def arms(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    from workloads import arms

    return arms


@pytest.mark.parametrize("name", ["li-p-s", "zn-s", "na-cl-o"])
def test_no_withheld_phase_is_another_one_or_a_reference_that_stays(withheld: ModuleType, name: str) -> None:
    chemistry = withheld.CHEMISTRIES[name]
    targets = chemistry.targets()
    sizes = [len(names) for names in chemistry.sets.values()]
    assert sizes == ([5, 5, 2] if name == "li-p-s" else [5])
    assert len({target.name for target in targets}) == len(targets) == sum(sizes)
    assert max(len(target.structure.get_primitive_structure()) for target in targets) <= withheld.LARGEST == 32
    limits = NodeConfig.model_validate(chemistry_config(chemistry)).screening
    volumes = [target.structure.volume / len(target.structure) for target in targets]
    assert limits.min_volume_per_atom < min(volumes)
    assert max(volumes) < limits.max_volume_per_atom  # otherwise no candidate could be it
    references = load_references(chemistry.references, chemistry.elements, exclude=chemistry.exclude)
    assert {each.name for each in references}.isdisjoint(target.name for target in targets)
    matching = matching_of(CurationConfig())
    looked = [Item(target.name, target.structure, 0.0) for target in targets]
    stay = [Item(each.name, each.structure, 0.0) for each in references]
    assert set(match_references(looked, stay, matching).values()) == {None}
    for number, item in enumerate(looked):
        assert match_references([item], [*looked[:number], *looked[number + 1 :]], matching) == {item.id: None}


def chemistry_config(chemistry: Any) -> dict[str, Any]:
    tree = chemistry.node()
    tree["node"]["name"] = "any"
    return tree


def test_what_came_back_and_in_which_iteration(withheld: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Li2S and the PS4 anion in the first iteration, Li3P in the second by its anion alone, as another structure."""
    monkeypatch.setenv("COEVO_DATABASE", f"file:{tmp_path}/db")
    config = {"node": {"name": "withheld", "elements": ["Li", "P", "S"], "references": "li-p-s"}}
    node = Node(current_store(), NodeConfig.model_validate(config))
    cubic = Structure.from_spacegroup(
        "Fm-3m", Lattice.cubic(6.0), ["Li", "Li", "P"], [[0.25, 0.25, 0.25], [0.5, 0.5, 0.5], [0, 0, 0]]
    )
    argyrodite = displaced(PHASES["Li7PS6 (cubic argyrodite model)"], 0.02, 3)
    first = node.grow(node.seed(), "main", [displaced(PHASES["Li2S"], 0.02, 1), argyrodite], {})
    view = node.grow(first, "main", [cubic, displaced(PHASES["Li2S"], 0.05, 2)], {})
    names = ("Li2S", "Li3P", "beta-Li3PS4 (ordered approximant)", "P4S3", "Li bcc")
    rows = withheld.withheld_rows(view, [ReferenceStructure(name, PHASES[name], "a test") for name in names])
    assert [(row["name"], row["iteration"], row["anion"]) for row in rows] == [
        ("Li2S", 1, 1),
        ("Li3P", None, 2),
        ("beta-Li3PS4 (ordered approximant)", None, 1),
        ("P4S3", None, None),
        ("Li bcc", None, None),
    ]
    assert [row["entries_of_formula"] for row in rows] == [2, 1, 0, 0, 0]
    assert not any(row["told"] for row in rows)
    assert [each.iteration for each in withheld.lineage(current_store(), "withheld")] == [0, 1, 2]
    # of the ten, which it was not told of: Li2S is the one that it has
    assert withheld.withheld_count(view) == {"withheld_found": 1, "withheld_of": 10}


def phase(iteration: int | None, anion: int | None) -> dict[str, Any]:
    return {"name": "a phase", "nsites": 2, "iteration": iteration, "anion": anion}


def arm(name: str, seed: int, seconds: float, phases: list[dict[str, Any]]) -> dict[str, Any]:
    """Three iterations of ten relaxations, each of so many CPU seconds."""
    course = [
        {"iteration": n, "relaxations": 10 * n, "cpu_seconds": seconds * n, "entries": 8 * n, "sun": 4 * n} for n in (1, 2, 3)
    ]
    return {"arm": name, "seed": seed, "chemistry": "any", "course": course, "sets": {"one": phases}, "judged": None}


ROWS = [
    arm("today", 0, 100.0, [phase(2, 1), phase(None, 2), phase(None, None)]),
    arm("today", 1, 100.0, [phase(None, 1), phase(None, None), phase(None, None)]),
    arm("dear", 0, 250.0, [phase(1, 1), phase(2, 2), phase(3, 3)]),
    arm("alone", 7, 100.0, [phase(1, 1), phase(None, None), phase(None, None)]),
]


def test_arms_are_compared_where_both_have_spent_as_much(withheld: ModuleType) -> None:
    assert withheld.first_hit(ROWS[0], "one") == 20
    assert withheld.first_hit(ROWS[1], "one") is None
    found = {row["scheme"]: row for row in withheld.compare(ROWS, "today")}
    assert {row["arm"] for row in found.values()} == {"dear"}  # no seed of "alone" has a run of today's
    assert found["relaxations"] | {"found": [3], "found_base": [1], "limits": [30], "seeds": [0], "of": 3} == found["relaxations"]
    # 300 CPU seconds are three iterations of the one and one of the other
    assert found["cpu_seconds"] | {"found": [1], "found_base": [1], "limits": [300.0]} == found["cpu_seconds"]


def test_shares_of_all_seeds_have_exact_intervals(withheld: ModuleType) -> None:
    today = withheld.summary(ROWS)[0]
    found = today["sets"]["one"]
    assert (today["arm"], today["seeds"], found["of"], found["found"], found["median"]) == ("today", [0, 1], 3, [1, 0], 0.5)
    assert found["interval"] == [0.004, 0.641]  # 1 of 6: table of Clopper and Pearson
    assert (found["anions"], found["first_hit"]) == ([2, 1], [20, None])
    assert (today["relaxations"], today["cpu_seconds"]) == ([30, 30], [300.0, 300.0])


def test_the_tables_say_what_the_record_has(withheld: ModuleType) -> None:
    from workloads.rediscovery_tables import tables

    text = tables({"arms": ROWS, "leave_one_out": []}, "today")
    assert "| today | 0, 1 | 1, 0 | 17% [0%, 64%] | 2, 1 | 20, – | 30, 30 | 300, 300 | 24, 24 | 12, 12 | – |" in text
    assert "| dear | one | CPU seconds | 300 | 1 | 1 | 3 |" in text
    for part in text.split("\n\n")[1:]:
        assert len({line.count("|") for line in part.strip().splitlines()}) == 1


def test_the_clock_of_a_run_that_is_killed_keeps_what_it_had(
    arms: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cpu_seconds.json").write_text("[3.5]")  # of an earlier form
    spent = iter([10.0, 12.0, 12.5, 20.0, 21.0])
    monkeypatch.setattr(arms, "cpu_seconds", lambda: next(spent))
    with arms.Clock(tmp_path, 1):
        pass
    killed = arms.Clock(tmp_path, 2)
    killed._write()  # a tick, and no end
    assert arms.read_clock(tmp_path) == [
        {"iteration": 0, "cpu_seconds": 3.5},
        {"iteration": 1, "cpu_seconds": 2.0},
        {"iteration": 2, "cpu_seconds": 7.5},
    ]


def test_a_folder_with_another_arm_is_refused(arms: ModuleType, tmp_path: Path) -> None:
    node = {"name": "any", "elements": ["Li", "S"], "references": "li-p-s"}
    (tmp_path / "any.yaml").write_text(json.dumps({"node": node, "generator": {"max_atoms": 24}}))
    with pytest.raises(SystemExit, match="an arm of another configuration was run here"):
        arms.open_arm(tmp_path, {"node": node, "generator": {"max_atoms": 32}})
    assert not (tmp_path / "db").exists()


@pytest.mark.long
def test_a_quick_run_goes_on_where_it_was(arms: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    import rediscovery

    monkeypatch.setenv("COEVO_WORKERS", "1")
    monkeypatch.setenv("COEVO_DATABASE", "none")  # it sets its own
    monkeypatch.setattr(rediscovery, "RESULT", tmp_path / "none.json")
    place = tmp_path / "li-p-s" / "today-0-quick"

    def run(*more: str) -> str:
        monkeypatch.setattr(sys, "argv", ["rediscovery.py", "--folder", str(tmp_path), "--quick", *more])
        rediscovery.main()
        return capsys.readouterr().out

    run("--iterations", "1", "--run-only")
    assert not (place / "score.json").exists()
    first = arms.read_clock(place)
    text = run("--iterations", "2", "--judge", "chgnet:0.3.0", "--judged", "4")
    assert arms.read_clock(place)[: len(first)] == first
    score = json.loads((place / "score.json").read_text())
    assert [(step["iteration"], step["relaxations"]) for step in score["course"]] == [(1, 12), (2, 24)]
    assert score["course"][1]["cpu_seconds"] == pytest.approx(
        sum(part["cpu_seconds"] for part in arms.read_clock(place)), abs=0.2
    )
    assert [each["n"] for each in score["judged"]["candidates"]] == [4, 4]
    assert all(each["q25"] <= each["q50"] <= each["q75"] for each in score["judged"]["candidates"])
    assert "| today | 0 | 1 | 4 |" in text
    before = arms.read_clock(place)
    run("--iterations", "2")
    assert arms.read_clock(place) == before  # nothing was run again
