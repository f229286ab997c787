"""Phases with bonds between anions that the MP2020 correction acts on, and their energy above hull without it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pymatgen.analysis.phase_diagram import PDEntry, PhaseDiagram
from pymatgen.core import Lattice, Structure

from coevo.analysis.hull.energy_scale import anion_correction, corrected_anions
from coevo.configs.references import load_references
from coevo.makers.populations import scale_sensitivity
from coevo.makers.populations.scale_sensitivity import is_scale_sensitive, stability_counts, with_scale_sensitivity

ELEMENTS = ("Li", "P", "S")


@pytest.fixture(scope="module")
def known() -> dict[str, Structure]:
    return {reference.name: reference.structure for reference in load_references("li-p-s", ELEMENTS)}


def with_pair(length: float) -> Structure:
    """Li2S2 with one pair of sulphur atoms, Å apart."""
    return Structure(
        Lattice.cubic(6.0), ["Li", "Li", "S", "S"], [[0, 0, 0], [0.5, 0.5, 0], [0, 0.5, 0.4], [0, 0.5, 0.4 + length / 6.0]]
    )


LI2O2 = Structure.from_spacegroup(
    "P6_3/mmc", Lattice.hexagonal(3.14, 7.65), ["Li", "Li", "O"], [[0, 0, 0], [1 / 3, 2 / 3, 0.75], [1 / 3, 2 / 3, 0.149]]
)


def test_known_phases_without_bonds_between_anions_are_not_marked(known: dict[str, Structure]) -> None:
    """S8 has S-S bonds and no correction; Li2S, thiophosphates and P4S3 have the correction and no S-S bond."""
    assert {name for name, structure in known.items() if is_scale_sensitive(structure)} == set()
    assert set(corrected_anions(known["P4S3"])) == {"S"}
    assert corrected_anions(known["alpha-S8 (Fddd)"]) == {}


def test_bonded_anions_are_marked() -> None:
    assert corrected_anions(with_pair(2.1)) == {"S": pytest.approx(-0.503 / 2)}
    assert is_scale_sensitive(with_pair(2.1))
    assert not is_scale_sensitive(with_pair(2.6)), "beyond the cut-off of 2.55 Å"
    assert corrected_anions(LI2O2) == {"O": pytest.approx(-0.465 / 2)}, "a peroxide"
    assert is_scale_sensitive(LI2O2)
    phosphide = Structure(Lattice.cubic(4.5), ["Li", "P", "P"], [[0.5, 0.5, 0], [0, 0, 0.4], [0, 0, 0.4 + 2.2 / 4.5]])
    assert not is_scale_sensitive(phosphide), "P-P bonds get no correction"


def document(energy: float, **more: Any) -> dict[str, Any]:
    return {"energy_per_atom": energy, **more}


def test_the_uncorrected_energy_above_hull_is_pymatgens(known: dict[str, Structure]) -> None:
    structures = [*(s for s in known.values() if len(s) <= 40), with_pair(2.1), with_pair(2.05)]
    rng = np.random.default_rng(3)
    energies = [-3.0 - 0.3 * len(structure.composition) + 0.2 * rng.random() for structure in structures]
    rows = with_scale_sensitivity([document(energy) for energy in energies], structures, ELEMENTS)
    plain = [
        PDEntry(structure.composition, (energy - anion_correction(structure)) * len(structure))
        for structure, energy in zip(structures, energies, strict=True)
    ]
    diagram = PhaseDiagram(plain)
    assert [row["energy_above_hull_uncorrected"] for row in rows] == pytest.approx(
        [diagram.get_e_above_hull(entry) for entry in plain], abs=1e-9
    )
    assert [row["scale_sensitive"] for row in rows] == [False] * (len(rows) - 2) + [True] * 2
    assert max(row["energy_above_hull_uncorrected"] for row in rows) > 0.05


def test_only_members_of_the_hull_make_it(known: dict[str, Structure]) -> None:
    """With Li2S2 in the hull it is on it; with the hull of Li, Li2S and S8 alone it is below it."""
    structures = [known["Li bcc"], known["Li2S"], known["alpha-S8 (Fddd)"], with_pair(2.1)]
    # formation energies of 0, -1.5, 0 and -2 eV/atom on the corrected scale
    rows = [document(energy) for energy in (0.0, -1.5, 0.0, -2.0)]
    own, alone = (
        with_scale_sensitivity(rows, structures, ("Li", "S"), in_hull)[-1]["energy_above_hull_uncorrected"]
        for in_hull in (None, [True, True, True, False])
    )
    assert own == 0.0
    # without the correction: -2 + 0.503/2 against 3/4 of the atoms in Li2S, at -1.5 + 0.503/3
    assert alone == pytest.approx((-2.0 + 0.503 / 2) - 0.75 * (-1.5 + 0.503 / 3), abs=1e-9)


def test_a_structure_that_pymatgen_refuses_is_unknown_and_the_others_are_not(
    known: dict[str, Structure], monkeypatch: pytest.MonkeyPatch
) -> None:
    from coevo.errors import AnalysisError

    def refusing(structure: Structure) -> dict[str, float]:
        if structure.composition.reduced_formula == "LiS":
            raise AnalysisError("no correction")
        return corrected_anions(structure)

    monkeypatch.setattr(scale_sensitivity, "corrected_anions", refusing)
    structures = [known["Li bcc"], known["Li2S"], known["alpha-S8 (Fddd)"], with_pair(2.1)]
    rows = with_scale_sensitivity([document(energy) for energy in (0.0, -1.5, 0.0, -2.0)], structures, ("Li", "S"))
    assert [row["scale_sensitive"] for row in rows] == [False, False, False, None]
    assert [row["energy_above_hull_uncorrected"] for row in rows] == [0.0, 0.0, 0.0, None]
    assert with_scale_sensitivity([], [], ELEMENTS) == []


def test_counts_are_of_stable_entries_and_absent_where_nothing_was_asked() -> None:
    def row(sensitive: bool | None, stable: bool, without: float | None) -> dict[str, Any]:
        return {"scale_sensitive": sensitive, "is_stable": stable, "energy_above_hull_uncorrected": without}

    live = [row(True, True, 0.3), row(True, True, 0.05), row(True, False, 0.4), row(False, True, 0.3), row(None, True, None)]
    assert stability_counts(live, 0.1) == {"stable_scale_sensitive": 2, "stable_by_correction": 1}
    assert stability_counts([{"is_stable": True}], 0.1) == {}
    assert stability_counts([], 0.1) == {}
