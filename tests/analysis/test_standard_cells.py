"""Standard cells against spglib and StructureMatcher, and decompositions against pymatgen's phase diagram."""

from __future__ import annotations

import numpy as np
import pytest
from pymatgen.analysis.phase_diagram import PDEntry, PhaseDiagram
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Composition, Lattice, Structure
from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

from coevo.analysis.hull.hull import decomposition
from coevo.analysis.standard_cells import standard_cell

CRYSTALS = {
    "Im-3m": Structure.from_spacegroup("Im-3m", Lattice.cubic(4.29), ["Na"], [[0, 0, 0]]),
    "Fm-3m": Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]),
    "R-3m": Structure.from_spacegroup("R-3m", Lattice.hexagonal(3.8, 10.4), ["As"], [[0, 0, 0.227]]),
    "P6_3/mmc": Structure.from_spacegroup("P6_3/mmc", Lattice.hexagonal(3.2, 5.2), ["Mg"], [[1 / 3, 2 / 3, 0.25]]),
    "Pnma": Structure.from_spacegroup("Pnma", Lattice.orthorhombic(6, 4, 9), ["S", "Sn"], [[0.1, 0.25, 0.1], [0.4, 0.25, 0.3]]),
    "C2/m": Structure.from_spacegroup("C2/m", Lattice.monoclinic(9, 4, 6, 105), ["S", "P"], [[0.1, 0, 0.2], [0.3, 0, 0.6]]),
}
ATOMS = {"Im-3m": (2, 1), "Fm-3m": (8, 2), "R-3m": (6, 2), "P6_3/mmc": (2, 2), "Pnma": (8, 8), "C2/m": (8, 4)}


@pytest.mark.parametrize("symbol", CRYSTALS)
@pytest.mark.parametrize("noise", [0.0, 0.01])
def test_standard_cells_are_the_same_crystal_with_its_symmetry(symbol: str, noise: float) -> None:
    given = CRYSTALS[symbol].get_primitive_structure()
    given.make_supercell([[1, 1, 0], [0, 1, 0], [0, 0, 1]])
    given.perturb(noise) if noise else None
    for setting, atoms in zip(("conventional", "primitive"), ATOMS[symbol], strict=True):
        cell = standard_cell(given, setting)  # type: ignore[arg-type]
        assert (cell.setting, cell.symbol, cell.remark) == (setting, symbol, "")
        assert len(cell.structure) == atoms
        # exact now, whatever noise there was
        assert SpacegroupAnalyzer(cell.structure, 1e-4).get_space_group_symbol() == symbol
        assert StructureMatcher(scale=False).fit(given, cell.structure)
        assert cell.structure.volume / atoms == pytest.approx(given.volume / len(given), rel=0.02)
    stored = standard_cell(given, "as-is")
    assert stored.structure is given
    assert stored.group == f"{symbol} ({cell.number}), symprec 0.1 Å"


def test_what_idealising_would_change_stays_as_it_is() -> None:
    rng = np.random.default_rng(3)
    refused = 0
    for _ in range(20):
        noisy = CRYSTALS["Pnma"].copy()
        for index in range(len(noisy)):
            noisy.translate_sites(index, rng.normal(0, 0.06, 3), frac_coords=False)
        cell = standard_cell(noisy)
        if cell.remark:
            refused += 1
            assert (cell.setting, cell.structure) == ("as-is", noisy)
            continue
        moved = StructureMatcher(scale=False).get_rms_dist(noisy, cell.structure)
        assert moved is not None
        assert moved[1] * (noisy.volume / len(noisy)) ** (1 / 3) <= 0.1 + 1e-9
    assert refused < 20


def test_no_symmetry_at_all_is_an_answer() -> None:
    overlapping = Structure(Lattice.cubic(4), ["Li", "Li"], [[0, 0, 0], [0, 0, 0]])
    cell = standard_cell(overlapping)
    assert (cell.setting, cell.number) == ("as-is", None)
    assert "no symmetry was found" in cell.remark


PHASES = [
    ("Li", -1.9),
    ("S", -4.1),
    ("P", -5.4),
    ("Li2S", -4.15),
    ("Li3P", -3.5),
    ("P2S5", -4.8),
    ("Li3PS4", -4.62),
    ("LiPS3", -4.6),
]


@pytest.mark.parametrize("formula", ["Li2P2S6", "LiS", "Li7P3S11", "Li3PS4", "Li3P", "P4S3"])
def test_decompositions_are_those_of_pymatgen(formula: str) -> None:
    others = [
        (name, energy) for name, energy in PHASES if Composition(name).reduced_formula != Composition(formula).reduced_formula
    ]
    entries = [PDEntry(Composition(name), energy * Composition(name).num_atoms) for name, energy in others]
    diagram = PhaseDiagram(entries)
    composition = Composition(formula)
    expected = {e.composition.reduced_formula: share for e, share in diagram.get_decomposition(composition).items()}
    found = decomposition(("Li", "P", "S"), formula, -4.0, others)
    assert found is not None
    assert {others[p.index][0]: p.atomic_fraction for p in found.products} == pytest.approx(expected)
    assert found.energy == pytest.approx(-4.0 - diagram.get_hull_energy_per_atom(composition))
    # the reaction is balanced
    sides = Composition()
    for product in found.products:
        for element, amount in Composition(others[product.index][0]).items():
            sides += Composition({element: amount * product.amount})
    assert sides.almost_equals(composition.reduced_composition, rtol=1e-6)


def test_the_only_phase_of_an_element_decomposes_into_nothing() -> None:
    assert decomposition(("Li", "P", "S"), "Li", -1.9, [("S", -4.1), ("Li2S", -4.15)]) is None
    polymorph = decomposition(("Li", "P", "S"), "Li", -1.8, [("Li", -1.9), ("S", -4.1)])
    assert polymorph is not None
    assert [(p.index, p.amount) for p in polymorph.products] == [(0, pytest.approx(1.0))]
    assert polymorph.energy == pytest.approx(0.1)
