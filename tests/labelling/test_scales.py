"""Which imported settings are of one scale: by what they share, by element, by cell; whatever the order of the files."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest
from imported_sets import CRYSTALS, TITLES

from coevo.labelling.contract import LabelSettings
from coevo.labelling.digest import settings_digest
from coevo.labelling.imported.contract import ImportedFile, ImportedFrame
from coevo.labelling.imported.scales import Facts, base_settings, facts_of, place


def file_of(name: str, functional: str = "PBE", *, version: str = "6.4", recorded: Any = None, **parameters: Any) -> ImportedFile:
    structure = CRYSTALS[name]
    potentials = {symbol: TITLES[symbol] for symbol in structure.symbol_set} | parameters.pop("potentials", {})
    settings = LabelSettings("imported", version, functional, False, {"encut": 520.0, **parameters, "potentials": potentials})
    return ImportedFile([ImportedFrame(structure, -1.0, None, None)], settings, potentials, recorded or {})


def digests(files: list[ImportedFile]) -> list[str]:
    return [found.digest for found in place([(base_settings(f), facts_of(f)) for f in files], {})]


def test_element_and_compound_of_one_input_set_have_one_digest() -> None:
    files = [file_of(name, version=f"6.{number}") for number, name in enumerate(CRYSTALS)]
    assert len(set(digests(files))) == 1
    # the digest is that of the base: it does not depend on which files came first
    assert digests(files)[0] == settings_digest(base_settings(files[0]))


@pytest.mark.parametrize(
    "other",
    [
        {"encut": 600.0},
        {"spin": 2},
        {"charge": 1.0},
        {"dispersion": {"ivdw": 12}},
        {"hybrid": {"aexx": 0.3}},
        {"k_spacing": "up to 2.4 1/Å"},
    ],
)
def test_what_changes_the_numbers_is_another_digest(other: dict[str, Any]) -> None:
    assert len(set(digests([file_of("Li"), file_of("Li2S", **other)]))) == 2
    assert len(set(digests([file_of("Li"), file_of("Li2S", "r2SCAN")]))) == 2


def test_u_of_an_element_does_not_part_what_has_not_the_element() -> None:
    u = {"hubbard": {"P": {"l": 1, "u": 2.0}}}
    lithium, compound = file_of("Li"), file_of("Li3PS4", "PBE+U", **u)
    assert len(set(digests([lithium, compound]))) == 1
    # phosphorus without it, or with another one, is of another scale
    assert len(set(digests([lithium, compound, file_of("P")]))) == 2
    assert len(set(digests([compound, file_of("P", "PBE+U", hubbard={"P": {"l": 1, "u": 3.0}})]))) == 2
    assert len(set(digests([compound, file_of("P", "PBE+U", **u)]))) == 1


def test_no_element_has_two_potentials_whatever_the_order_of_the_files() -> None:
    hard = file_of("Li", potentials={"Li": "PAW_PBE Li 17Jan2003"})
    files = {"soft": file_of("Li"), "hard": hard, "sulphur": file_of("S"), "compound": file_of("Li2S")}
    found = []
    for order in permutations(files):
        rows = dict(zip(order, digests([files[name] for name in order]), strict=True))
        found.append(tuple(rows[name] for name in files))
    assert len(set(found)) == 1
    soft, other, sulphur, compound = found[0]
    assert soft == compound
    assert other != soft
    assert sulphur in {soft, other}


def test_a_contradiction_is_told_and_older_labels_are_joined() -> None:
    files = [file_of("Li"), file_of("S")]
    (base,) = set(digests(files))
    known = {base: {base: facts_of(files[0]).joined(facts_of(files[1]))}}
    hard = file_of("Li", potentials={"Li": "PAW_PBE Li 17Jan2003"})
    (placed,) = place([(base_settings(hard), facts_of(hard))], known)
    assert placed.digest != base
    assert placed.reason.startswith("Li has the potential PAW_PBE Li_sv 10Sep2004 in one and PAW_PBE Li 17Jan2003 in the other")
    known[base][placed.digest] = facts_of(hard)
    (again,) = place([(base_settings(hard), facts_of(hard))], known)
    assert again.digest == placed.digest
    assert again.reason == ""
    (joined,) = place([(base_settings(files[0]), facts_of(file_of("Li2S")))], known)
    assert joined.digest == base


def test_one_cell_with_two_meshes_is_two_settings_and_two_cells_are_not() -> None:
    def at(name: str, *mesh: int) -> ImportedFile:
        return file_of(name, recorded={"k_mesh": list(mesh)})

    assert len(set(digests([at("Li", 12, 12, 12), at("Li2S", 6, 6, 6)]))) == 1
    assert len(set(digests([at("Li2S", 4, 4, 4), at("Li2S", 6, 6, 6)]))) == 2


def test_spacings_of_another_order_are_two_settings_in_whatever_cells() -> None:
    def at(name: str, low: float, high: float | None) -> ImportedFile:
        return file_of(name, k_spacing="up to 0.8 1/Å", recorded={"k_spacing_range": [low, high]})

    dense, coarser, gamma = at("Li", 0.20, 0.25), at("Li2S", 0.41, 0.49), at("Li3PS4", 0.62, None)
    assert len(set(digests([dense, coarser]))) == 1  # a metal and an insulator of one set
    assert len(set(digests([dense, gamma]))) == 2
    assert len(set(digests([coarser, gamma]))) == 1
    assert digests([dense, coarser]) == digests([coarser, dense])


def test_facts_are_kept_as_json() -> None:
    facts = facts_of(
        file_of("Li3PS4", "PBE+U", hubbard={"P": {"u": 2.0}}, recorded={"k_mesh": [2, 2, 2], "k_spacing_range": [0.4, None]})
    )
    assert Facts.from_dict(facts.to_dict()) == facts
    assert facts.of({"Li"}).to_dict()["potentials"] == {"Li": TITLES["Li"]}
    assert facts.of({"Li"}).species == {}
