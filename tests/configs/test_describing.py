"""The words of the tree, and docs/configuration.md, which must say the same."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from coevo.configs.describing import allowed_at, describe_keys, what_it_does
from coevo.configs.loading import parse_config
from coevo.configs.tree import NodeConfig
from coevo.errors import ConfigError
from coevo.settings import Settings

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "configuration.md").read_text(encoding="utf-8")


def leaves(data: dict[str, Any], prefix: str = "") -> list[str]:
    keys: list[str] = []
    for key, value in data.items():
        keys += leaves(value, f"{prefix}{key}.") if isinstance(value, dict) and value else [f"{prefix}{key}"]
    return keys


def test_every_key_of_the_tree_is_described() -> None:
    config = NodeConfig.model_validate({"node": {"name": "a", "elements": ["Li"], "references": "x"}})
    described = list(describe_keys())
    assert [key.key for key in described] == leaves(config.model_dump(mode="json"))
    assert all(key.meaning for key in described)


def test_the_page_has_a_true_row_for_every_key() -> None:
    rows = [f"| `{key.key}` | {key.meaning} | `{key.default}` | {key.allowed} |" for key in describe_keys()]
    assert [row for row in rows if row not in PAGE] == []
    keys_of_tables = re.findall(r"^\| `([a-z_]+\.[a-z0-9_.]+)` \|", PAGE, flags=re.MULTILINE)
    assert keys_of_tables == [key.key for key in describe_keys()]


def test_the_page_names_every_key_that_is_asked_about_when_it_came_in_a_bundle() -> None:
    section = PAGE.partition("## From a bundle")[2].partition("\n## ")[0]
    rows = re.findall(r"^- `([a-z0-9_.]+)`: (.*)$", section, flags=re.MULTILINE)
    marked = {key.key: what_it_does(key.key) for key in describe_keys() if what_it_does(key.key)}
    assert [(row[0], row[1].partition(";")[0]) for row in rows] == list(marked.items())


def test_the_page_names_every_setting_with_its_default() -> None:
    for name, field in Settings.model_fields.items():
        row = next(line for line in PAGE.splitlines() if line.startswith(f"| `COEVO_{name.upper()}` |"))
        if field.default is not None:
            assert row.endswith(f"| `{field.default}` |")


def test_the_example_of_the_page_gives_the_errors_of_the_page() -> None:
    broken, told = re.search(r"This file\n\n```yaml\n(.*?)```\n\ngives\n\n```text\n(.*?)```", PAGE, flags=re.DOTALL).groups()
    with pytest.raises(ConfigError) as caught:
        parse_config(broken, "broken.yaml")
    assert str(caught.value) == told.rstrip("\n")
    assert told.count("\n") >= 5


def test_the_shortest_file_of_the_page_is_valid() -> None:
    shortest = re.search(r"The shortest file.*?```yaml\n(.*?)```", PAGE, flags=re.DOTALL).group(1)
    assert parse_config(shortest, "x.yaml").node.name == "na-cl"


@pytest.mark.parametrize(
    ("location", "allowed"),
    [
        (("curation", "max_e_hull"), "a number >= 0 and <= 5 eV/atom"),
        (("screening", "fmax"), "a number > 0 and <= 1 eV/Å"),
        (("node", "descriptor", "bandwidth"), "a number > 0 and <= 1 1/Å"),
        (("screening", "min_volume_per_atom"), "a number > 0 Å³"),
        (("resources", "workers"), "an integer >= 1 or null"),
        (("labelling", "energy_range"), "a list of 2 numbers eV/atom"),
        (("labelling", "energy_range", 0), "a number eV/atom"),
        (("node", "elements", 5), "text"),
        (("screening", "force_field", "weights"), "one of 0.2.0, 0.3.0, r2scan"),
        (("screening", "force_field"), "a mapping of family, weights"),
        (("nowhere", "x"), "nothing"),
    ],
)
def test_what_is_allowed_is_said_in_words(location: tuple[str | int, ...], allowed: str) -> None:
    assert allowed_at(location) == allowed
