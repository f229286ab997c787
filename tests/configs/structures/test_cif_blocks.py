"""CIF blocks: unknown formulas and occupancies near 1 against plain ones, contradictions refused, sizes looked at first."""

from __future__ import annotations

import time

import pytest
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Lattice, Structure
from pymatgen.symmetry.analyzer import SpacegroupAnalyzer
from pymatgen.symmetry.groups import SpaceGroup

from coevo.configs.structures.bounds import BoundsError
from coevo.configs.structures.cif_blocks import structure_from_cif

LI2S = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.7), ["Li", "S"], [[0.25] * 3, [0, 0, 0]])
COLUMNS = ("label", "type_symbol", "fract_x", "fract_y", "fract_z", "occupancy")


P1 = ["loop_", "_symmetry_equiv_pos_as_xyz", "'x, y, z'"]
SYMBOL = ["_space_group_name_H-M_alt 'F m -3 m'", "_space_group_IT_number 225"]


def cif(
    formula: str | None = None,
    lithium: str = "1",
    sulfur: str = "1",
    length: str = "5.70",
    symbols: bool = True,
    symmetric: bool = False,
) -> str:
    """Li2S with all atoms in P 1, or (much slower to read) one of each kind and the symbol of the space group."""
    lines = ["data_antifluorite"]
    lines += [f"_chemical_formula_sum {formula}"] if formula is not None else []
    lines += [f"_cell_length_{axis} {length}" for axis in "abc"]
    lines += [f"_cell_angle_{angle} 90" for angle in ("alpha", "beta", "gamma")]
    lines += [*(SYMBOL if symmetric else P1), "loop_"]
    lines += [f"_atom_site_{column}" for column in COLUMNS if symbols or column != "type_symbol"]
    occupancies, seen = {"Li": lithium, "S": sulfur}, set()
    for number, site in enumerate(LI2S):
        symbol = site.specie.symbol
        if not symmetric or symbol not in seen:
            place = " ".join(f"{x:.4f}" for x in site.frac_coords)
            lines.append(f"{symbol}{number} {symbol + ' ' if symbols else ''}{place} {occupancies[symbol]}")
        seen.add(symbol)
    return "\n".join(lines) + "\n"


def is_li2s(text: str) -> bool:
    read = structure_from_cif(text)
    assert read.is_ordered
    assert read.composition.formula == "Li8 S4"
    assert SpacegroupAnalyzer(read).get_space_group_number() == 225
    return bool(StructureMatcher(scale=False, primitive_cell=False).fit(read, LI2S))


@pytest.mark.parametrize("formula", [None, "?", ".", "''", '""', "'?'", "' '", "'Li2 S'", "'Li8 S4'"])
@pytest.mark.parametrize("symbols", [True, False])
def test_an_unknown_formula_says_as_much_as_none(formula: str | None, symbols: bool) -> None:
    assert is_li2s(cif(formula, symbols=symbols))


@pytest.mark.parametrize("symmetric", [True, False])
def test_both_together_in_a_cell_that_symmetry_makes(symmetric: bool) -> None:
    assert is_li2s(cif("?", "0.9999", "1.0000(1)", symmetric=symmetric))


@pytest.mark.parametrize("formula", ["'Li3 S'", "'Na2 S'", "Li", "'Li2 S O'"])
def test_a_formula_that_contradicts_the_sites_stays_refused(formula: str) -> None:
    with pytest.raises(ValueError, match="ambiguous CIF block"):
        structure_from_cif(cif(formula))


@pytest.mark.parametrize("given", ["0.9999", "0.99995", "1.00005", "1.0000(1)", "1.", "1.000(2)", "?", ".", "0.999", "1.001"])
def test_occupancies_within_the_tolerance_are_one(given: str) -> None:
    assert is_li2s(cif(lithium=given, sulfur=given))


@pytest.mark.parametrize("given", ["0.95", "0.95(5)", "0.99", "0.998", "0.5", "1e-3"])
def test_real_vacancies_stay_disordered(given: str) -> None:
    assert not structure_from_cif(cif(lithium=given)).is_ordered


@pytest.mark.parametrize("given", ["1.01", "1.5", "2"])
def test_occupancies_beyond_one_are_refused(given: str) -> None:
    with pytest.raises(ValueError, match="not a readable CIF block"):
        structure_from_cif(cif(lithium=given))


def test_two_atoms_on_one_site_are_not_rounded_away() -> None:
    mixed = cif(lithium="0.9999") + "Na1 Na 0.25 0.25 0.25 0.0001\n"
    with pytest.raises(ValueError, match="not a readable CIF block"):
        structure_from_cif(mixed)
    assert not structure_from_cif(cif(lithium="0.6") + "Na1 Na 0.25 0.25 0.25 0.4\n").is_ordered


def with_operations(operations: list[str], sites: list[str]) -> str:
    head = cif(length="60").split("loop_")[0]
    columns = [f"_atom_site_{column}" for column in COLUMNS]
    quoted = [f"'{operation}'" for operation in operations]
    return head + "\n".join(["loop_", "_symmetry_equiv_pos_as_xyz", *quoted, "loop_", *columns, *sites]) + "\n"


def general_sites(count: int) -> list[str]:
    return [f"Li{n} Li {(0.0137 * n) % 1:.4f} {(0.0271 * n) % 1:.4f} {(0.0433 * n + 0.1) % 1:.4f} 1" for n in range(count)]


CUBIC = [operation.as_xyz_str() for operation in SpaceGroup("Fm-3m").symmetry_ops]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (with_operations([f"x+{n}/100000, y, z" for n in range(100_000)], general_sites(1)), "100000 symmetry operations"),
        (with_operations(CUBIC, general_sites(900)), "atoms in the cell, allowed"),
        (with_operations(["x, y, z"], general_sites(50_000)), "50000 atoms in the cell"),
        (cif(length="1e300"), r"a cell vector of 1e\+300 Å"),
        (cif(length="nan"), "a cell vector of nan"),
        (cif(length="0"), "a cell vector of 0 Å"),
        (cif(length="1e-300"), "."),
        (cif() + "\" '" * 500_000, "quotation marks"),
        (cif() + ("x " * 500 + "\n") * 1000, "Possible issue|multiple of"),
        (cif().replace("0.2500 0.2500 0.2500", "1e300 0.25 0.25"), "coordinates that are no finite numbers"),
    ],
    ids=["operations", "expansion", "sites", "huge", "nan", "zero", "tiny", "quotes", "words", "far"],
)
def test_what_cannot_be_is_answered_within_seconds(text: str, reason: str) -> None:
    started = time.process_time()
    with pytest.raises(ValueError, match=reason):
        structure_from_cif(text)
    assert time.process_time() - started < 20


def test_what_symmetry_makes_of_special_positions_is_counted_once() -> None:
    sites = [f"Li{n} Li 0 0 {n / 40:.4f} 1" for n in range(1, 11)]
    assert len(structure_from_cif(with_operations(CUBIC, sites))) < 10 * 192 / 4
    with pytest.raises(BoundsError):
        structure_from_cif(with_operations(CUBIC, sites), max_atoms=20)
