"""Lists of elements in every way that people write them, on the command line and in YAML."""

from __future__ import annotations

import pytest

from coevo.configs.element_lists import elements_of
from coevo.configs.loading import parse_config
from coevo.errors import ConfigError
from coevo.studies.piles.parsing import limits_for


@pytest.mark.parametrize("text", ["Zn,S", "Zn-S", "Zn S", "Zn, S", " Zn - S ", "Zn;S", "Zn+S", "[Zn, S]", "Zn–S"])
def test_all_separators_are_read(text: str) -> None:
    assert elements_of(text, "--elements") == ("Zn", "S")
    assert limits_for(text, 100).elements == ("S", "Zn")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("zn-s", "'zn', 's' are not chemical elements; did you mean Zn, S?"),
        ("ZnS", "'ZnS' is not a chemical element; did you mean Zn-S?"),
        ("zinc", "did you mean Zn?"),
        ("Xx,S", "'Xx' is not a chemical element; allowed: symbols such as Li, P, S"),
        ("", "names no element"),
        (" , ", "names no element"),
    ],
)
def test_unknown_symbols_are_named(text: str, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        elements_of(text, "--elements")
    assert expected in str(caught.value)
    assert str(caught.value).startswith("--elements")


def test_yaml_reads_a_chemical_system_as_a_list() -> None:
    text = "node:\n  name: x\n  elements: {}\n  references: li-p-s\n"
    for written in ("Li-P-S", "Li,P,S", "S P Li", "[Li, P, S]"):
        assert parse_config(text.format(written), "x.yaml").node.elements == ("Li", "P", "S")
    with pytest.raises(ConfigError, match=r"x\.yaml:3: node\.elements: 'li' is not a chemical element; did you mean Li"):
        parse_config(text.format("li"), "x.yaml")
