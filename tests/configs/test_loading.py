"""Configurations from YAML: what is read, and what every kind of mistake is answered with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from coevo.configs.changing import check_change
from coevo.configs.loading import (
    config_difference,
    config_from_dict,
    dump_config,
    load_config,
    parse_config,
    preset_names,
    preset_text,
)
from coevo.configs.tree import ELEMENT_SYMBOLS, NodeConfig
from coevo.errors import ConfigError

HEAD = "node:\n  name: salt\n  elements: [Na, Cl]\n  references: salt.cif\n"


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse_config(text, "x.yaml")
    return str(caught.value).split("\n")


def changed(base: dict[str, Any], **keys: Any) -> NodeConfig:
    data = {section: dict(values) for section, values in base.items()}
    for key, value in keys.items():
        section, name = key.split("__", 1)
        data[section][name] = value
    return NodeConfig.model_validate(data)


def test_a_short_file_has_the_defaults_of_the_tree() -> None:
    config = parse_config(HEAD, "x.yaml")
    assert config.node.elements == ("Cl", "Na")
    assert config == NodeConfig.model_validate({"node": {"name": "salt", "elements": ["Na", "Cl"], "references": "salt.cif"}})


def test_the_message_of_a_value_out_of_range() -> None:
    text = HEAD + "curation:\n  # a comment\n  max_e_hull: -1\n"
    assert problems(text) == ["x.yaml:7: curation.max_e_hull: got -1, allowed: a number >= 0 and <= 5 eV/atom"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "curation: {max_ehull: 0.1}",
            "x.yaml:5: curation.max_ehull: unknown key; did you mean max_e_hull?; allowed keys: max_e_hull, st",
        ),
        (
            "generation: {}",
            "x.yaml:5: generation: unknown key; did you mean generator?; allowed keys: node, references, generator",
        ),
        ("zzz: 1", "x.yaml:5: zzz: unknown key; allowed keys: node"),
        ("generator: {candidates: many}", "x.yaml:5: generator.candidates: got many, allowed: an integer >= 1 and <= 1000000"),
        ("generator: {candidates: 12.5}", "x.yaml:5: generator.candidates: got 12.5, allowed: an integer"),
        ("generator: {fit: perhaps}", "x.yaml:5: generator.fit: got perhaps, allowed: true or false"),
        (
            "generator: {electron_excess_share: true}",
            "x.yaml:5: generator.electron_excess_share: got true, allowed: a number >= 0",
        ),
        ("generator: {candidates: true}", "x.yaml:5: generator.candidates: got true, allowed: an integer"),
        ("curation: {max_e_hull: false}", "x.yaml:5: curation.max_e_hull: got false, allowed: a number >= 0"),
        ("generator: [1, 2]", "x.yaml:5: generator: got [1, 2], allowed: a mapping of family, mixture, candidates"),
        ("generator:", "x.yaml:5: generator: got nothing, allowed: a mapping of"),
        ("generator:\n  candidates: {a: 1}", "x.yaml:6: generator.candidates: got a mapping, allowed: an integer"),
        ("screening: {fmax: .nan}", "x.yaml:5: screening.fmax: got .nan, allowed: a number > 0 and <= 1 eV/Å"),
        ("training: {learning_rate: 1e400}", "x.yaml:5: training.learning_rate: got .inf, allowed: a number > 0 and <= 0.1"),
        (
            "labelling: {code: siesta}",
            "x.yaml:5: labelling.code: got siesta, allowed: teacher, espresso, vasp, maker, or a code whose package is installed",
        ),
        ("labelling: {energy_range: [3, a]}", "x.yaml:5: labelling.energy_range[1]: got a, allowed: a number eV/atom"),
        ("labelling: {energy_range: [3]}", "x.yaml:5: labelling.energy_range[1]: missing"),
        (
            "labelling: {energy_range: [3, 1]}",
            "x.yaml:5: labelling.energy_range: got [3.0, 1.0], allowed: the lower energy first",
        ),
        ("curation:\n  max_e_hull: 0.05", "x.yaml:5: curation: stable_threshold 0.1 must not exceed max_e_hull 0.05"),
        (
            "generator:\n  compositions: [NaCl, LiCl]",
            "x.yaml:6: generator.compositions[1]: LiCl holds Li, allowed: the elements of",
        ),
        ("generator:\n  compositions: [salt]", "x.yaml:6: generator.compositions[0]: got 'salt', allowed: a formula such as"),
        (
            "screening:\n  force_field:\n    weights: r2scan",
            "x.yaml:7: screening.force_field.weights: got r2scan, whose energies",
        ),
        ("resources: {workers: 0}", "x.yaml:5: resources.workers: got 0, allowed: an integer >= 1 or null"),
    ],
)
def test_one_mistake_one_line(text: str, expected: str) -> None:
    (line,) = problems(HEAD + text)
    assert line.startswith(expected)


def test_an_unknown_element_is_named_with_its_line() -> None:
    (line,) = problems("node:\n  name: a\n  references: b\n  elements: [Li, Xx]\n")
    assert line == "x.yaml:4: node.elements: 'Xx' is not a chemical element; allowed: symbols such as Li, P, S"
    assert "repeated" in problems("node: {name: a, references: b, elements: [Li, Li]}")[0]


def test_missing_keys_are_named_with_their_meaning() -> None:
    lines = problems("node:\n  name: a\n")
    assert lines[0].startswith("x.yaml:1: node.elements: missing (the chemical system), allowed: a list of texts")
    assert lines[1].startswith("x.yaml:1: node.references: missing (a bundled set")
    assert problems("generator: {candidates: 5}")[0].startswith("x.yaml:1: node: missing, allowed: a mapping of name")


def test_all_mistakes_are_told_at_once_in_the_order_of_the_file() -> None:
    text = HEAD + "generator:\n  max_atoms: 0\n  max_atoms: 5\nscreening:\n  fmx: 0.1\n  max_steps: soon\n"
    lines = problems(text)
    assert [line.split(": ")[0] for line in lines] == ["x.yaml:6", "x.yaml:7", "x.yaml:9", "x.yaml:10"]
    assert lines[1] == "x.yaml:7: generator.max_atoms: given twice, first on line 6; keep one"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "x.yaml:1: got an empty file, allowed: a mapping of node, references, generator"),
        ("# only a comment\n", "x.yaml:1: got an empty file"),
        ("- a\n- b\n", "x.yaml:1: got [a, b], allowed: a mapping"),
        ("node", "x.yaml:1: got node, allowed: a mapping"),
        ("node:\n\tname: a\n", "x.yaml:2: not YAML: a tab; indent with spaces"),
        ("node: {name: a\n", "x.yaml:2: not YAML: "),
        ("node: a: b\n", "x.yaml:1: not YAML: mapping values are not allowed here"),
        ("a: 1\n---\nb: 2\n", "x.yaml:2: not one YAML document"),
        ("a: &x 1\nb: *x\n", "x.yaml:1: not YAML: anchors and aliases"),
        (
            "a: !!python/object/apply:os.system [ls]\n",
            "x.yaml:1: a: tag 'tag:yaml.org,2002:python/object/apply:os.system' is not allowed",
        ),
        ("[" * 5000, "x.yaml:1: not YAML: more than 20 levels of nesting"),
        ("a: \x07\n", "x.yaml:1: not YAML: character U+0007 is not allowed"),
        ("? [a]\n: 1\n", "x.yaml:1: the file: a list or mapping stands where a key is expected"),
        ("node: {seed: " + "9" * 5000 + "}\n", "x.yaml:1: '9999"),
    ],
)
def test_what_is_no_yaml_mapping(text: str, expected: str) -> None:
    assert problems(text)[0].startswith(expected)


def test_scalars_are_those_of_yaml_1_2() -> None:
    config = parse_config(
        "node:\n  name: n\n  elements: [No, Y, N]\n"
        "  references: off\n  description: 12:30\n  seed: 010\n"
        "training: {learning_rate: 1e-3, enabled: false}\nscreening: {fmax: 5E-2, max_steps: 1_000}\n",
        "x.yaml",
    )
    assert config.node.elements == ("N", "No", "Y")
    assert (config.node.references, config.node.description, config.node.seed) == ("off", "12:30", 10)
    assert (config.training.learning_rate, config.training.enabled) == (1e-3, False)
    assert (config.screening.fmax, config.screening.max_steps) == (0.05, 1000)


def test_yes_and_no_still_switch() -> None:
    config = parse_config(HEAD + "generator: {fit: no}\ntraining: {enabled: yes}\n", "x.yaml")
    assert (config.generator.fit, config.training.enabled) == (False, True)


def test_files_and_presets(tmp_path: Path) -> None:
    assert preset_names() == [
        "li-p-s",
        "li-p-s-adit",
        "li-p-s-chemeleon-dng",
        "li-p-s-demo",
        "li-p-s-diffcsp",
        "li-p-s-offline",
        "li-p-s-sevennet",
        "li-p-s-uni3dar",
        "li-s-qe",
    ]
    preset = load_config("li-p-s-demo")
    assert (preset.source, preset.base, preset.text) == ("preset li-p-s-demo", None, preset_text("li-p-s-demo"))
    path = tmp_path / "my node.yaml"
    path.write_text("\ufeff" + HEAD, encoding="utf-8")
    loaded = load_config(path)
    assert load_config(str(path)) == loaded
    assert (loaded.source, loaded.base, loaded.config.node.name) == (str(path), tmp_path, "salt")


def test_the_presets_are_what_they_say() -> None:
    demo, full = load_config("li-p-s-demo").config, load_config("li-p-s").config
    assert demo.node.name == "li-p-s-demo"
    assert full.node.name == "li-p-s"
    assert (full.generator.candidates, full.generator.shard_size, full.generator.max_atoms) == (10_000, 500, 20)
    assert "coevo run li-p-s -n 7" in preset_text("li-p-s")
    assert demo.generator.candidates <= 100
    for config in (demo, full):
        assert config.node.elements == ("Li", "P", "S")
    assert (demo.labelling.code, full.labelling.code) == ("teacher", "espresso"), "production labels are of first principles"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "li-p-s-dem",
            "no preset 'li-p-s-dem'; did you mean li-p-s-demo?; allowed: li-p-s, li-p-s-",
        ),
        (
            "nowhere/x.yaml",
            "nowhere/x.yaml: cannot be read: No such file or directory; presets are li-p-s, li-p-s-",
        ),
        ("../tree", "../tree: cannot be read"),
    ],
)
def test_a_name_that_is_nowhere(name: str, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(name)
    assert str(caught.value).startswith(expected)


def test_files_that_are_no_text(tmp_path: Path) -> None:
    binary = tmp_path / "x.yaml"
    binary.write_bytes(b"node:\n  name: \xff\xfe")
    with pytest.raises(ConfigError, match=r"not a text file in UTF-8 \(byte 14\)"):
        load_config(binary)
    with pytest.raises(ConfigError, match="Is a directory"):
        load_config(tmp_path)
    with pytest.raises(ConfigError, match=r"--elements: node\.elements: 'Q' is not"):
        config_from_dict({"node": {"name": "q", "elements": ["Q"], "references": "r"}}, "--elements")


def test_differences_are_listed_key_by_key() -> None:
    old = {"screening": {"fmax": 0.1, "max_steps": 200}, "node": {"elements": ["Li"]}, "gone": None}
    new = {"screening": {"fmax": 0.05, "max_steps": 200}, "node": {"elements": ["Li", "S"]}, "added": {"x": "1e-3"}}
    assert config_difference(old, new) == [
        "screening.fmax: 0.1 -> 0.05",
        "node.elements: [Li] -> [Li, S]",
        "gone: null -> (absent)",
        "added.x: (absent) -> '1e-3'",
    ]
    assert config_difference(old, old) == []
    # states leave out later keys that are at their default
    changes = {
        "curation": {"hull": "labelled", "ltol": 0.3},
        "node": {"branch_seed": 7},
        "labelling": {"teacher": {"weights": "pes"}},
    }
    assert config_difference(changes, {"curation": {"ltol": 0.3}}) == [
        "curation.hull: labelled -> model",
        "node.branch_seed: 7 -> 0",
        "labelling.teacher.weights: pes -> r2scan",  # the teacher's, not that of any force field
    ]
    assert config_difference({}, {"node": {"elements": ["Li"]}}) == ["node.elements: (absent) -> [Li]"]


BASE = load_config("li-p-s").config
BASE_DATA = BASE.model_dump(mode="json")


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("node__name", "other", "node.name: li-p-s -> other"),
        ("node__elements", ["Li", "S"], "node.elements: [Li, P, S] -> [Li, S]"),
        ("node__references", "more.json", "node.references: li-p-s -> more.json"),
        ("node__descriptor", {"bandwidth": 0.02}, "node.descriptor.bandwidth: 0.015 -> 0.02"),
    ],
)
def test_what_a_live_node_cannot_change(key: str, value: Any, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_change(BASE, changed(BASE_DATA, **{key: value}))
    assert told in str(caught.value)
    assert "make a new node with `coevo init`" in str(caught.value)


def test_an_energy_scale_cannot_change() -> None:
    # a state that was written on another scale than the file says
    other = BASE.model_copy(update={"node": BASE.node.model_copy(update={"energy_scale": "r2scan"})})
    with pytest.raises(ConfigError, match="energy_scale: r2scan -> pbe"):
        check_change(other, BASE)


def test_the_family_of_the_generator_cannot_change() -> None:
    """The checkpoint goes on as what it is: another name in the file would change nothing, and must not look as if it did."""
    other = changed(BASE_DATA, generator__family="embedded")
    with pytest.raises(ConfigError, match="mattergen -> embedded: the checkpoint"):
        check_change(BASE, other)


def test_what_a_node_withholds_cannot_change() -> None:
    with pytest.raises(ConfigError, match=r"references\.exclude: \[\] -> \[Li2S\].*make a new node"):
        check_change(BASE, changed(BASE_DATA, references__exclude=["Li2S"]))
    one, other = (changed(BASE_DATA, references__exclude=names) for names in (["Li2S", "Li3P"], ["Li3P", "Li2S"]))
    assert check_change(one, other) == []


def test_a_configuration_of_an_older_state_withholds_nothing() -> None:
    older = {key: value for key, value in BASE_DATA.items() if key != "references"}
    assert NodeConfig.model_validate(older).references.exclude == ()


@pytest.mark.parametrize(
    ("exclude", "told"),
    [
        ("[Li2S, Li2S]", "references.exclude: a name is repeated in ['Li2S', 'Li2S']"),
        ("['']", "references.exclude: got an empty name"),
        ("Li2S", "references.exclude: got Li2S, allowed: a list of texts"),
        ("[1]", "references.exclude[0]: got 1, allowed: text"),
    ],
)
def test_names_that_cannot_be_withheld(exclude: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(HEAD + f"references: {{exclude: {exclude}}}\n", "x.yaml")
    assert told in str(caught.value)


def test_what_a_live_node_may_change() -> None:
    new = changed(BASE_DATA, screening__fmax=0.05, node__description="tighter", node__seed=3)
    assert check_change(BASE, new) == [
        "node.description: Li-P-S solid electrolytes and their competing phases -> tighter",
        "node.seed: 0 -> 3",
        "screening.fmax: 0.1 -> 0.05",
    ]
    assert check_change(BASE, BASE) == []


TEXT = st.text(st.characters(blacklist_categories=("Cs",)), max_size=40)
WORDS = st.sampled_from(
    ["No", "1e-3", "on", "~", "null", "0x10", "12:30", "a: b", "# x", "- a", "'", '"', " a ", "2024-01-01", "{", ""]
)


@st.composite
def configs(draw: st.DrawFn) -> NodeConfig:
    """Draw trees with every kind of value: text that looks like numbers, tiny floats, optional and listed values."""
    elements = draw(st.lists(st.sampled_from(sorted(ELEMENT_SYMBOLS)), min_size=1, max_size=8, unique=True))
    stable = draw(st.floats(0, 5))
    low = draw(st.floats(-1e300, 1e300))
    return NodeConfig.model_validate(
        {
            "node": {
                "name": draw(st.from_regex(r"[a-z0-9][a-z0-9._-]{0,63}", fullmatch=True)),
                "description": draw(WORDS | TEXT),
                "elements": elements,
                "references": draw(WORDS | TEXT),
                "seed": draw(st.integers(0, 2**32 - 1)),
            },
            "generator": {"compositions": draw(st.lists(st.sampled_from(elements))), "fit": draw(st.booleans())},
            "screening": {"fmax": draw(st.floats(0, 1, exclude_min=True)), "max_steps": draw(st.integers(1, 5000))},
            "curation": {"stable_threshold": stable, "max_e_hull": draw(st.floats(stable, 5))},
            "labelling": {"energy_range": [low, draw(st.floats(low, 1.7e308, exclude_min=True))]},
            "resources": {"workers": draw(st.none() | st.integers(1, 10**9))},
        }
    )


@given(configs(), st.booleans())
@settings(max_examples=60, deadline=None)
def test_a_written_configuration_reads_back(config: NodeConfig, comments: bool) -> None:
    assert parse_config(dump_config(config, comments=comments), "x.yaml") == config


@given(configs())
@settings(max_examples=20, deadline=None)
def test_a_written_configuration_means_the_same_to_a_yaml_1_1_reader(config: NodeConfig) -> None:
    assert NodeConfig.model_validate(yaml.safe_load(dump_config(config))) == config


@given(configs(), configs())
@settings(max_examples=20, deadline=None)
def test_no_difference_means_equal(one: NodeConfig, other: NodeConfig) -> None:
    assert config_difference(one.model_dump(mode="json"), one.model_dump(mode="json")) == []
    listed = config_difference(one.model_dump(mode="json"), other.model_dump(mode="json"))
    assert (listed == []) == (one == other)


@given(st.text(max_size=60))
@settings(max_examples=150, deadline=None)
def test_any_text_is_a_configuration_or_one_error(text: str) -> None:
    with pytest.raises(ConfigError, match=r"x\.yaml:"):
        parse_config(text, "x.yaml")
