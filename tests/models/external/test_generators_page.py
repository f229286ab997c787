"""docs/generators.md shows the example as it is, and says what is so."""

from __future__ import annotations

import re
from pathlib import Path

from example_family import EXAMPLE

from coevo.configs.model_environments import ModelEnvironment
from coevo.configs.yaml_tree import read_yaml
from coevo.models.external.exchange import PROTOCOL
from coevo.models.registry import GENERATORS, external_families

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "generators.md").read_text(encoding="utf-8")


def test_the_page_shows_the_files_that_the_tests_run() -> None:
    blocks = re.findall(r"```(?:toml|python)\n(.*?)```", PAGE, flags=re.DOTALL)
    files = ("pyproject.toml", "random_cells/__init__.py", "random_cells/random_cells_runner.py")
    assert blocks == [(EXAMPLE / name).read_text(encoding="utf-8") for name in files]


def test_the_file_of_an_environment_on_the_page_is_valid_and_whole() -> None:
    text = re.search(r"`FAMILY.yaml` in that directory:\n\n```yaml\n(.*?)```", PAGE, flags=re.DOTALL)[1]
    shown = ModelEnvironment.model_validate(read_yaml(text).data)
    assert shown.model_fields_set == set(ModelEnvironment.model_fields)
    asking = {c.licence for family in external_families().values() for c in family.checkouts if c.consent}
    assert set(shown.consents.values()) == asking, "the very words that are compared"


def test_the_page_names_every_family_and_the_protocol() -> None:
    for family in GENERATORS:
        assert f"| `{family}` |" in PAGE
    assert f"`protocol: {PROTOCOL}`" in PAGE


def test_requirements_are_pins_and_torch_is_the_tested_one() -> None:
    for family in external_families().values():
        pins = family.pins()
        assert len({pin.partition("==")[0].lower() for pin in pins}) == len(pins)
        assert not [pin for pin in pins if "+" in pin]
    assert "torch==2.13.0" in external_families()["mattergen"].pins()
    assert "mattergen==1.0.3" in external_families()["mattergen"].pins()
