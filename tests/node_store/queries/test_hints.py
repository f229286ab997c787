"""Hints on filters that no entry can match; none where an entry could."""

from __future__ import annotations

import pytest

from coevo.node_store.queries.hints import filter_hints
from coevo.node_store.queries.queries import parse_filter

NODE = ("Li", "P", "S")


def hints(text: str, elements: tuple[str, ...] = NODE) -> str:
    return " | ".join(filter_hints(parse_filter(text), elements))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('elements HAS "li"', '"li" is no symbol of a chemical element; did you mean "Li"?'),
        ('elements HAS "Qq"', '"Qq" is no symbol'),
        ('elements HAS "Zn"', "the node has the elements Li, P, S, and not Zn"),
        ('elements HAS ALL "Li","Zn"', "and not Zn"),
        ('elements HAS ONLY "Zn"', "and not Zn"),
        ('nelements=2 AND elements HAS "Zn"', "and not Zn"),
        ('chemical_formula_reduced="Li3PS4" AND chemical_formula_reduced="PLi3S4"', '"Li3PS4"; or write formula = "Li3PS4"'),
        ('chemical_formula_reduced="SLi2"', 'orders elements by the alphabet: "Li2S"'),
        ('"SLi2" = chemical_formula_reduced', 'orders elements by the alphabet: "Li2S"'),
        ('chemical_formula_reduced="Li4S2"', 'reduces it and orders elements by the alphabet: "Li2S"'),
        ('chemical_formula_reduced="Li3(PS4)"', '"Li3PS4"'),
        ('chemical_formula_reduced="ZnS"', 'alphabet: "SZn"; or write formula = "ZnS"; the node has the elements'),
        ('formula="S4Li3P"', 'it is written "Li3PS4" here'),
        ('formula="Li+"', "without charges and blanks"),
        ('formula="Xx2S"', '"Xx" is no symbol'),
        ('chemsys="S-P"', '"P-S"'),
        ('chemsys="P,S"', '"P-S"'),
        ('chemsys="Zn-S"', "and not Zn"),
        ('chemical_formula_anonymous="AB2"', 'from the largest amount to the smallest: "A2B"'),
        ("space_group=231", "1 to 230"),
        ("space_group>230", "1 to 230"),
        ("nelements=4", "the node has 3 elements"),
        ("nelements>3", "the node has 3 elements"),
        ("elements LENGTH 4", "the node has 3 elements"),
        ("energy_above_hull<0", "below the hull"),
        ('id="ad834d1f"', "STARTS WITH"),
        ('matched_reference="Li2S"', "an id has 64 digits"),
        ('hull_status="foo"', 'hull_status = "foo": it is one of confirmed, unconfirmed, refuted, in_doubt'),
        ('audit_verdict="foo"', 'audit_verdict = "foo": it is one of stable, unstable, undecided'),
    ],
)
def test_what_cannot_match_is_explained(text: str, expected: str) -> None:
    assert expected in hints(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        'elements HAS "Li"',
        'elements HAS ANY "Li","Zn"',
        'elements HAS ONLY "Li","Zn"',
        'NOT elements HAS "Zn"',
        'NOT chemical_formula_reduced="ZnS"',
        'chemical_formula_reduced!="SLi2"',
        'chemical_formula_reduced="Li3PS4"',
        'formula="Li3PS4"',
        'chemsys="Li-P-S"',
        'chemical_formula_anonymous="A4B3C"',
        "space_group=225",
        "nelements>=3",
        "energy_above_hull<=0",
        "energy_above_reference_hull<0",
        'id STARTS WITH "ad"',
        f'id="{"a" * 64}"',
        "is_sun=TRUE",
        'hull_status="in_doubt" AND audit_verdict="stable"',
        'hull_status CONTAINS "doubt"',
        'formula CONTAINS "Zn"',
    ],
)
def test_what_may_match_has_no_hint(text: str) -> None:
    assert hints(text) == ""


def test_formulas_with_brackets_are_written_as_pymatgen_reduces_them() -> None:
    assert hints('formula="Ca(HO)2"', ("Ca", "H", "O")) == ""
    assert hints('formula="CaO2H2"', ("Ca", "H", "O")) == 'formula = "CaO2H2": it is written "Ca(HO)2" here'
    assert '"SZn"' in hints('chemical_formula_reduced="ZnS"', ("S", "Zn"))
