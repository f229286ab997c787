"""``coevo analyse``: its numbers against pymatgen's matcher and phase diagram, a state against what it stores, the command."""

from __future__ import annotations

import csv
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pymatgen.analysis.phase_diagram import PDEntry, PhaseDiagram
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Composition, Structure

from coevo.app import cli
from crystal_piles import cif_text, displaced, known_phases, write_extxyz, write_json, write_zip
from tiny_node import Coevo

PHASES = known_phases()
# eV/atom on no particular scale; the elements are among them
ENERGIES = {name: -3.0 - 0.37 * len(PHASES[name].composition) - 0.01 * i for i, name in enumerate(PHASES)}

ENERGY_OF_LI2S = -4.11196
"""eV/atom, of CHGNet 0.3.0 at the bundled geometry."""


class Outcome:
    def __init__(self, code: int, out: str, err: str):
        self.code, self.out, self.err = code, out, err

    @property
    def numbers(self) -> dict[str, Any]:
        return json.loads(self.out)


@pytest.fixture
def analyse(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    """The command in this process."""
    monkeypatch.setenv("COLUMNS", "160")

    def run(*arguments: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["coevo", "analyse", *map(str, arguments)])
        try:
            cli.main()
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return Outcome(code, captured.out, captured.err)

    return run


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "structures.csv").open() as file:
        return list(csv.DictReader(file))


def sun_of(numbers: dict[str, Any], threshold: float) -> int:
    """S.U.N. structures of all that was read, against references and pile together."""
    wanted = ("sun", "generated", threshold)
    (rate,) = [r for r in numbers["sun"]["hull"]["rates"] if (r["what"], r["population"], r["threshold"]) == wanted]
    assert rate["of"] == numbers["read"]
    return int(rate["count"])


def pile_of(seed: int = 3, copies: int = 4) -> list[tuple[str, Structure, float]]:
    """Phases and displaced copies of them, some as supercells, with energies that differ: name, structure, eV/atom."""
    rng = np.random.default_rng(seed)
    pile = []
    for name, phase in PHASES.items():
        if len(phase) > 8:
            continue
        for copy in range(copies):
            structure = phase.copy()
            if copy == 1:
                structure.make_supercell([2, 1, 1])
            structure = displaced(structure, [0.0, 0.02, 0.1, 0.4][copy % 4], int(rng.integers(2**31)))
            pile.append((f"{name} {copy}", structure, ENERGIES[name] + 0.02 * float(rng.random())))
    return pile


def as_items(pile: list[tuple[str, Structure, float]]) -> list[dict[str, Any]]:
    return [{"id": name, "structure": structure.as_dict(), "energy_per_atom": energy} for name, structure, energy in pile]


def references_file(path: Path) -> Path:
    return write_json(
        path,
        [{"name": name, "structure": PHASES[name].as_dict(), "energy_per_atom": ENERGIES[name] + 0.005} for name in PHASES],
    )


# --- numbers


def test_groups_are_those_of_pymatgen_in_the_order_of_energies(analyse: Any, tmp_path: Path) -> None:
    pile = pile_of()
    write_json(tmp_path / "pile.json", as_items(pile))
    done = analyse(tmp_path / "pile.json", "--no-fragment-veto", "--output", tmp_path / "out", "--format", "json")
    assert done.code == 0
    rows = {row["id"]: row for row in rows_of(tmp_path / "out")}
    taken = sorted((entry for entry in pile if not rows[entry[0]]["reason"]), key=lambda entry: (entry[2], entry[0]))
    groups = StructureMatcher(ltol=0.2, stol=0.3, angle_tol=5, primitive_cell=True, scale=True).group_structures(
        [structure for _, structure, _ in taken]
    )
    names = {id(structure): name for name, structure, _ in taken}
    expected = {names[id(member)]: names[id(group[0])] for group in groups for member in group}
    assert {name: rows[name]["representative"] for name in expected} == expected
    assert done.numbers["uniqueness"]["groups"] == len(groups) < len(taken)
    assert done.numbers["uniqueness"]["largest"] == max(map(len, groups))


def test_energies_above_hull_are_those_of_pymatgen(analyse: Any, tmp_path: Path) -> None:
    pile = pile_of()
    write_json(tmp_path / "pile.json", as_items(pile))
    known = references_file(tmp_path / "known.json")
    done = analyse(
        tmp_path / "pile.json", "--references", known, "--same-scale", "--output", tmp_path / "out", "--format", "json"
    )
    references = [PDEntry(PHASES[n].composition, (ENERGIES[n] + 0.005) * len(PHASES[n])) for n in PHASES]
    rows = {row["id"]: row for row in rows_of(tmp_path / "out") if not row["reason"]}
    mine = {name: PDEntry(s.composition, energy * len(s)) for name, s, energy in pile if name in rows}
    whole, of_references = PhaseDiagram([*references, *mine.values()]), PhaseDiagram(references)
    for name, entry in mine.items():
        assert float(rows[name]["energy_above_hull"]) == pytest.approx(whole.get_e_above_hull(entry), abs=1e-8)
        to_references = of_references.get_decomp_and_e_above_hull(entry, allow_negative=True)[1]
        assert float(rows[name]["energy_above_reference_hull"]) == pytest.approx(to_references, abs=1e-8)
    hull = done.numbers["hull"]
    above = [whole.get_e_above_hull(entry) for entry in mine.values()]
    assert hull["quantiles"]["q50"] == pytest.approx(float(np.quantile(above, 0.5)), abs=1e-8)
    assert hull["stable"] == sum(value <= 0.1 for value in above)
    assert hull["of_references"] == len(PHASES)


def test_stable_unique_novel_is_what_the_rows_say(analyse: Any, tmp_path: Path) -> None:
    pile = [*pile_of(), ("high", displaced(PHASES["Li2S"], 0.9, 4), ENERGIES["Li2S"] + 0.5)]
    write_json(tmp_path / "pile.json", as_items(pile))
    known = references_file(tmp_path / "known.json")
    options = ("--references", known, "--same-scale", "--stable", 0.01, "--output", tmp_path / "out", "--format", "json")
    numbers = analyse(tmp_path / "pile.json", *options).numbers
    rows = [row for row in rows_of(tmp_path / "out") if not row["reason"]]
    unique = [row for row in rows if row["representative"] == row["id"]]
    novel = [row for row in unique if not row["matched_reference"]]
    sun = [row for row in novel if float(row["energy_above_hull"]) <= 0.01]
    assert numbers["novelty"]["novel"] == len(novel) < len(unique)
    assert 0 < sun_of(numbers, 0.01) == len(sun) < len(novel)
    matcher = StructureMatcher(ltol=0.2, stol=0.3, angle_tol=5)
    structures = {name: structure for name, structure, _ in pile}
    for row in unique:
        if row["matched_reference"]:
            assert matcher.fit(PHASES[row["matched_reference"]], structures[row["id"]])


def test_energies_of_references_are_not_used_until_somebody_says_that_the_scale_is_one(analyse: Any, tmp_path: Path) -> None:
    compounds = [entry for entry in pile_of() if len(entry[1].composition) > 1]
    write_json(tmp_path / "pile.json", as_items(compounds))
    known = references_file(tmp_path / "known.json")
    numbers = analyse(tmp_path / "pile.json", "--references", known, "--format", "json").numbers
    assert numbers["hull"]["of_references"] == 0
    assert "no phase of Li, P, S alone" in numbers["hull"]["reason"]
    assert numbers["sun"] is None
    assert any("--same-scale" in note for note in numbers["notes"])
    assert numbers["novelty"]["references"] == len(PHASES)


def test_a_missing_element_is_named_before_the_work_begins(analyse: Any, tmp_path: Path) -> None:
    compounds = [entry for entry in pile_of() if len(entry[1].composition) > 1]
    write_json(tmp_path / "pile.json", as_items(compounds))
    known = [
        {"structure": s.as_dict(), "energy_per_atom": ENERGIES[n]} for n, s in PHASES.items() if s.composition.formula[:2] != "Li"
    ]
    done = analyse(tmp_path / "pile.json", "--references", write_json(tmp_path / "known.json", known), "--same-scale")
    assert done.code == 2
    assert "no phase of Li alone" in done.err
    assert done.out == ""


@pytest.mark.long
def test_numbers_do_not_depend_on_the_order_of_the_file_nor_on_workers(analyse: Any, tmp_path: Path) -> None:
    pile = pile_of(copies=8)
    options = ("--references", "li-p-s", "--environments", 100, "--format", "json")
    found = []
    for number, order in enumerate((pile, pile[::-1])):
        path = write_json(tmp_path / f"pile{number}.json", as_items(order))
        numbers = analyse(path, *options, "--workers", number + 1).numbers
        numbers.pop("source")
        numbers["hull"].pop("scale")
        found.append(numbers)
    assert found[0] == found[1]


# --- environments


def test_entropy_is_that_of_the_analysis_on_all_environments(analyse: Any, tmp_path: Path) -> None:
    from coevo.analysis.environments.descriptors import descriptors_of
    from coevo.analysis.environments.entropy import sampled_entropies
    from coevo.node_store.canonical import structure_id

    structures = [displaced(PHASES["beta-Li3PS4 (ordered approximant)"], 0.12, seed) for seed in range(6)]
    path = write_json(tmp_path / "p.json", [s.as_dict() for s in structures])
    tight = ("--stol", 0.01, "--ltol", 0.01)  # none of them is another's duplicate
    numbers = analyse(path, "--environments", 40, "--seed", 5, *tight, "--format", "json").numbers
    assert numbers["uniqueness"]["groups"] == 6
    ordered = sorted(structures, key=structure_id)
    X, _ = descriptors_of(ordered)
    species = [site.specie.symbol for s in ordered for site in s]
    expected = sampled_entropies(X, species, 40, 0.015, elements=["Li", "P", "S"], subsamples=5, seed=5)
    assert expected.total is not None
    assert numbers["environments"]["all"]["mean"] == expected.total.mean
    assert numbers["environments"]["all"]["standard_error"] == expected.total.standard_error
    for symbol, value in expected.per_species.items():
        found = numbers["environments"]["per_species"][symbol]
        assert (found and found["mean"]) == (value and value.mean)
    assert expected.per_species["P"] is None  # 24 environments are no sample of 40
    assert numbers["environments"]["environments"] == len(X)


def test_too_few_environments_are_no_signal(analyse: Any, tmp_path: Path) -> None:
    path = write_json(tmp_path / "p.json", [PHASES["Li2S"].as_dict()])
    assert analyse(path, "--environments", 4, "--format", "json").numbers["environments"]["all"] is None
    assert "no signal: 3 environments, 4 are needed" in analyse(path, "--environments", 4).out


# --- force field


def test_force_field_puts_pile_and_references_on_one_scale(analyse: Any, tmp_path: Path) -> None:
    from chgnet.model import CHGNet

    small = {name: s for name, s in PHASES.items() if len(s) <= 8}
    pile = [(f"{name}", displaced(s, 0.05, 1), 0.0) for name, s in small.items()]
    path = write_json(tmp_path / "p.json", as_items(pile))
    done = analyse(
        path, "--references", "li-p-s", "--force-field", "chgnet", "--output", tmp_path / "o", "--workers", 1, "--format", "json"
    )
    model = CHGNet.load(verbose=False)
    rows = {row["id"]: row for row in rows_of(tmp_path / "o")}
    for name, structure, _ in pile:
        assert float(rows[name]["energy_per_atom"]) == pytest.approx(float(model.predict_structure(structure)["e"]), abs=2e-5)
    assert done.numbers["hull"]["of_references"] == 14
    assert done.numbers["hull"]["reason"] is None
    assert any("put aside" in note for note in done.numbers["notes"])
    assert sun_of(done.numbers, 0.1) == 0
    assert done.numbers["novelty"]["known"] == len(pile)


def test_relaxation_brings_a_displaced_crystal_back(analyse: Any, tmp_path: Path) -> None:
    moved = displaced(PHASES["Li2S"], 0.15, 2)
    path = write_json(tmp_path / "p.json", [moved.as_dict()])
    options = ("--force-field", "chgnet", "--workers", 1, "--output", tmp_path / "o", "--format", "json")
    analyse(path, *options)
    (single,) = rows_of(tmp_path / "o")
    numbers = analyse(path, *options, "--relax").numbers
    (relaxed,) = rows_of(tmp_path / "o")
    assert float(relaxed["energy_per_atom"]) < float(single["energy_per_atom"]) - 0.01
    assert float(relaxed["energy_per_atom"]) == pytest.approx(ENERGY_OF_LI2S, abs=0.002)
    assert int(relaxed["space_group"]) > int(single["space_group"]) == 1
    assert relaxed["content"] == single["content"]  # of the geometry as read
    assert numbers["hull"]["scale"] == "mp2020, chgnet relaxed"
    assert analyse(path, "--relax").code == 2


# --- a state


def test_a_state_gives_the_numbers_that_it_stores(finished: Coevo) -> None:
    numbers = json.loads(finished("analyse", "tiny", "--format", "json").stdout)
    state = json.loads(finished("show", "tiny", "--format", "json").stdout)
    population = state["metrics"]["population"]
    assert numbers["read"] == population["entries"]
    assert numbers["stored"] == {
        "compared": population["entries"] + population["references"],
        "largest_e_hull_difference": 0.0,
        "other_representatives": 0,
        "other_references": 0,
    }
    assert sun_of(numbers, 0.2) == population["sun"]  # the threshold of the node
    entropy = state["metrics"]["entropy"]
    assert entropy is not None
    assert numbers["environments"]["all"]["mean"] == entropy["mean"]
    assert numbers["environments"]["environments"] == entropy["environments"]
    before = json.loads(finished("analyse", "tiny@main~1", "--format", "json").stdout)
    assert before["stored"]["largest_e_hull_difference"] == 0.0
    assert before["source"] != numbers["source"]
    table = finished("analyse", "tiny").stdout
    assert f"{population['sun']} (" in table
    assert "by the model alone, of all that was read" in " ".join(table.split())
    assert "a teacher, no first principles" in " ".join(table.split())


def test_what_a_node_has_is_not_new_to_it(finished: Coevo, tmp_path: Path) -> None:
    finished("query", "tiny", "--format", "json", "--output", str(tmp_path / "rows.json"))
    finished("query", "tiny", "--format", "extxyz", "--output", str(tmp_path / "own.extxyz"))
    own = json.loads(finished("analyse", str(tmp_path / "own.extxyz"), "--baseline", "tiny", "--format", "json").stdout)
    assert own["new_environments"]["looked_at"] > 0
    assert own["new_environments"]["new"] == 0
    squeezed = PHASES["Li7P3S11"] if "Li7P3S11" in PHASES else PHASES["beta-Li3PS4 (ordered approximant)"]
    squeezed = squeezed.copy().apply_strain(-0.06)
    path = write_json(tmp_path / "squeezed.json", [squeezed.as_dict()])
    foreign = json.loads(finished("analyse", str(path), "--baseline", "tiny", "--format", "json").stdout)["new_environments"]
    assert foreign["looked_at"] == len(squeezed)
    assert foreign["new_fraction"] > 0.5
    assert Counter({s: v["looked_at"] for s, v in foreign["per_species"].items()}) == Counter(
        {e.symbol: int(n) for e, n in squeezed.composition.items()}
    )


def test_a_state_takes_no_references(finished: Coevo) -> None:
    assert "leave --references" in finished("analyse", "tiny", "--references", "li-p-s", code=2).stderr


# --- the command


def test_table_names_rejections_and_what_is_missing(analyse: Any, tmp_path: Path) -> None:
    members = {"a.cif": cif_text(PHASES["Li2S"]), "b.cif": cif_text(PHASES["Li2S"]), "c.cif": "broken", "d.cif": ""}
    done = analyse(write_zip(tmp_path / "generated_crystals_cif.zip", members), "--references", "li-p-s")
    assert done.code == 0
    # as wide as the terminal: lines may be broken anywhere
    shown = " ".join(done.out.replace("│", " ").split())
    assert "4 read, 2 taken" in shown
    assert "2 unreadable" in shown
    assert "1 (50.0 %); the most frequent one is there 2 times" in shown
    assert "0 (0.0 %) of the unique" in shown
    assert "found again: Li2S" in shown
    assert "the structures have no energies" in shown


def test_a_pile_of_rubbish_is_an_error(analyse: Any, tmp_path: Path) -> None:
    """A table of zeros would hide that nothing was understood."""
    path = write_zip(tmp_path / "r.zip", {"a.cif": "x", "b.cif": "y"})
    for options in ((), ("--references", "li-p-s"), ("--force-field", "chgnet"), ("--format", "json")):
        done = analyse(path, *options, "--output", tmp_path / "out")
        assert done.code == 2
        assert "none of 2 structures can be read: 2 unreadable; a.cif: no data block with a structure" in done.err
    assert not (tmp_path / "out").exists()


def test_a_pile_of_crystals_that_are_all_rejected_is_none(analyse: Any, tmp_path: Path) -> None:
    path = write_zip(tmp_path / "r.zip", {"a.cif": cif_text(PHASES["Li2S"].copy().scale_lattice(2.0)), "b.cif": "y"})
    done = analyse(path, "--format", "json", "--output", tmp_path / "out")
    assert done.code == 0
    assert done.numbers["rejected"] == {"unreadable": 1, "volume_too_small": 1}
    assert [row["reason"] for row in rows_of(tmp_path / "out")] == ["volume_too_small", "unreadable"]


def test_output_holds_every_structure_in_the_order_of_the_file(analyse: Any, tmp_path: Path) -> None:
    pile = pile_of()
    items = as_items(pile)
    items.insert(2, {"id": "bad, with a comma", "structure": {}})
    done = analyse(write_json(tmp_path / "p.json", items), "--output", tmp_path / "new" / "out", "--format", "json")
    rows = rows_of(tmp_path / "new" / "out")
    assert [row["id"] for row in rows] == [item["id"] for item in items]
    assert json.loads((tmp_path / "new" / "out" / "summary.json").read_text()) == done.numbers
    assert [float(row["energy_per_atom"]) for row in rows if not row["reason"]] == [
        energy
        for row, (_, _, energy) in zip([r for r in rows if r["id"] != "bad, with a comma"], pile, strict=True)
        if not row["reason"]
    ]
    formulas = {name: Composition(structure.composition).reduced_formula for name, structure, _ in pile}
    assert all(row["formula"] == formulas[row["id"]] for row in rows if not row["reason"])
    (tmp_path / "file").write_text("x")
    assert analyse(tmp_path / "p.json", "--output", tmp_path / "file").code == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.zip"], "no such file"),
        (["empty.cif"], "is empty"),
        (["p.json", "--references", "nothing.json"], "no such file"),
        (["p.json", "--references", "salt.json"], "none of the structures consists of Li, S"),
        (["p.json", "--elements", "Li-Qq"], "'Qq' is not a chemical element"),
        (["p.json", "--baseline", "no-such-node"], "no-such-node"),
        (["no-such-node@main"], "no-such-node"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    analyse: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COEVO_DATABASE", f"file:{tmp_path / 'db'}")
    write_json(tmp_path / "p.json", [PHASES["Li2S"].as_dict()])
    write_json(tmp_path / "salt.json", [PHASES["Li2S"].copy().replace_species({"Li": "Na", "S": "Cl"}).as_dict()])
    (tmp_path / "empty.cif").touch()
    done = analyse(*arguments)
    assert (done.code, done.out) == (2, "")
    assert message in done.err
    assert len(done.err.strip().splitlines()) == 1


def test_mixed_energies_are_counted(analyse: Any, tmp_path: Path) -> None:
    structures = [PHASES["Li2S"], PHASES["Li3P"], PHASES["Li bcc"], PHASES["P black"], PHASES["alpha-S8 (Fddd)"]]
    write_extxyz(tmp_path / "all.extxyz", structures, [-4.0 * len(s) for s in structures[:-1]])
    numbers = analyse(tmp_path / "all.extxyz", "--format", "json").numbers
    assert numbers["hull"]["reason"].startswith("no phase of S alone")
    assert "1 of 5 structures have no energy and no E_hull" in numbers["notes"]
