"""Reference structures: the bundled phases against pymatgen, files of every kind, and what is refused."""

from __future__ import annotations

import json
import shutil
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase.io import write
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Lattice, Structure
from pymatgen.io.ase import AseAtomsAdaptor
from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

from coevo.configs.element_lists import ELEMENT_SYMBOLS
from coevo.configs.references import ReferenceStructure, bundled_sets, load_references, reference_set_words
from coevo.errors import ReferenceDataError
from coevo.families import descriptor_of

ELEMENTS = ("Li", "P", "S")
BUNDLED = json.loads((resources.files("coevo.configs") / "references" / "li-p-s.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def bundled() -> list[ReferenceStructure]:
    return load_references("li-p-s", ELEMENTS)


@pytest.fixture
def salt() -> list[Structure]:
    """Na, Cl (a simple stand-in crystal) and NaCl."""
    return [
        Structure.from_spacegroup("Im-3m", Lattice.cubic(4.29), ["Na"], [[0, 0, 0]]),
        Structure.from_spacegroup("Cmce", Lattice.orthorhombic(6.24, 4.48, 8.26), ["Cl"], [[0.0, 0.13, 0.1]]),
        Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]),
    ]


def same(loaded: list[ReferenceStructure], expected: list[Structure]) -> bool:
    matcher = StructureMatcher(primitive_cell=False, scale=False, ltol=1e-3, stol=1e-3, angle_tol=0.1)
    return all(matcher.fit(one.structure, two) for one, two in zip(loaded, expected, strict=True))


def refused(spec: str | Path, elements: tuple[str, ...] = ("Na", "Cl"), **options: Any) -> str:
    with pytest.raises(ReferenceDataError) as caught:
        load_references(spec, elements, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def write_cif(path: Path, structures: list[Structure]) -> Path:
    path.write_text("\n".join(structure.to(fmt="cif") for structure in structures))
    return path


@pytest.mark.parametrize(("name", "elements", "size"), [("li-p-s", ELEMENTS, 14), ("li-s-small", ("Li", "S"), 3)])
def test_the_bundled_phases_have_the_symmetry_and_composition_they_name(name: str, elements: tuple[str, ...], size: int) -> None:
    bundled = load_references(name, elements)
    phases = json.loads((resources.files("coevo.configs") / "references" / f"{name}.json").read_text(encoding="utf-8"))["phases"]
    assert len(bundled) == len(phases) == size
    for reference, phase in zip(bundled, phases, strict=True):
        structure = reference.structure
        assert reference.name == phase["name"]
        assert structure.composition.reduced_formula == phase["formula"]
        assert SpacegroupAnalyzer(structure, symprec=0.02).get_space_group_number() == phase["space_group_number"]
        assert phase["atoms_per_cell"] % len(structure) == 0
        density = structure.volume / len(structure)
        whole = np.prod([phase["lattice"][key] for key in "abc"])
        assert density <= whole / phase["atoms_per_cell"] * (1 + 1e-9)
        assert reference.source
        assert reference.licence
        assert structure.is_valid(tol=1.5)


def test_the_bundled_sets() -> None:
    assert bundled_sets() == ["elements", "li-p-s", "li-s-small"]


def test_the_set_of_elements_has_one_crystal_of_each_with_the_symmetry_it_names() -> None:
    path = resources.files("coevo.configs") / "references" / "elements.json"
    text = path.read_text(encoding="utf-8")
    assert len(text) < 60_000
    phases = {phase["name"]: phase for phase in json.loads(text)["phases"]}
    loaded = load_references("elements", sorted(ELEMENT_SYMBOLS), complete=False)
    known = descriptor_of("chgnet", "force_field").elements
    assert known is not None
    assert known - {reference.structure.elements[0].symbol for reference in loaded} == {"Po", "At", "Rn", "Fr", "Ra"}
    assert len(loaded) == len(phases) == 89
    for reference in loaded:
        structure, phase = reference.structure, phases[reference.name]
        assert [element.symbol for element in structure.elements] == [phase["formula"]]
        assert len(structure) == phase["atoms_per_cell"]
        assert "CC-BY-4.0" in str(reference.licence)
        for precision in (1e-3, 1e-2):
            found = SpacegroupAnalyzer(structure, symprec=precision)
            assert found.get_space_group_number() == phase["space_group_number"], reference.name
            assert len(found.find_primitive()) == len(structure), reference.name


def test_measured_crystals_of_elements() -> None:
    """Lattice parameters of the CRC Handbook; PBE is within 3 % of them."""
    cells = {
        "Cu": ("Fm-3m", 11.81),
        "Fe": ("Im-3m", 11.77),
        "Mg": ("P6_3/mmc", 23.24),
        "Si": ("Fd-3m", 20.02),
        "Zn": ("P6_3/mmc", 15.21),
    }
    for reference in load_references("elements", tuple(cells)):
        symbol = reference.structure.elements[0].symbol
        space_group, volume = cells[symbol]
        assert reference.structure.get_space_group_info()[0] == space_group
        assert reference.structure.volume / len(reference.structure) == pytest.approx(volume, rel=0.04)


def test_the_set_of_elements_serves_what_others_lack_and_nothing_else(tmp_path: Path, salt: list[Structure]) -> None:
    write_cif(tmp_path / "salt.cif", [salt[0], salt[2]])
    loaded = load_references("salt.cif+elements", ("Na", "Cl"), base=tmp_path)
    assert [reference.name for reference in loaded] == ["Na", "NaCl", "Cl (Cmce)"]
    loaded = load_references("elements + salt.cif", ("Na", "Cl", "K"), base=tmp_path)
    assert [reference.name for reference in loaded] == ["Cl (Cmce)", "K (Im-3m)", "Na", "NaCl"]
    assert len(load_references("li-p-s + elements", ELEMENTS)) == 14


def test_a_file_without_an_element_is_refused_and_the_remedy_named(tmp_path: Path, salt: list[Structure]) -> None:
    path = write_cif(tmp_path / "salt.cif", [salt[0], salt[2]])
    message = refused(str(path))
    assert "no structure of Cl alone" in message
    assert message.endswith(f"or join the bundled set: {path}+elements")
    message = refused("elements", ("Po", "Zn"))
    assert message.endswith("the bundled set has none of Po: give a file with it, joined as FILE+elements")
    assert refused("li-p-s", ("Li", "Po")).endswith("add the elemental crystal to the file")


def test_centred_phases_come_as_primitive_cells(bundled: list[ReferenceStructure]) -> None:
    sizes = {reference.name: len(reference.structure) for reference in bundled}
    assert (sizes["Li bcc"], sizes["Li2S"], sizes["P black"], sizes["alpha-S8 (Fddd)"]) == (1, 3, 4, 32)


def test_a_bundled_set_serves_its_sub_systems() -> None:
    names = [reference.name for reference in load_references("li-p-s", ("S", "Li"))]
    assert names == ["Li bcc", "Li2S", "alpha-S8 (Fddd)", "S mp-96-like (P2/c,32)"]
    assert "no structure of Na alone" in refused("li-p-s", ("Li", "Na"))


def test_a_cif_of_several_blocks(tmp_path: Path, salt: list[Structure]) -> None:
    path = write_cif(tmp_path / "salt.cif", salt)
    loaded = load_references("salt.cif", ("Na", "Cl"), base=tmp_path)
    assert same(loaded, salt)
    assert [reference.name for reference in loaded] == ["Na", "Cl2", "NaCl"]
    assert {reference.source for reference in loaded} == {"file salt.cif"}
    assert same(load_references(path, ("Cl", "Na")), salt)


def test_cif_blocks_of_one_name_are_all_read(tmp_path: Path, salt: list[Structure]) -> None:
    larger = salt[2].copy()
    larger.scale_lattice(salt[2].volume * 1.1)
    loaded = load_references(write_cif(tmp_path / "x.cif", [*salt, larger]), ("Na", "Cl"))
    assert [reference.name for reference in loaded] == ["Na", "Cl2", "NaCl", "NaCl (2)"]
    assert loaded[3].structure.volume == pytest.approx(1.1 * loaded[2].structure.volume, rel=1e-4)


def test_a_cif_with_symmetry_and_a_block_of_citations(tmp_path: Path, salt: list[Structure]) -> None:
    from pymatgen.io.cif import CifWriter

    text = "\n".join(str(CifWriter(structure, symprec=0.01)) for structure in salt)
    note = "data_global\n_journal_name_full 'Z. Kristallogr.'\n_note\n;\ndata_ in a note is no block\n;\n"
    path = tmp_path / "symmetric.cif"
    path.write_text(note + text)
    loaded = load_references(path, ("Na", "Cl"))
    assert [len(reference.structure) for reference in loaded] == [len(structure) for structure in salt]
    assert same(loaded, salt)


@pytest.mark.parametrize("suffix", [".extxyz", ".xyz"])
def test_extended_xyz(tmp_path: Path, salt: list[Structure], suffix: str) -> None:
    frames = [AseAtomsAdaptor.get_atoms(structure) for structure in salt]
    frames[2].info.update(name="halite", source="Bragg 1913")
    write(tmp_path / f"salt{suffix}", frames, format="extxyz")
    loaded = load_references(tmp_path / f"salt{suffix}", ("Na", "Cl"))
    assert same(loaded, salt)
    assert (loaded[2].name, loaded[2].source) == ("halite", "Bragg 1913")


def test_json_of_pymatgen_structures(tmp_path: Path, salt: list[Structure]) -> None:
    charged = [structure.copy() for structure in salt]
    charged[2].add_oxidation_state_by_element({"Na": 1, "Cl": -1})
    charged[2].add_site_property("magmom", [0.0] * len(charged[2]))
    path = tmp_path / "salt.json"
    path.write_text(json.dumps([structure.as_dict() for structure in charged]))
    loaded = load_references(path, ("Na", "Cl"))
    assert same(loaded, salt)
    assert loaded[2].structure.site_properties == {}
    assert {site.species_string for site in loaded[2].structure} == {"Na", "Cl"}


def test_json_with_names_sources_and_our_own_schema(tmp_path: Path, salt: list[Structure]) -> None:
    path = tmp_path / "salt.json"
    path.write_text(json.dumps([{"structure": structure.as_dict(), "name": "x", "licence": "CC-BY-4.0"} for structure in salt]))
    loaded = load_references(path, ("Na", "Cl"))
    assert same(loaded, salt)
    assert [reference.name for reference in loaded] == ["x", "x (2)", "x (3)"]
    assert loaded[0].licence == "CC-BY-4.0"
    shutil.copy(resources.files("coevo.configs") / "references" / "li-p-s.json", tmp_path / "copy.json")
    assert len(load_references(tmp_path / "copy.json", ELEMENTS)) == 14


def test_json_runs_no_code_of_the_file(tmp_path: Path, salt: list[Structure]) -> None:
    data = [structure.as_dict() for structure in salt]
    data[0]["@module"], data[0]["@class"] = "os", "system"
    attack = {"@module": "subprocess", "@class": "Popen", "args": ["touch", str(tmp_path / "ran")]}
    data[0]["sites"][0]["properties"] = {"x": attack}
    (tmp_path / "x.json").write_text(json.dumps(data))
    assert same(load_references(tmp_path / "x.json", ("Na", "Cl")), salt)
    assert not (tmp_path / "ran").exists()


def test_foreign_and_missing_elements(tmp_path: Path, salt: list[Structure]) -> None:
    path = write_cif(tmp_path / "salt.cif", salt)
    assert refused(path, ("Cl",)) == f"{path}: entry 1 (data_Na): contains Na, which the node does not have; allowed: Cl"
    lacking = refused(write_cif(path, [salt[0], salt[2]]))
    assert lacking.startswith(f"{path}: no structure of Cl alone; the convex hull needs at least one of each element, Cl, Na")
    data = json.loads(salt[0].to_json())
    data["sites"][0]["species"][0]["element"] = "Zz"
    (tmp_path / "x.json").write_text(json.dumps(data))
    assert "x.json: entry 1" in refused(tmp_path / "x.json")


def test_disordered_and_broken_structures(tmp_path: Path, salt: list[Structure]) -> None:
    mixed = Structure(Lattice.cubic(4.0), [{"Na": 0.5, "Cl": 0.5}], [[0, 0, 0]])
    expected = "the site at [0.0, 0.0, 0.0] is disordered (Na:0.5, Cl:0.5); allowed: one atom of occupancy 1 on each site"
    assert expected in refused(write_cif(tmp_path / "d.cif", [*salt, mixed]))
    assert "entry 4 (data_" in refused(tmp_path / "d.cif")
    (tmp_path / "d.json").write_text(mixed.to_json())
    assert expected in refused(tmp_path / "d.json")
    half = Structure(Lattice.cubic(4.0), [{"Na": 0.5}], [[0, 0, 0]])
    assert "is disordered (Na:0.5)" in refused(write_cif(tmp_path / "h.cif", [half]))
    overlap = Structure(Lattice.cubic(4.0), ["Na", "Na"], [[0, 0, 0], [0.01, 0, 0]])
    (tmp_path / "o.json").write_text(overlap.to_json())
    assert "nearer than 0.5 Å" in refused(tmp_path / "o.json")
    broken = json.loads(salt[2].to_json())
    broken["sites"][0]["abc"] = [float("nan")] * 3
    (tmp_path / "n.json").write_text(json.dumps(broken))
    assert "no finite numbers" in refused(tmp_path / "n.json")


def test_a_phase_off_its_special_position_is_refused(tmp_path: Path) -> None:
    data = json.loads(json.dumps(BUNDLED))
    data["phases"][1]["sites"][0]["xyz"][0] += 0.01
    (tmp_path / "x.json").write_text(json.dumps(data))
    message = refused(tmp_path / "x.json", ELEMENTS)
    assert "entry 2 (Li2S): not a structure: its space group gives 52 atoms and atoms_per_cell says 12" in message


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("x.cif", "", "holds no structure"),
        ("x.json", "[]", "holds no structure"),
        ("x.json", "", "holds no structure"),
        ("x.xyz", "", "holds no structure"),
        ("x.json", "[1", "not JSON"),
        ("x.json", "3", "got a JSON int"),
        ("x.json", '["a"]', "entry 1: got 'a', allowed: an object"),
        ("x.json", '[{"name": "q", "lattice": {"a": 1}}]', "entry 1 (q): not a structure: no 'b'"),
        ("x.json", '{"phases": {"a": 1}}', "got a JSON dict"),
        ("x.xyz", "one\n\nNa 0 0 0\n", "not an extended XYZ file"),
        ("x.xyz", "1\n\nNa 0 0 0\n", "holds no crystal: 1 not_periodic (entry 1 (Na1): it has no cell"),
        ("x.xyz", '1\nLattice="4 0 0 0 4 0 0 0 4" pbc="T T F"\nNa 0 0 0\n', 'it is periodic along pbc="T T F" only'),
        ("x.cssr", "Na", "unknown kind of file '.cssr'; allowed: .cif, POSCAR*"),
        ("x.cif", b"data_a\n\xff\xfe", "not a text file in UTF-8 (byte 7)"),
    ],
)
def test_files_that_are_no_structures(tmp_path: Path, name: str, content: str | bytes, expected: str) -> None:
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    message = refused(tmp_path / name)
    assert message.startswith(f"{tmp_path / name}: ")
    assert expected in message


@pytest.mark.parametrize("keep", [0.2, 0.5, 0.8, 0.97])
def test_a_truncated_cif_is_never_taken_for_a_whole_one(tmp_path: Path, salt: list[Structure], keep: float) -> None:
    text = salt[2].to(fmt="cif")
    path = write_cif(tmp_path / "x.cif", salt[:2])
    path.write_text(path.read_text() + "\n" + text[: int(keep * len(text))])
    assert "entry 3 (data_NaCl)" in refused(path)


def test_a_cif_without_symmetry_is_ambiguous(tmp_path: Path) -> None:
    text = (
        "data_Na\n_cell_length_a 4.29\n_cell_length_b 4.29\n_cell_length_c 4.29\n_cell_angle_alpha 90\n_cell_angle_beta 90\n"
        "_cell_angle_gamma 90\nloop_\n_atom_site_label\n_atom_site_type_symbol\n_atom_site_fract_x\n_atom_site_fract_y\n"
        "_atom_site_fract_z\nNa1 Na 0 0 0\n"
    )
    (tmp_path / "x.cif").write_text(text)
    assert "ambiguous CIF block: No _symmetry_equiv_pos_as_xyz type key found" in refused(tmp_path / "x.cif", ("Na",))


def test_no_such_file_and_a_directory(tmp_path: Path) -> None:
    assert "nope: no such file; allowed: a bundled set (elements, li-p-s, li-s-small) or a file (.cif, POSCAR*" in refused("nope")
    (tmp_path / "x.cif").mkdir()
    assert "x.cif: holds no structure" in refused(tmp_path / "x.cif")


def test_excluded_phases_are_left_out_and_nothing_else(bundled: list[ReferenceStructure]) -> None:
    withheld = ("Li2S", "Li3P", "beta-Li3PS4 (ordered approximant)")
    kept = load_references("li-p-s", ELEMENTS, exclude=withheld)
    assert [r.name for r in kept] == [r.name for r in bundled if r.name not in withheld]
    assert len(kept) == 11
    assert all(one.structure == next(two for two in bundled if two.name == one.name).structure for one in kept)


def test_repeated_names_are_numbered_before_one_is_excluded(tmp_path: Path, salt: list[Structure]) -> None:
    items = [{"name": "Na", "structure": salt[0].as_dict()}, {"name": "Na", "structure": salt[0].as_dict()}]
    items += [{"name": "Cl", "structure": salt[1].as_dict()}]
    path = tmp_path / "salt.json"
    path.write_text(json.dumps(items))
    assert [r.name for r in load_references(path, ("Na", "Cl"), exclude=["Na"])] == ["Na (2)", "Cl"]
    assert [r.name for r in load_references(path, ("Na", "Cl"), exclude=["Na (2)"])] == ["Na", "Cl"]


def test_a_name_that_is_not_there_is_told_with_those_that_are() -> None:
    message = refused("li-s-small", ("Li", "S"), exclude=["Li2S", "li2s"])
    assert message == (
        "li-s-small: references.exclude: no phase is called 'li2s'; the phases within Li, S are 'Li bcc', 'Li2S', 'rho-S6'"
    )


def test_the_only_structure_of_an_element_cannot_be_excluded() -> None:
    message = refused("li-p-s", ELEMENTS, exclude=["Li bcc"])
    assert "no structure of Li alone" in message
    assert "take it out of references.exclude" in message
    # of sulfur there are two
    assert len(load_references("li-p-s", ELEMENTS, exclude=["alpha-S8 (Fddd)"])) == 13


@pytest.mark.parametrize(
    ("excluded", "words"), [((), "li-p-s"), (("Li2S",), "li-p-s without 1 phase"), (("Li2S", "Li3P"), "li-p-s without 2 phases")]
)
def test_a_set_says_how_many_phases_it_is_without(excluded: tuple[str, ...], words: str) -> None:
    assert reference_set_words("li-p-s", excluded) == words
