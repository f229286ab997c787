"""Reading piles: every form gives the same structures, and whatever is wrong with one is a counted rejection in its place."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from coevo.processes import Workers
from coevo.studies.analyse import batch
from coevo.studies.analyse.batch import batch_from_file, read_pile
from coevo.studies.piles.parsing import limits_for
from coevo.studies.piles.rows import REASONS, PackedCrystal, Row
from crystal_piles import cif_text, displaced, known_phases, write_extxyz, write_json, write_zip

PHASES = known_phases()
LI2S = PHASES["Li2S"]


def read(path: Path, elements: str | None = None, max_atoms: int = 200, workers: int = 1) -> list[Row]:
    return read_pile(path, limits_for(elements, max_atoms), Workers(workers))[0]


def reasons(rows: list[Row]) -> dict[str, str]:
    return {row.id: row.reason for row in rows if row.reason is not None}


# --- forms


@pytest.fixture(scope="module")
def forms(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same phases in all forms that can be read."""
    folder = tmp_path_factory.mktemp("forms")
    structures = list(PHASES.values())
    texts = {f"gen_{i}.cif": cif_text(s) for i, s in enumerate(structures)}
    directory = folder / "cifs"
    (directory / "deeper").mkdir(parents=True)
    for name, text in texts.items():
        (directory / ("deeper" if name == "gen_0.cif" else ".") / name).write_text(text)
    (directory / "notes.txt").write_text("no crystal")
    many = folder / "many.cif"
    many.write_text("\n".join(texts.values()))
    items = [{"structure": s.as_dict(), "energy": -3.5 * len(s), "id": f"s{i}"} for i, s in enumerate(structures)]
    lines = folder / "lines.jsonl"
    lines.write_text("\n".join(json.dumps(item) for item in items) + "\n")
    found = {
        "zip": write_zip(folder / "generated_crystals_cif.zip", {**texts, "README": "x", "__MACOSX/._gen_0.cif": "x"}),
        "directory": directory,
        "cif": many,
        "extxyz": write_extxyz(folder / "generated_crystals.extxyz", structures, [-3.5 * len(s) for s in structures]),
        "json": write_json(folder / "list.json", [s.as_dict() for s in structures]),
        "json entries": write_json(folder / "entries.json", items),
        "json lines": lines,
    }
    for form in ("cif", "extxyz", "json", "json lines"):
        packed = found[form].with_name(found[form].name + ".gz")
        packed.write_bytes(gzip.compress(found[form].read_bytes()))
        found[form + " gz"] = packed
    return found


@pytest.mark.parametrize(
    "form",
    [
        "zip",
        "directory",
        "cif",
        "extxyz",
        "json",
        "json entries",
        "json lines",
        "cif gz",
        "extxyz gz",
        "json gz",
        "json lines gz",
    ],
)
def test_every_form_gives_the_same_structures(forms: dict[str, Path], form: str) -> None:
    from pymatgen.analysis.structure_matcher import StructureMatcher

    rows = read(forms[form])
    assert reasons(rows) == {}
    assert len({row.id for row in rows}) == len(rows) == len(PHASES)
    wanted = Counter((s.composition.reduced_formula, len(s)) for s in PHASES.values())
    assert Counter((row.formula, row.atoms) for row in rows) == wanted
    matcher = StructureMatcher(ltol=1e-3, stol=1e-3, angle_tol=0.1)
    li2s = next(row for row in rows if row.formula == "Li2S")
    assert matcher.fit(li2s.packed().structure(), LI2S)


def test_exact_forms_give_the_content_ids_of_a_node(forms: dict[str, Path]) -> None:
    from coevo.node_store.canonical import structure_id

    assert [row.content for row in read(forms["json"])] == [structure_id(s) for s in PHASES.values()]


def test_files_beside_the_cifs_are_counted_and_ignored(forms: dict[str, Path]) -> None:
    assert batch_from_file(forms["zip"], limits_for(None, 200), Workers(1)).ignored == 2
    assert batch_from_file(forms["directory"], limits_for(None, 200), Workers(1)).ignored == 1


@pytest.mark.parametrize("form", ["extxyz", "json entries", "json lines"])
def test_total_energies_become_energies_per_atom(forms: dict[str, Path], form: str) -> None:
    assert [row.energy_per_atom for row in read(forms[form])] == pytest.approx([-3.5] * len(PHASES))


def test_energies_of_pymatgen_entries_hold_their_correction(tmp_path: Path) -> None:
    from pymatgen.entries.computed_entries import ComputedStructureEntry

    entry = ComputedStructureEntry(LI2S, energy=-12.0, correction=-0.503, entry_id="mp-1153")
    (row,) = read(write_json(tmp_path / "e.json", [entry.as_dict()]))
    assert (row.id, row.energy_per_atom) == ("mp-1153", pytest.approx(entry.energy_per_atom, abs=1e-12))
    assert entry.energy_per_atom == pytest.approx(-12.503 / 3)


@pytest.mark.parametrize("energy", ["NaN", "Infinity", '"unknown"', "null"])
def test_an_energy_that_is_no_number_is_none(tmp_path: Path, energy: str) -> None:
    path = tmp_path / "e.json"
    path.write_text(f'[{{"structure": {json.dumps(LI2S.as_dict())}, "energy_per_atom": {energy}}}]')
    (row,) = read(path)
    assert row.reason is None
    assert row.energy_per_atom is None


def test_phases_given_by_space_group_divide_by_their_cell(tmp_path: Path) -> None:
    from importlib import resources

    text = (resources.files("coevo.configs") / "references" / "li-p-s.json").read_text()
    phase = next(p for p in json.loads(text)["phases"] if p["name"] == "Li2S")
    assert phase["atoms_per_cell"] == 12
    (row,) = read(write_json(tmp_path / "p.json", [{**phase, "energy": -48.0}]))
    assert (row.atoms, row.energy_per_atom) == (3, -4.0)


def test_worker_processes_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "_PIECE_TEXTS", 10)
    structures = [displaced(LI2S, 0.05, seed) for seed in range(80)]
    broken = {f"gen_{i:03d}.cif": cif_text(s) if i % 10 else "data_x\n_cell_length_a nonsense" for i, s in enumerate(structures)}
    path = write_zip(tmp_path / "many.zip", broken)
    alone, together = read(path), read(path, workers=2)
    key = [(row.id, row.reason, row.detail, row.content) for row in alone]
    assert key == [(row.id, row.reason, row.detail, row.content) for row in together]
    assert Counter(row.reason for row in alone) == {None: 72, "unreadable": 8}


def test_packing_keeps_the_geometry_bit_for_bit() -> None:
    charged = LI2S.copy()
    charged.add_oxidation_state_by_guess()
    again = PackedCrystal.pack(charged).structure()
    assert np.array_equal(again.lattice.matrix, LI2S.lattice.matrix)
    assert np.array_equal(again.frac_coords, LI2S.frac_coords)
    assert again.species == LI2S.species


# --- bad structures


def bad_structures() -> dict[str, tuple[dict[str, Any], str]]:
    """One of each kind, as JSON, with the reason."""
    plain = LI2S.as_dict()

    def changed(**parts: Any) -> dict[str, Any]:
        return {**json.loads(json.dumps(plain)), **parts}

    def with_site(**parts: Any) -> dict[str, Any]:
        document = changed()
        document["sites"][0].update(parts)
        return document

    big = LI2S.copy()
    big.make_supercell([7, 7, 7])
    assert len(big) == 1029
    flat = [[4.0, 0, 0], [0, 4.0, 0], [4.0, 4.0, 0]]
    thin = [[3.0, 0, 0], [0, 3.0, 0], [0, 0, 90.0]]
    crowded = Structure(Lattice.cubic(5.0), ["Li", "S"], [[0, 0, 0], [0.1, 0, 0]])
    return {
        "no sites": (changed(sites=[]), "empty"),
        "half a site": (with_site(species=[{"element": "Li", "occu": 0.5}]), "disordered"),
        "two on a site": (with_site(species=[{"element": "Li", "occu": 0.5}, {"element": "P", "occu": 0.5}]), "disordered"),
        "sodium": (with_site(species=[{"element": "Na", "occu": 1}]), "off_system"),
        "no element": (with_site(species=[{"element": "Xx", "occu": 1}]), "unknown_element"),
        "1,029 atoms": (big.as_dict(), "too_many_atoms"),
        "nan position": (with_site(abc=[float("nan"), 0, 0]), "not_finite"),
        "nan cell": (changed(lattice={"matrix": [[float("nan"), 0, 0], [0, 4, 0], [0, 0, 4]]}), "not_finite"),
        "infinite position": (with_site(abc=[float("inf"), 0, 0]), "not_finite"),
        "no volume": (changed(lattice={"matrix": flat}), "volume_too_small"),
        "zero cell": (changed(lattice={"matrix": np.zeros((3, 3)).tolist()}), "volume_too_small"),
        "squeezed": (changed(lattice={"matrix": (np.eye(3) * 1.5).tolist()}), "volume_too_small"),
        "blown up": (changed(lattice={"matrix": (np.eye(3) * 90).tolist()}), "volume_too_large"),
        "needle": (
            Structure(Lattice(thin), ["Li", "S"] * 5, [[0, 0, i / 10] for i in range(10)]).as_dict(),
            "cell_too_long",
        ),
        "overlap": (crowded.as_dict(), "atoms_too_close"),
        "no lattice": ({"sites": plain["sites"]}, "unreadable"),
        "words": (with_site(abc=["a", "b", "c"]), "unreadable"),
        "two numbers": (with_site(abc=[0.1, 0.2]), "unreadable"),
        "no species": (with_site(species=None), "unreadable"),
    }


def test_each_bad_structure_is_counted_with_its_reason_and_the_good_ones_are_taken(tmp_path: Path) -> None:
    bad = bad_structures()
    items = [{"structure": document, "id": name} for name, (document, _) in bad.items()]
    items = [{"structure": LI2S.as_dict(), "id": "first"}, *items, {"structure": LI2S.as_dict(), "id": "last"}]
    rows = read(write_json(tmp_path / "bad.json", [*items, "text", None, 7, []]), elements="Li-P-S")
    found = reasons(rows)
    assert {name: found.pop(name) for name in bad} == {name: reason for name, (_, reason) in bad.items()}
    assert list(found.values()) == ["unreadable"] * 4
    assert [row.id for row in rows if row.reason is None] == ["first", "last"]
    assert set(REASONS) >= {row.reason for row in rows if row.reason}
    assert all(row.detail and row.crystal is None for row in rows if row.reason)


def test_one_atom_is_a_structure(tmp_path: Path) -> None:
    lithium = PHASES["Li bcc"]
    assert len(lithium) == 1
    for path in (
        write_json(tmp_path / "li.json", [lithium.as_dict()]),
        write_extxyz(tmp_path / "li.extxyz", [lithium]),
        write_zip(tmp_path / "li.zip", {"li.cif": cif_text(lithium)}),
    ):
        (row,) = read(path)
        assert (row.formula, row.atoms, row.reason) == ("Li", 1, None)


def test_bad_cifs_in_a_zip(tmp_path: Path) -> None:
    good = cif_text(LI2S)
    half = good.replace("  1\n", "  0.5\n")
    assert half != good
    big = LI2S.copy()
    big.make_supercell([7, 7, 7])
    members = {
        "good.cif": good,
        "empty.cif": "",
        "text.cif": "this is no crystal",
        "cut.cif": good[: len(good) // 3],
        "half.cif": half,
        "unknown.cif": good.replace("Li", "Xx"),
        "sodium.cif": good.replace("Li", "Na"),
        "flat.cif": good.replace(
            next(line for line in good.splitlines() if line.startswith("_cell_length_a")), "_cell_length_a 0"
        ),
        "nan.cif": good.replace(
            next(line for line in good.splitlines() if line.startswith("_cell_length_a")), "_cell_length_a nan"
        ),
        "big.cif": cif_text(big),
        "bytes.cif": "\x00\x01\x02" * 1000,
        "two.cif": good + "\n" + good.replace("Li", "Na"),
    }
    rows = read(write_zip(tmp_path / "bad.zip", members), elements="Li,P,S")
    assert reasons(rows) == {
        "empty.cif": "unreadable",
        "text.cif": "unreadable",
        "cut.cif": "unreadable",
        "half.cif": "disordered",
        "unknown.cif": "unknown_element",
        "sodium.cif": "off_system",
        "flat.cif": "volume_too_small",
        "nan.cif": "not_finite",
        "big.cif": "too_many_atoms",
        "bytes.cif": "unreadable",
        "two.cif#2": "off_system",
    }
    assert [row.id for row in rows if row.reason is None] == ["good.cif", "two.cif"]


def test_bad_frames_do_not_end_an_extxyz_file(tmp_path: Path) -> None:
    good = write_extxyz(tmp_path / "good.extxyz", [LI2S]).read_text()
    comment = next(line for line in good.splitlines() if "Lattice" in line)
    frames = [
        good,
        good.replace("Li ", "Xx ", 1),
        good.replace('pbc="T T T"', 'pbc="T T F"'),
        "1\nno cell\nLi 0 0 0\n",
        '1\nLattice="4 0 0 0 4 0 4 4 0" Properties=species:S:1:pos:R:3 pbc="T T T"\nLi 0 0 0\n',
        f"1\n{comment}\nLi 0 zero 0\n",
        f"1\n{comment}\nLi nan 0 0\n",
        f"0\n{comment}\n",
        "1029\n" + comment + "\n" + "Li 0 0 0\n" * 1029,
        good,
        good.rstrip().rpartition("\n")[0],
    ]
    (tmp_path / "mixed.extxyz").write_text("".join(frames))
    rows = read(tmp_path / "mixed.extxyz")
    assert [row.reason for row in rows] == [
        None,
        "unknown_element",
        "not_periodic",
        "not_periodic",
        "volume_too_small",
        "unreadable",
        "not_finite",
        "empty",
        "too_many_atoms",
        None,
        "unreadable",
    ]
