"""Electrons that a composition holds beyond what its elements can take."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coevo.configs.electrons import LOWEST_STATES, NON_METALS, electron_excess, has_electron_excess
from coevo.configs.references import load_references

_TRANSITION_AND_F = """
    Sc Ti V Cr Mn Fe Co Ni Cu Y Zr Nb Mo Tc Ru Rh Pd Ag Hf Ta W Re Os Ir La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er
    Tm Yb Lu Ac Th Pa U Np Pu Am Cm Bk Cf Es Fm Md No Lr
"""
_DIFFERENCES = {"Pt": -2, "Au": -1, "B": -1, "Ga": 1, "In": 1, "Pb": -4, "Bi": -3}

_amounts = st.dictionaries(st.sampled_from(sorted(LOWEST_STATES)), st.integers(1, 40), min_size=1, max_size=5)
_li_p_s = st.fixed_dictionaries({"Li": st.integers(0, 60), "P": st.integers(0, 20), "S": st.integers(0, 20)})


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ({"Li": 7, "S": 3}, 1 / 10),
        ({"Li": 12, "P": 3, "S": 1}, 1 / 16),
        ({"Li": 5, "S": 1}, 3 / 6),
        ({"Li": 7, "P": 5, "S": 1}, -10 / 13),
        ({"Ca": 2, "N": 1}, 1 / 3),  # the electride
        ({"Li": 2, "S": 1}, 0.0),
        ({"Li": 3, "P": 1}, 0.0),
        ({"Li": 1, "P": 1}, -1.0),
        ({"Li": 3, "P": 7}, -1.8),
        ({"Li": 1, "P": 7}, -2.5),
        ({"Li": 3, "P": 1, "S": 4}, -1.0),
        ({"Li": 4, "P": 2, "S": 6}, -14 / 12),
        ({"Al": 2, "S": 3}, 0.0),
        ({"Mg": 2, "Si": 1}, 0.0),
        ({"Ni": 3, "S": 2}, -4 / 5),
        ({"B": 6, "O": 1}, -8 / 7),
    ],
)
def test_known_compositions(counts: dict[str, float], expected: float) -> None:
    found = electron_excess(counts)
    assert found == pytest.approx(expected)
    assert has_electron_excess(found) == (expected > 0)


@pytest.mark.parametrize("counts", [{"Li": 1}, {"Li": 1, "Al": 1}, {"Li": 17, "Si": 4}, {"Li": 4, "P": 0}])
def test_metals_and_intermetallic_compounds_have_none(counts: dict[str, float]) -> None:
    assert electron_excess(counts) == 0.0


@pytest.mark.parametrize("counts", [{}, {"Li": 0}, {"Ar": 1}, {"Li": 1, "He": 2, "S": 1}, {"Rf": 1, "S": 2}, {"X": 1}])
def test_what_the_table_lacks_is_not_decided(counts: dict[str, float]) -> None:
    assert electron_excess(counts) is None
    assert not has_electron_excess(None)


@given(_amounts, st.integers(2, 9))
def test_the_multiple_of_the_formula_does_not_matter(counts: dict[str, int], factor: int) -> None:
    once, more = electron_excess(counts), electron_excess({symbol: factor * n for symbol, n in counts.items()})
    assert once is not None
    assert once == pytest.approx(more)
    assert has_electron_excess(once) == has_electron_excess(more)


@given(_li_p_s)
def test_of_li_p_s_it_is_the_count_of_their_ions(counts: dict[str, int]) -> None:
    li, p, s = (counts[symbol] for symbol in ("Li", "P", "S"))
    if p + s:
        assert has_electron_excess(electron_excess(counts)) == (li > 3 * p + 2 * s)


@given(_amounts.filter(lambda counts: not NON_METALS.isdisjoint(counts)))
def test_each_further_lithium_raises_it(counts: dict[str, int]) -> None:
    before, after = electron_excess(counts), electron_excess({**counts, "Li": counts.get("Li", 0) + 1})
    # +1 is the state of lithium: a mean is drawn towards it, from above too (Ca2N and much lithium).
    assert before is not None
    assert after is not None
    assert after > before or before >= 1.0


def test_the_table_is_that_of_pymatgen_but_for_what_it_says() -> None:
    from pymatgen.core import Element

    common = {e.symbol: e.common_oxidation_states for e in map(Element.from_Z, range(1, 104))}
    expected = {symbol: min(states) for symbol, states in common.items() if states}
    expected |= dict.fromkeys(_TRANSITION_AND_F.split(), 0) | _DIFFERENCES
    assert expected == LOWEST_STATES


@pytest.mark.parametrize(("name", "elements"), [("li-p-s", ("Li", "P", "S")), ("li-s-small", ("Li", "S"))])
def test_no_bundled_reference_has_an_excess(name: str, elements: tuple[str, ...]) -> None:
    references = load_references(name, elements)
    found = {r.name: electron_excess(r.structure.composition.get_el_amt_dict()) for r in references}
    assert found
    assert all(value is not None and value <= 0 for value in found.values())


def test_no_known_prototype_has_an_excess() -> None:
    """Those of the AFLOW library that come with pymatgen: salts, covalent crystals, metals."""
    import pymatgen.core

    path = Path(pymatgen.core.__file__).parents[1] / "analysis/prototypes/aflow_prototypes.json.gz"
    rows = json.loads(gzip.decompress(path.read_bytes()))
    compositions = [_composition(row) for row in rows]
    assert len(compositions) > 250
    assert [c for c in compositions if electron_excess(c) is None or has_electron_excess(electron_excess(c))] == []


def _composition(row: dict[str, Any]) -> dict[str, float]:
    counts: dict[str, float] = {}
    for site in row["snl"]["sites"]:
        for specie in site["species"]:
            counts[specie["element"]] = counts.get(specie["element"], 0) + specie["occu"]
    return counts
