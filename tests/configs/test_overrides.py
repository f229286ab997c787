"""Values of the command line in place of those of a file: checked as the file is, and stored as if they stood in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coevo.configs.loading import load_config, parse_config, preset_names, preset_text
from coevo.configs.overrides import config_for_elements, load_with, read_overrides, with_values
from coevo.configs.yaml_tree import read_yaml, set_value
from coevo.errors import ConfigError

FILE = """# sodium chloride
node:
  name: salt        # of the kitchen
  elements: [Na, Cl]
  references: salt.cif
screening: {fmax: 0.2}
curation:
  # as in the paper
  max_e_hull: 0.3
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "salt.yaml"
    path.write_text(FILE)
    return path


def refusal(what: Any, *texts: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_with(what, read_overrides(texts))
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "before", "after"),
    [
        ("screening.fmax=0.05", "{fmax: 0.2}", "{fmax: 0.05}"),
        ("screening.fmax=5e-2", "{fmax: 0.2}", "{fmax: 0.05}"),
        ("curation.max_e_hull=0.25", "max_e_hull: 0.3", "max_e_hull: 0.25"),
        ("node.elements=[Cl, Na]", "[Na, Cl]", "[Cl, Na]"),
        ("node.elements=Na-Cl", "[Na, Cl]", "Na-Cl"),
        ("curation.stol=0.4", "curation:\n", "curation:\n  stol: 0.4\n"),
        ("screening.force_field.weights=0.2.0", "{fmax: 0.2}", "{force_field: {weights: 0.2.0}, fmax: 0.2}"),
        ("node.description='a: b # c'", "node:\n", "node:\n  description: 'a: b # c'\n"),
        ("node.seed=7", "node:\n", "node:\n  seed: 7\n"),
        ("generator.fit=false", "", "generator: {fit: false}\n"),
    ],
)
def test_it_is_as_if_it_stood_in_the_file(file: Path, text: str, before: str, after: str) -> None:
    loaded = load_with(file, read_overrides([text]))
    wanted = FILE.replace(before, after, 1) if before else FILE + after
    assert loaded.config == parse_config(wanted, "wanted")
    assert parse_config(loaded.text, "stored") == loaded.config
    assert loaded.config.identity() == parse_config(wanted, "wanted").identity()
    assert "# of the kitchen" in loaded.text
    assert "# as in the paper" in loaded.text, "the rest of the file stays, comments included"
    assert loaded.base == file.parent


def test_without_values_it_is_the_file(file: Path) -> None:
    assert load_with(file, []) == load_config(file)
    assert load_with("li-p-s-demo", []) == load_config("li-p-s-demo")


@pytest.mark.parametrize(
    ("texts", "told"),
    [
        (["screening.fmax=fast"], "--set: screening.fmax: got fast, allowed: a number > 0 and <= 1 eV/Å"),
        (["screening.fmax=-1"], "--set: screening.fmax: got -1, allowed: a number > 0 and <= 1 eV/Å"),
        (["screening.fmaks=0.1"], "--set: screening.fmaks: unknown key; did you mean fmax?; allowed keys: force_field, fmax"),
        (["screning.fmax=0.1"], "--set: screning: unknown key; did you mean screening?; allowed keys: node, references"),
        (["screening.fmax.x=1"], "--set: screening.fmax: got a mapping, allowed: a number"),
        (["screening=1"], "--set: screening: got 1, allowed: a mapping of force_field"),
        (["screening.fmax="], "--set: screening.fmax: got nothing, allowed: a number"),
        (["node.elements=[Na, Kl]"], "--set: node.elements: 'Kl' is not a chemical element"),
        (["generator.compositions=[KCl]"], "--set: generator.compositions[0]: KCl holds K, allowed: the elements of the node"),
        (["screening.fmax"], "--set: got screening.fmax, allowed: section.key=VALUE, for instance screening.fmax=0.05"),
        (["=1"], "--set: got =1, allowed: section.key=VALUE"),
        (["screening..fmax=1"], "--set: got screening..fmax=1, allowed: section.key=VALUE"),
        (["node.elements[0]=Na"], "--set: got node.elements[0]=Na, allowed: section.key=VALUE"),
        (["node.elements=[Na"], "--set node.elements: not YAML: "),
        (["node.name=&a b"], "--set node.name: not YAML: anchors and aliases"),
        (["screening.force_field.family=none"], "--set: screening.force_field.family: got 'none', allowed: chgnet, "),
    ],
)
def test_one_mistake_one_line(file: Path, texts: list[str], told: str) -> None:
    message = refusal(file, *texts)
    assert "\n" not in message
    assert message.startswith(told)


def test_all_mistakes_are_told_at_once_and_those_of_the_file_with_their_line(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(FILE.replace("0.3", "-3"))
    assert refusal(path, "screening.fmax=x", "zzz=1").split("\n")[:2] == [
        "--set: screening.fmax: got x, allowed: a number > 0 and <= 1 eV/Å",
        f"{path}:9: curation.max_e_hull: got -3, allowed: a number >= 0 and <= 5 eV/atom",
    ]
    mended = load_with(path, read_overrides(["curation.max_e_hull=0.3"]))
    assert mended.config.curation.max_e_hull == 0.3


def test_a_file_that_is_no_yaml_is_told_as_ever(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("node: [")
    assert refusal(path, "screening.fmax=0.1").startswith(f"{path}:1: not YAML")
    assert "no preset 'nothing'" in refusal("nothing", "screening.fmax=0.1")


def test_the_last_value_of_a_key_counts(file: Path) -> None:
    loaded = load_with(file, read_overrides(["screening.fmax=0.3", "node.seed=1", "screening.fmax=0.4"]))
    assert (loaded.config.screening.fmax, loaded.config.node.seed) == (0.4, 1)


class TestAnotherForceField:
    """Weights and scale follow from what is given, and are told."""

    @pytest.mark.parametrize(
        ("preset", "texts", "found", "told"),
        [
            ("li-p-s-demo", ["family=sevennet"], ("sevennet", "7net-0", "pbe"), ["node.energy_scale: pbe"]),
            ("li-p-s-demo", ["weights=r2scan"], ("chgnet", "r2scan", "r2scan"), ["node.energy_scale: r2scan"]),
            ("li-p-s-demo", ["weights=0.2.0"], ("chgnet", "0.2.0", "mp2020"), []),
            (
                "li-p-s-demo",
                ["family=sevennet", "weights=7net-mf-0-r2scan"],
                ("sevennet", "7net-mf-0-r2scan", "r2scan"),
                ["node.energy_scale: r2scan"],
            ),
            (
                "li-p-s-sevennet",
                ["family=chgnet"],
                ("chgnet", "0.3.0", "mp2020"),
                ["screening.force_field.weights: 0.3.0", "node.energy_scale: mp2020"],
            ),
        ],
    )
    def test_what_follows(self, preset: str, texts: list[str], found: tuple[str, str, str], told: list[str]) -> None:
        said: list[str] = []
        loaded = load_with(preset, read_overrides([f"screening.force_field.{text}" for text in texts]), said.append)
        chosen = loaded.config.screening.force_field
        assert (chosen.family, chosen.weights, loaded.config.node.energy_scale) == found
        assert [line.partition("configuration: ")[2].partition(", which")[0] for line in said] == told
        assert parse_config(loaded.text, "stored") == loaded.config

    @pytest.mark.parametrize("place", ["labelling.teacher", "audit.force_field"])
    def test_the_teacher_s_and_the_auditor_s_weights_follow_their_family(self, tmp_path: Path, place: str) -> None:
        section, key = place.split(".")
        path = tmp_path / "x.yaml"
        path.write_text(FILE + f"{section}: {{{key}: {{family: chgnet, weights: r2scan}}}}\n")
        said: list[str] = []
        loaded = load_with(path, read_overrides([f"{place}.family=sevennet"]), said.append)
        chosen = getattr(getattr(loaded.config, section), key)
        assert (chosen.family, chosen.weights) == ("sevennet", "7net-0")
        assert said == [f"configuration: {place}.weights: 7net-0, which follows from the force field that is given"]
        assert parse_config(loaded.text, "stored") == loaded.config
        both = load_with(path, read_overrides([f"{place}.family=sevennet", f"{place}.weights=7net-l3i5"]))
        assert getattr(getattr(both.config, section), key).weights == "7net-l3i5"
        assert "weights: got r2scan" in refusal(path, f"{place}={{family: sevennet, weights: r2scan}}").replace("'", "")

    def test_a_section_as_a_whole(self) -> None:
        loaded = load_with("li-p-s-sevennet", read_overrides(["screening.force_field={family: sevennet, weights: 7net-l3i5}"]))
        assert loaded.config.screening.force_field.weights == "7net-l3i5"

    def test_what_is_given_is_never_changed(self) -> None:
        told = refusal("li-p-s-demo", "screening.force_field.family=sevennet", "node.energy_scale=mp2020")
        assert "whose energies are raw PBE and not on node.energy_scale mp2020" in told
        told = refusal("li-p-s-demo", "screening.force_field.family=sevennet", "screening.force_field.weights=0.3.0")
        assert told.startswith("--set: screening.force_field.weights: got '0.3.0', allowed: 7net-0")
        assert "not on node.energy_scale pbe" in refusal("li-p-s-demo", "node.energy_scale=pbe")


def test_files_of_the_command_line_start_from_the_working_directory(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    (given,) = read_overrides(["node.references=more.cif"])
    assert given.value == str(elsewhere / "more.cif")
    assert load_with(file, [given]).config.node.references == str(elsewhere / "more.cif")
    assert read_overrides(["node.references=li-p-s"])[0].value == "li-p-s"


def test_a_configuration_for_elements(file: Path) -> None:
    """Sizes, and the force field with its scale, of a preset or of a file; values on top."""
    made = config_for_elements(["Na", "Cl"], "x.cif", like="li-p-s-sevennet")
    assert (made.config.node.energy_scale, made.config.screening.force_field.family) == ("pbe", "sevennet")
    assert config_for_elements(["K", "Cl"], "x.cif", like=str(file)).config.screening.fmax == 0.2
    loaded = with_values(made, read_overrides(["screening.fmax=0.07", "screening.force_field.family=chgnet"]))
    assert (loaded.config.screening.fmax, loaded.config.node.energy_scale) == (0.07, "mp2020")
    assert parse_config(loaded.text, "stored") == loaded.config
    with pytest.raises(ConfigError, match=r"^--set: screening\.fmax: got x"):
        with_values(made, read_overrides(["screening.fmax=x"]))


KEYS = [
    ("node", "seed"),
    ("node", "descriptor", "cutoff"),
    ("screening", "fmax"),
    ("screening", "force_field", "weights"),
    ("new", "key"),
    ("training", "epochs"),
]
TEXTS = [FILE, *map(preset_text, preset_names()), "{node: {name: a}, screening: }\n"]
plain_values = st.one_of(
    st.integers(-9, 9),
    st.text(max_size=6),
    st.booleans(),
    st.none(),
    st.lists(st.sampled_from(["No", "1e3", "a: b", ""]), max_size=2),
)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(TEXTS), st.sampled_from(KEYS), plain_values)
def test_a_text_with_another_value_reads_back_with_that_alone(text: str, key: tuple[str, ...], value: Any) -> None:
    edited = set_value(text, key, value)
    assert edited is not None
    found, before = read_yaml(edited), read_yaml(text).data
    assert found.problems == []
    other = before
    for part in key[:-1]:
        if not isinstance(other.get(part), dict):
            other[part] = {}
        other = other[part]
    other[key[-1]] = value
    assert found.data == before
