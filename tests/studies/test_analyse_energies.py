"""Energies of files: pymatgen's entries with their corrections, calculations that never meet in one hull, other keys."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pymatgen.core import Lattice, Structure
from pymatgen.entries.computed_entries import (
    CompositionEnergyAdjustment,
    ComputedStructureEntry,
    ConstantEnergyAdjustment,
    ManualEnergyAdjustment,
    TemperatureEnergyAdjustment,
)

from coevo.app.cli import main
from coevo.errors import AnalysisError
from coevo.processes import Workers
from coevo.studies.analyse.batch import Batch, add_references, batch_from_file
from coevo.studies.analyse.energies import above_hull
from coevo.studies.piles.parsing import limits_for
from coevo.studies.piles.rows import Row

LI = Structure(Lattice.cubic(3.43), ["Li", "Li"], [[0, 0, 0], [0.5, 0.5, 0.5]])
S = Structure(Lattice.cubic(3.2), ["S"], [[0, 0, 0]])
LI2S = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.7), ["Li", "S"], [[0.25, 0.25, 0.25], [0, 0, 0]])
LIS = Structure(Lattice.cubic(3.9), ["Li", "S"], [[0, 0, 0], [0.5, 0.5, 0.5]])
ENERGIES = {"li": (LI, -3.8), "s": (S, -4.0), "li2s": (LI2S, -49.2), "lis": (LIS, -7.0)}


def entry(name: str, run_type: str | None = "GGA", adjustments: list[Any] | None = None, **changes: Any) -> dict[str, Any]:
    structure, energy = ENERGIES[name]
    parameters = {} if run_type is None else {"run_type": run_type}
    made = ComputedStructureEntry(structure, energy, energy_adjustments=adjustments, parameters=parameters, entry_id=name)
    return {key: value for key, value in {**made.as_dict(), **changes}.items() if value != "left out"}


def pile(tmp_path: Path, items: Any, key: str | None = None) -> Batch:
    from dataclasses import replace

    path = tmp_path / "pile.json"
    path.write_text(items if isinstance(items, str) else json.dumps(items))
    return batch_from_file(path, replace(limits_for(None, 200), energy_key=key), Workers(1))


def rows(batch: Batch) -> dict[str, Row]:
    return {row.id: row for row in batch.rows}


@pytest.mark.parametrize(
    "adjustments",
    [
        [ConstantEnergyAdjustment(-0.503)],
        [ManualEnergyAdjustment(-1.5)],
        [CompositionEnergyAdjustment(-0.503, 4, name="MP2020 anion correction (S)")],
        [TemperatureEnergyAdjustment(-1e-4, 300, 12)],
        [ConstantEnergyAdjustment(-0.5), CompositionEnergyAdjustment(-0.1, 4)],
        [],
    ],
)
@pytest.mark.parametrize("without", ["nothing", "correction", "energy_adjustments"])
def test_corrections_are_those_of_pymatgen(tmp_path: Path, adjustments: list[Any], without: str) -> None:
    expected = ComputedStructureEntry(LI2S, -49.2, energy_adjustments=adjustments).energy_per_atom
    (row,) = pile(tmp_path, [entry("li2s", adjustments=adjustments, **{without: "left out"})]).rows
    assert row.energy_per_atom == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"correction": -0.1}, "correction is -0.1 eV and its energy_adjustments are -0.503 eV together"),
        ({"correction": "a lot"}, "correction is 'a lot'"),
        ({"energy_adjustments": [{"@class": "Popen", "@module": "subprocess", "value": 1}], "correction": "left out"}, "'Popen'"),
        ({"energy_adjustments": [{"@class": "ConstantEnergyAdjustment"}], "correction": "left out"}, "without value"),
        ({"energy_adjustments": "none"}, "energy_adjustments is no list"),
        ({"energy_per_atom": -4.1}, "energy_per_atom -4.1"),
        ({"total_energy": 3.0}, "energy and total_energy differ"),
        ({"data": {"run_type": "R2SCAN"}}, "several calculations: GGA, R2SCAN"),
    ],
)
def test_an_entry_that_contradicts_itself_has_no_energy(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    batch = pile(tmp_path, [entry("li2s", adjustments=[ConstantEnergyAdjustment(-0.503)], **changes), entry("li")])
    row = rows(batch)["li2s"]
    assert (row.reason, row.energy_per_atom) == (None, None)  # its geometry is as good as any
    assert words in (row.detail or "")
    assert any(note.startswith("energies not taken: 1 unclear_energy (of li2s: ") for note in batch.notes)


@pytest.mark.parametrize(
    ("items", "words"),
    [
        ([entry("li"), entry("s"), entry("lis"), entry("li2s", "R2SCAN")], "GGA (3 structures), R2SCAN (1 structures)"),
        ([entry("li"), entry("s"), entry("lis"), entry("li2s", "GGA_U")], "GGA (3 structures), GGA+U (1 structures)"),
        (
            [entry("li"), entry("s"), entry("lis", parameters={"run_type": "GGA", "hubbards": {"Li": 2.0}})],
            "GGA+U (1 structures)",
        ),
        (
            [entry("li"), entry("s"), entry("lis", parameters={"run_type": "GGA", "is_hubbard": True})],
            "GGA+U (1 structures)",
        ),
        ([entry("li"), entry("s"), entry("lis", None, data={"functional": "PBEsol"})], "PBESOL (1 structures)"),
        ([entry("li"), entry("s"), {**entry("lis", None), "calc_type": "R2SCAN Static"}], "R2SCAN (1 structures)"),
        (
            [entry("li"), entry("s"), entry("lis"), entry("li2s", adjustments=[ManualEnergyAdjustment(-2.0)])],
            "lis (LiS) has none",
        ),
    ],
)
def test_energies_of_two_scales_make_no_hull(tmp_path: Path, items: list[Any], words: str) -> None:
    batch = pile(tmp_path, items)
    report = above_hull(batch)
    assert report.reason is not None
    assert words in report.reason
    assert all(row.energy_above_hull is None for row in batch.rows)


@pytest.mark.parametrize(
    "items",
    [
        [entry(name) for name in ENERGIES],
        [entry(name, "PBE" if name == "li" else "GGA") for name in ENERGIES],
        [{**entry(name), "calc_type": "GGA Static", "task_type": "Structure Optimization"} for name in ENERGIES],
        [entry("li"), entry("s"), entry("lis", adjustments=[ManualEnergyAdjustment(-0.5)])],  # elements have no correction
        [
            entry("li"),
            entry("s"),
            entry("lis", "GGA+U", [ConstantEnergyAdjustment(-0.5, name="MP2020 GGA/GGA+U mixing correction (Li)")]),
        ],
        [{"structure": s.as_dict(), "energy": e, "id": n, "thermo_type": "GGA_GGA+U"} for n, (s, e) in ENERGIES.items()],
    ],
)
def test_energies_of_one_scale_make_a_hull(tmp_path: Path, items: list[Any]) -> None:
    batch = pile(tmp_path, items)
    assert above_hull(batch).reason is None
    assert rows(batch)["li"].energy_above_hull == pytest.approx(0.0)


def test_references_of_another_calculation_make_no_hull_with_the_pile(tmp_path: Path) -> None:
    batch = pile(tmp_path, [entry("lis"), entry("li2s")])
    (tmp_path / "known.json").write_text(json.dumps([entry("li", "R2SCAN"), entry("s", "R2SCAN")]))
    add_references(batch, str(tmp_path / "known.json"), limits_for(None, 200), Workers(1), same_scale=True)
    reason = above_hull(batch).reason
    assert reason is not None
    assert "GGA (2 structures), R2SCAN (2 structures)" in reason


def test_what_is_not_said_is_told(tmp_path: Path) -> None:
    plain = {"structure": LIS.as_dict(), "energy_per_atom": -3.5, "id": "plain"}
    notes = pile(tmp_path, [entry("li"), entry("li2s", adjustments=[ManualEnergyAdjustment(-2.0)]), plain]).notes
    assert "energies stand under several names, see that they are of one calculation: energy (2), energy_per_atom (1)" in notes
    assert "1 of 3 energies do not say which calculation they are of, the others do" in notes
    assert "1 of 3 energies do not say whether they hold a correction, and others hold one" in notes


def test_other_names_of_energies(tmp_path: Path) -> None:
    items = [{"structure": LI.as_dict(), "id": "a", "final_energy": -3.8, "final_energy_per_atom": -1.9}]
    batch = pile(tmp_path, items)
    assert batch.rows[0].energy_per_atom is None
    assert any("found final_energy, final_energy_per_atom; looked for energy_per_atom, energy" in note for note in batch.notes)
    for key in ("final_energy", "final_energy_per_atom"):
        assert pile(tmp_path, items, key).rows[0].energy_per_atom == pytest.approx(-1.9)
    assert any("no number absent (--energy-key)" in note for note in pile(tmp_path, items, "absent").notes)


XYZ = 'Lattice="3.43 0 0 0 3.43 0 0 0 3.43" Properties=species:S:1:pos:R:3 '


def frames(tmp_path: Path, *infos: str, key: str | None = None) -> Batch:
    from dataclasses import replace

    path = tmp_path / "pile.extxyz"
    path.write_text("".join(f"2\n{XYZ}{info}\nLi 0 0 0\nLi 1.715 1.715 1.715\n" for info in infos))
    return batch_from_file(path, replace(limits_for(None, 200), energy_key=key), Workers(1))


def test_frames_need_neither_forces_nor_a_stress(tmp_path: Path) -> None:
    batch = frames(
        tmp_path,
        'energy=-3.8 stress="0 0 0 0 0 0"',
        "REF_energy=-3.8 MACE_energy=9",
        "energy=-139.643 energy_unit=mHa",
        "stress=bad",
    )
    assert [row.energy_per_atom for row in batch.rows] == [pytest.approx(-1.9, abs=1e-4)] * 3 + [None]
    assert all(row.reason is None and row.detail is None for row in batch.rows)


def test_frames_whose_energy_is_not_clear_have_none(tmp_path: Path) -> None:
    batch = frames(tmp_path, "energy=-3.8", "MACE_energy=-3.8", "energy=-3.8 total_energy=-5", "energy=1 energy_unit=furlong")
    assert [row.energy_per_atom is None for row in batch.rows] == [False, True, True, True]
    (note,) = [note for note in batch.notes if note.startswith("energies not taken")]
    assert note.startswith(
        "energies not taken: 1 missing_energy, 1 unclear_keys, 1 unknown_unit (of 2: no energy; found MACE_energy"
    )
    named = frames(tmp_path, "energy=-3.8 foo_energy=-4", "MACE_energy=-3.8 foo_energy=-4", key="foo_energy")
    assert [row.energy_per_atom for row in named.rows] == [-2.0, -2.0]


def test_frames_of_several_functionals_make_no_hull(tmp_path: Path) -> None:
    reason = above_hull(frames(tmp_path, "energy=-3.8 xc=PBE", "r2scan_energy=-9")).reason
    assert reason is not None
    assert "GGA (1 structures), R2SCAN (1 structures)" in reason


def test_frames_that_are_no_crystals_are_rejected(tmp_path: Path) -> None:
    box = frames(tmp_path, "energy=-3.8", 'energy=-1 pbc="T T F"', "config_type=IsolatedAtom")
    assert [row.reason for row in box.rows] == [None, "not_periodic", "not_periodic"]


@pytest.mark.parametrize(
    ("items", "words"),
    [
        (
            [{"jid": "a", "atoms": {"lattice_mat": []}, "optb88vdw_total_energy": -1.0}],
            "found jid, atoms, optb88vdw_total_energy",
        ),
        ([{"@class": "ComputedEntry", "energy": -1.0, "composition": {"Li": 1}}], "found @class, energy, composition"),
        (["text", 3], "got 'text', expected a structure"),
    ],
)
def test_a_file_that_is_not_understood_is_an_error(
    tmp_path: Path, items: Any, words: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(AnalysisError) as caught:
        pile(tmp_path, items)
    assert words in str(caught.value)
    assert "expected a structure (lattice and sites), an object with structure or cif" in str(caught.value)
    for command in ("analyse", "motifs"):
        monkeypatch.setattr("sys.argv", ["coevo", command, str(tmp_path / "pile.json")])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 2
        assert "none of" in capsys.readouterr().err


def test_a_page_of_optimade_is_read(tmp_path: Path) -> None:
    from optimade_server import document

    good = {"id": "x1", "type": "structures", "attributes": document("x1", LI2S)}
    bad = {"id": "x2", "type": "structures", "attributes": {**document("x2", LI2S), "species_at_sites": None}}
    for page in ({"data": [good, bad], "meta": {}}, {"meta": {}, "data": [good, bad]}):
        batch = pile(tmp_path, page)
        assert [(row.id, row.reason) for row in batch.rows] == [("x1", None), ("x2", "unreadable")]
        assert batch.rows[0].formula == "Li2S"
        assert batch.rows[0].energy_per_atom is None
