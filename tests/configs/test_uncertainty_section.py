"""The section ``uncertainty``: what it may name, and that a node without it is named as ever."""

from __future__ import annotations

import pytest

from coevo.configs.describing import local_values
from coevo.configs.loading import config_from_dict, dump_config, load_config, parse_config
from coevo.configs.overrides import load_with, read_overrides
from coevo.configs.uncertainty_section import OtherForceField
from coevo.errors import ConfigError

SMALL = """
node: {name: a, elements: [Li, P, S], references: li-p-s}
"""


def test_a_list_of_names_or_of_mappings_becomes_families_with_weights() -> None:
    for text in ("[sevennet]", "sevennet", "[sevennet/7net-0]", "[{family: sevennet}]", "[{family: sevennet, weights: 7net-0}]"):
        config = parse_config(f"{SMALL}uncertainty: {{families: {text}}}\n", "a.yaml")
        assert config.uncertainty.families == ("sevennet/7net-0",)
        assert [other.name for other in config.uncertainty.others] == ["sevennet_7net_0"]
        assert parse_config(dump_config(config), "again") == config


def test_members_have_names_that_filters_can_say() -> None:
    config = parse_config(f"{SMALL}uncertainty: {{members: 2, families: [chgnet/r2scan]}}\n", "a.yaml")
    assert config.uncertainty.own_names("chgnet") == ["chgnet_1", "chgnet_2"]
    assert OtherForceField("effective-medium", "standard").name == "effective_medium_standard"
    file = OtherForceField("mace", "pbe:/data/My-Model.2.model")
    assert file.name.startswith("mace_my_model_2_")
    assert file.name != OtherForceField("mace", "pbe:/other/My-Model.2.model").name


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ("{families: [nothing]}", "uncertainty.families: got 'nothing', allowed: FAMILY or FAMILY/WEIGHTS of chgnet, dpa3"),
        ("{families: [sevennet/8net]}", "uncertainty.families: got 'sevennet/8net', allowed weights of sevennet: 7net-0"),
        ("{families: [sevennet, sevennet/7net-0]}", "two of which would be called sevennet_7net_0"),
        ("{families: [chgnet/0.3.0]}", "uncertainty.families: got chgnet/0.3.0, the node's own force field"),
        ("{families: [{weights: 7net-0}]}", "uncertainty.families[0]: got a mapping, allowed: text"),
        ("{members: 99}", "uncertainty.members: got 99, allowed: an integer >= 0 and <= 16"),
        ("{member: 2}", "uncertainty.member: unknown key; did you mean members?"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(section: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(f"{SMALL}uncertainty: {section}\n", "a.yaml")
    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_share_of_uncertainty_needs_members() -> None:
    with pytest.raises(ConfigError, match=r"selection.uncertainty_fraction: got 0.2, and no model judges beside the force field"):
        parse_config(f"{SMALL}selection: {{uncertainty_fraction: 0.2}}\n", "a.yaml")


def test_a_family_that_does_not_know_an_element_is_refused() -> None:
    text = SMALL.replace("[Li, P, S]", "[Li, Po]")
    with pytest.raises(ConfigError, match="got sevennet/7net-0, which does not know Po, allowed: force fields that know"):
        parse_config(f"{text}uncertainty: {{families: [sevennet]}}\n", "a.yaml")


def test_a_node_without_a_second_opinion_is_named_as_ever() -> None:
    plain = load_config("li-p-s-demo").config
    assert "uncertainty" not in plain.identity()
    assert "uncertainty_fraction" not in plain.identity()["selection"]
    empty = config_from_dict({**plain.model_dump(mode="json"), "uncertainty": {"members": 0, "families": []}}, "empty")
    assert empty.identity() == plain.identity()
    one = config_from_dict({**plain.model_dump(mode="json"), "uncertainty": {"members": 1}}, "one")
    assert one.identity()["uncertainty"] == {"members": 1}


def test_what_came_in_a_bundle_is_asked_about_where_it_names_something_of_this_machine() -> None:
    def asked(*families: str) -> bool:
        return "uncertainty.families" in local_values({"uncertainty": {"families": list(families)}})

    assert not asked("sevennet/7net-0", "chgnet/r2scan")
    assert asked("theirs/best")
    assert asked("mace/pbe:/tmp/model")


def test_on_the_command_line() -> None:
    overrides = read_overrides(["uncertainty.members=2", "uncertainty.families=[sevennet]", "selection.uncertainty_fraction=0.2"])
    config = load_with("li-p-s-demo", overrides).config
    assert (config.uncertainty.members, config.uncertainty.families) == (2, ("sevennet/7net-0",))
    assert config.selection.uncertainty_fraction == 0.2
