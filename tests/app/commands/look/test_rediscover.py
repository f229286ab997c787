"""``coevo rediscover`` on states made by hand: what it says against pymatgen, its options, and a node that withholds phases."""

from __future__ import annotations

import csv
import io
import json
import sys
from typing import TYPE_CHECKING, Any

import pytest
from hand_made_states import ELEMENTAL, Node, describe, evaluation, simple
from pymatgen.analysis.phase_diagram import PDEntry, PhaseDiagram
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Composition, Lattice, Structure

from coevo.app import cli
from coevo.configs.references import ReferenceStructure, load_references
from coevo.configs.tree import NodeConfig
from coevo.errors import ReferenceDataError
from coevo.makers.step import current_store
from coevo.node_store.canonical import structure_document, structure_id
from coevo.node_store.store import open_store
from coevo.settings import Settings
from coevo.studies.rediscovery import load_targets, rediscover, withheld_targets
from crystal_piles import displaced, known_phases, write_extxyz
from tiny_node import Coevo

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from coevo.node_store.views import StateView

BETA = "beta-Li3PS4 (ordered approximant)"
WITHHELD = ("Li2S", "Li3P", BETA)
PHASES = known_phases(60)
SALT = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])

FAR, NEAR = displaced(PHASES["Li2S"], 0.06, 1), displaced(PHASES["Li2S"], 0.01, 2)
CUBIC_LI3P = Structure.from_spacegroup(
    "Fm-3m", Lattice.cubic(6.0), ["Li", "Li", "P"], [[0.25, 0.25, 0.25], [0.5, 0.5, 0.5], [0, 0, 0]]
)
LAYERED_LI2S = Structure(Lattice.hexagonal(4.0, 6.0), ["Li", "Li", "S"], [[1 / 3, 2 / 3, 0.2], [2 / 3, 1 / 3, 0.8], [0, 0, 0.5]])
ARGYRODITE = displaced(PHASES["Li7PS6 (cubic argyrodite model)"], 0.02, 3)


def config(name: str, **sections: Any) -> NodeConfig:
    node = {"name": name, "elements": ["Li", "P", "S"], "references": "li-p-s"}
    return NodeConfig.model_validate({"node": node, **sections})


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StateView]:
    """Iteration 2 of a node that withholds three phases: one is found twice, one in another structure, one by its motif alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COEVO_DATABASE", f"file:{tmp_path_factory.mktemp('rediscovery')}/db")
        patch.delenv("COEVO_ARTIFACTS", raising=False)
        node = Node(current_store(), config("withheld", references={"exclude": WITHHELD}))
        first = node.grow(node.seed(), "main", [FAR, CUBIC_LI3P], {})
        yield node.grow(first, "main", [NEAR, LAYERED_LI2S, ARGYRODITE], {})


class Outcome:
    def __init__(self, code: int, out: str, err: str):
        self.code, self.out = code, out
        self.err = " ".join(err.split())

    @property
    def document(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def command(state: StateView, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["coevo", "rediscover", *map(str, arguments)])
        try:
            cli.main()
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return Outcome(code, captured.out, captured.err)

    return run


def test_what_came_back_and_what_did_not(state: StateView) -> None:
    rows = {row.name: row for row in rediscover(state, withheld_targets(state))}
    assert sorted(rows) == sorted(WITHHELD)
    found = rows["Li2S"]
    assert (found.matches, found.first_iteration, found.entries_of_formula) == (2, 1, 3)
    assert (found.best.entry.id, found.best.entry.iteration) == (structure_id(NEAR), 2)
    assert found.best.displacement.rms == pytest.approx(StructureMatcher().get_rms_dist(PHASES["Li2S"], NEAR)[0], rel=1e-9)
    assert found.best.displacement.rms < StructureMatcher().get_rms_dist(PHASES["Li2S"], FAR)[0]
    missed = rows["Li3P"]
    assert not missed.by_structure
    assert (missed.nearest.id, missed.entries_of_formula) == (structure_id(CUBIC_LI3P), 1)
    assert not StructureMatcher().fit(PHASES["Li3P"], CUBIC_LI3P)
    assert missed.by_motif
    by_motif = rows[BETA]
    assert (by_motif.by_structure, by_motif.nearest, by_motif.entries_of_formula) == (False, None, 0)
    (ps4,) = by_motif.motifs
    assert (ps4.motif, ps4.entries, ps4.first_iteration, ps4.first_iteration_of_formula) == ("PS4", 1, 2, None)
    assert all(row.reference is None and row.energy_above_hull is None for row in rows.values())


def test_the_answer_does_not_depend_on_the_number_of_workers(state: StateView, monkeypatch: pytest.MonkeyPatch) -> None:
    targets = withheld_targets(state)
    alone = rediscover(state, targets, workers=1)
    monkeypatch.setattr("coevo.studies.rediscovery._FEW", 1)
    monkeypatch.setattr("coevo.studies.rediscovery._CHUNK", 2)
    assert rediscover(state, targets, workers=2) == alone


def test_the_table_says_it_in_a_line(command: Any) -> None:
    done = command("withheld")
    assert done.code == 0
    assert "1 of 3 withheld phases came back by structure, 3 of 3 by motif" in done.out
    row = next(line for line in done.out.splitlines() if line.strip().startswith("Li2S"))
    assert row.split()[1:3] == ["yes", "1"]
    assert structure_id(NEAR)[:8] in row
    assert f"({structure_id(CUBIC_LI3P)[:8]})" in done.out


def test_json_and_csv_hold_the_same(command: Any) -> None:
    document = command("withheld", "--format", "json").document
    assert document["summary"] == "1 of 3 withheld phases came back by structure, 3 of 3 by motif"
    assert (document["references"], document["other_elements"], document["iteration"]) == ([], [], 2)
    done = command("withheld", "--format", "csv")
    assert "came back" not in done.out
    rows = list(csv.DictReader(io.StringIO(done.out)))
    assert [row["name"] for row in rows] == [target["name"] for target in document["targets"]]
    target, row = next(pair for pair in zip(document["targets"], rows, strict=True) if pair[1]["name"] == "Li2S")
    assert row["entry"] == target["best"]["entry"]["id"]
    assert float(row["rms_angstrom"]) == target["best"]["displacement"]["rms_angstrom"]
    assert row["by_structure"] == "True"
    without = command("withheld", "--no-motifs", "--format", "json").document
    assert {target["by_motif"] for target in without["targets"]} == {None}


def test_targets_of_a_file_leave_out_other_elements_and_references(command: Any, tmp_path: Path) -> None:
    """The node's reference of lithium is simple cubic; the bundled one is not."""
    write_extxyz(tmp_path / "known.extxyz", [PHASES["Li2S"], SALT, Structure(Lattice.cubic(2.8), ["Li"], [[0, 0, 0]])])
    done = command("withheld", "--targets", tmp_path / "known.extxyz")
    assert "1 of 1 withheld phases came back by structure, 1 of 1 by motif" in done.out
    assert "left out, the state has them as references (--all shows them): Li" in done.err
    assert "left out, of other elements: NaCl" in done.err
    everything = command("withheld", "--targets", tmp_path / "known.extxyz", "--all")
    assert "is a reference" in everything.out
    assert "references (--all" not in everything.err


def test_a_reference_that_the_force_field_moved_is_still_a_reference(command: Any) -> None:
    """Its evaluation holds a geometry that matches the phase no more; the one that it was given as does."""
    made = Node(current_store(), config("moved"))
    black, away = PHASES["P black"], Structure(Lattice.cubic(3.0), ["P"], [[0, 0, 0]])
    crystals = [*(simple(element, ELEMENTAL[element]) for element in ("Li", "P", "S")), black]
    rows = [
        {"_id": structure_id(s), "name": s.formula, "source": "a test", "structure": structure_document(s), **describe(s)}
        for s in crystals
    ]
    documents = [evaluation(s, "reference", 0) for s in crystals]
    documents[-1] |= {"relaxed": structure_document(away)}
    made._commit("main", None, references=rows, evaluations=documents)
    document = command("moved", "--targets", "li-p-s", "--name", "P black", "--format", "json").document
    assert (document["targets"], document["references"], document["summary"]) == ([], ["P black"], "no withheld phases")


def test_single_phases_of_a_set(command: Any) -> None:
    done = command("withheld", "--targets", "li-p-s", "--name", "Li2S", "--name", BETA, "--no-motifs")
    assert "1 of 2 withheld phases came back by structure" in done.out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--targets", "nope"], "nope: no such file; allowed: a bundled set (elements, li-p-s, li-s-small) or a file"),
        (["--targets", "li-p-s", "--name", "Li2O"], "li-p-s: no phase is called 'Li2O'; allowed: 'Li bcc', 'Li2S'"),
        (["--name", "Li2S"], "--name chooses among --targets"),
        (["--against", "li-p-s", "--targets", "li-p-s"], "leave --targets, --name and --relax away"),
        (["--save", "x.json"], "--save keeps the structures of one --against SOURCE"),
        (["--against", "li-p-s", "--against", "li-p-s", "--save", "x.json"], "--save keeps the structures of one"),
        (["--against", "nope"], "--against nope: no such file"),
        (["--against", "optimade:nonsense"], "not an address"),
    ],
)
def test_mistakes_are_one_line(command: Any, arguments: list[str], told: str) -> None:
    done = command("withheld", *arguments)
    assert done.code == 2
    assert told in done.err
    assert done.out == ""


def test_phases_of_other_elements_alone_are_an_error(tmp_path: Path) -> None:
    write_extxyz(tmp_path / "salt.extxyz", [SALT])
    with pytest.raises(ReferenceDataError, match="none of 1 phases consists of Li, P, S alone"):
        load_targets(tmp_path / "salt.extxyz", ["Li", "P", "S"])


def test_a_node_that_withholds_nothing_needs_targets(command: Any) -> None:
    node = Node(current_store(), config("open"))
    node.seed()
    done = command("open")
    assert done.code == 2
    assert "open withholds no phase (references.exclude is empty)" in done.err
    document = command("open", "--targets", "li-p-s", "--name", "Li2S", "--format", "json").document
    (target,) = document["targets"]
    assert (target["matches"], target["nearest"], target["by_motif"]) == (0, None, False)


# --- relaxed by the state's force field


def test_relaxed_targets_lie_on_the_states_hull(state: StateView) -> None:
    targets, _ = load_targets("li-p-s", ["Li", "P", "S"], ["Li2S"])
    strained = ReferenceStructure("strained", targets[0].structure.copy().scale_lattice(1.1 * PHASES["Li2S"].volume), "a test")
    as_given, relaxed = (rediscover(state, [strained], relax=relax, motifs=False)[0] for relax in (False, True))
    assert as_given.best.displacement.volume_ratio == pytest.approx(1 / 1.1)
    assert relaxed.best.displacement.volume_ratio == pytest.approx(1.0, abs=0.03)
    assert as_given.energy_above_hull is None
    # the hull of the state's own numbers, by pymatgen; the energy of Li2S by CHGNet 0.3.0 is near -4.112 eV/atom
    entries = [
        PDEntry(Composition(d["formula"]), d["energy_per_atom"] * Composition(d["formula"]).num_atoms)
        for d in state.evaluations()
    ]
    above = PhaseDiagram(entries).get_e_above_hull(
        PDEntry(Composition("Li2S"), 3 * -4.112), allow_negative=True, check_stable=False
    )
    assert relaxed.energy_above_hull == pytest.approx(above, abs=0.01)


def test_a_target_that_cannot_be_relaxed_is_compared_as_given(state: StateView, monkeypatch: pytest.MonkeyPatch) -> None:
    from coevo.makers import checkpoints
    from coevo.models.contracts import Failure

    class Broken:
        def relax(self, structures: list[Structure], settings: Any, **options: Any) -> list[Any]:
            return [Failure("exploded", "the cell grew") for _ in structures]

    monkeypatch.setattr(checkpoints, "load_force_field", lambda store, checkpoint: Broken())
    targets, _ = load_targets("li-p-s", ["Li", "P", "S"], ["Li2S"])
    (row,) = rediscover(state, targets, relax=True, motifs=False)
    assert row.note == "compared as given: the relaxation failed (exploded: the cell grew)"
    assert (row.energy_above_hull, row.matches) == (None, 2)


# --- against a set


def test_what_is_new_against_a_set_names_the_set_its_size_and_the_date(command: Any, tmp_path: Path) -> None:
    kept = tmp_path / "kept.json"
    done = command("withheld", "--against", "li-p-s", "--save", kept)
    assert "2 of 5 S.U.N. entries are new against bundled set li-p-s (14 structures within Li-P-S, read 20" in done.out
    assert f"kept in {kept}" in done.err
    (again,) = command("withheld", "--against", kept, "--format", "json").document
    assert (again["new"], again["entries"], again["against"]["size"]) == (2, 5, 14)
    assert again["against"]["source"] == f"bundled set li-p-s, kept in {kept}"
    known = {entry["id"]: entry["known_as"] for entry in again["known"]}
    assert known == {
        structure_id(FAR): "Li2S",
        structure_id(NEAR): "Li2S",
        structure_id(ARGYRODITE): "Li7PS6 (cubic argyrodite model)",
    }
    rows = list(csv.DictReader(io.StringIO(command("withheld", "--against", kept, "--format", "csv").out)))
    assert {row["entry"]: row["known_as"] for row in rows} == known
    assert {row["set_size"] for row in rows} == {"14"}


def test_all_unique_entries_and_several_sets(command: Any, tmp_path: Path) -> None:
    write_extxyz(tmp_path / "one.extxyz", [LAYERED_LI2S, SALT])
    done = command("withheld", "--against", tmp_path / "one.extxyz", "--against", "li-s-small", "--all")
    assert "4 of 5 unique entries are new against" in done.out
    assert "3 of 5 unique entries are new against bundled set li-s-small" in done.out
    assert "one.extxyz: left out: 1 off_system" in done.err


# --- a node of the loop


@pytest.mark.long
def test_a_node_that_withholds_a_phase_runs_without_it(tmp_path: Path) -> None:
    """Fewer references, a first state, one turn of the loop; what the command finds is what pymatgen finds among the entries."""
    text = """
node: {name: withheld, elements: [Li, S], references: li-s-small, seed: 3}
references: {exclude: [Li2S]}
generator: {candidates: 6, shard_size: 6, max_atoms: 6, compositions: [Li2S], subsystem_fraction: 0.0}
screening: {fmax: 0.2, max_steps: 80}
curation: {max_e_hull: 1.0, stable_threshold: 0.2}
selection: {structures: 1}
training: {enabled: false}
maturity: {environments: 20, subsamples: 2, ruler_size: 4}
"""
    (tmp_path / "withheld.yaml").write_text(text)
    coevo = Coevo(tmp_path)
    first = coevo("init", "withheld.yaml").stdout
    assert "li-s-small without 1 phase, 2 structures" in first
    store = open_store(Settings(database=f"file:{coevo.database}"))
    assert store.state("withheld").document["metrics"]["reference_set"] == {"name": "li-s-small", "size": 2}
    empty = json.loads(coevo("rediscover", "withheld", "--format", "json").stdout)
    assert empty["summary"] == "0 of 1 withheld phases came back by structure, 0 of 1 by motif"
    coevo("run", "withheld", "-n", "1")
    live = coevo.database / "withheld" / "node.yaml"
    live.write_text(live.read_text().replace("exclude: [Li2S]", "exclude: []"))
    assert "references.exclude: [Li2S] -> []" in coevo("run", "withheld", "-n", "1", code=2).stderr
    (target,) = json.loads(coevo("rediscover", "withheld", "--format", "json").stdout)["targets"]
    (known,) = (r.structure for r in load_references("li-s-small", ["Li", "S"]) if r.name == "Li2S")
    view = store.state("withheld")
    entries = [view.structure(d["structure_id"]) for d in view.entries({"formula": "Li2S"})]
    matches = [StructureMatcher().fit(known, entry) for entry in entries]
    assert (target["entries_of_formula"], target["matches"]) == (len(entries), sum(matches))
    assert entries
