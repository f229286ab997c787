"""The section of several generators: shares of the candidates, what is refused, and what of it names work."""

from __future__ import annotations

from typing import Any

import pytest

from coevo.configs.describing import local_values
from coevo.configs.loading import config_from_dict, load_config
from coevo.configs.section import identifying, recorded
from coevo.configs.tree import GeneratorConfig
from coevo.errors import ConfigError
from coevo.makers.generate import GenerateMaker
from coevo.makers.step import job_key
from coevo.makers.train_generator import TrainGeneratorMaker


def section(**values: Any) -> GeneratorConfig:
    return GeneratorConfig.model_validate(values)


@pytest.mark.parametrize(
    ("candidates", "mixture", "expected"),
    [
        (10, {"embedded": 0.5, "mattergen": 0.5}, {"embedded": 5, "mattergen": 5}),
        (
            10,
            {"mattergen": 2, "embedded": 1},
            {"embedded": 3, "mattergen": 7},
        ),  # 3.33 and 6.67
        (3, {"embedded": 1, "mattergen": 1}, {"embedded": 2, "mattergen": 1}),  # a tie: that of generator.family
        (1, {"embedded": 0.4, "mattergen": 0.6}, {"embedded": 0, "mattergen": 1}),
        (7, {"embedded": 0, "mattergen": 0.1}, {"embedded": 0, "mattergen": 7}),
        (10, {"embedded": 0.1, "mattergen": 0.2}, {"embedded": 3, "mattergen": 7}),
        (64, {}, {"embedded": 64}),
    ],
)
def test_candidates_are_shared_by_weight(candidates: int, mixture: dict[str, float], expected: dict[str, int]) -> None:
    found = section(candidates=candidates, mixture=mixture).shares()
    assert found == expected
    assert list(found) == list(expected)  # that of generator.family first


def test_the_family_of_the_slot_comes_first_whatever_the_order_of_the_file() -> None:
    one = section(family="mattergen", mixture={"mattergen": 1, "embedded": 1})
    other = section(family="mattergen", mixture={"embedded": 1, "mattergen": 1})
    assert one == other
    assert one.families == ("mattergen", "embedded")
    assert list(recorded(one)["mixture"]) == ["embedded", "mattergen"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"mixture": {"embedded": 1, "nobody": 1}}, "generator.mixture: got 'nobody', allowed: adit, "),
        (
            {"mixture": {"embedded": 1, "mattergen": -0.5}},
            "generator.mixture: got mattergen: -0.5, allowed: weights of",
        ),
        ({"mixture": {"embedded": 0, "mattergen": 0}}, "generator.mixture: got weights that are all 0"),
        ({"mixture": {"embedded": 1e308, "mattergen": 1e308}}, "generator.mixture: got embedded: 1e+308, allowed: weights up to"),
        (
            {"max_atoms": 8, "compositions": ["Li10P2S12"]},
            "generator.compositions: got Li10P2S12 with 12 atoms in the smallest unit, so that no candidate can have at most 8",
        ),
        ({"mixture": {"embedded": True}}, "generator.mixture: got embedded: true, allowed: a number"),
        ({"mixture": {"embedded": "half"}}, "generator.mixture.embedded: got half, allowed: a number"),
        ({"mixture": {"embedded": float("inf")}}, "generator.mixture.embedded: got .inf, allowed: a number"),
        ({"mixture": ["embedded"]}, "generator.mixture: got [embedded], allowed: a mapping of names to numbers"),
        ({"mixture": {"mattergen": 1}}, "generator.mixture: got mattergen, without embedded, which generator.family says"),
        ({"family": "mattergen", "mixture": {"embedded": 1}}, "got embedded, without mattergen, which generator.family says"),
    ],
)
def test_a_bad_mixture_is_one_line(values: dict[str, Any], message: str) -> None:
    plain = load_config("li-p-s-demo").config.model_dump(mode="json")
    with pytest.raises(ConfigError) as told:
        config_from_dict(plain | {"generator": plain["generator"] | values}, "it")
    (line,) = str(told.value).splitlines()
    assert message in line


def test_jobs_of_a_mixture_are_those_of_nodes_of_one_generator() -> None:
    """Nor does an empty mixture name anything: it is a later key."""
    node = load_config("li-p-s-demo").config.node
    assert "mixture" not in recorded(section())
    mixed = section(mixture={"embedded": 0.5, "mattergen": 0.5}, mattergen={"epochs": 3})
    alone = {"embedded": section(), "mattergen": section(family="mattergen", mattergen={"epochs": 3})}
    for family, single in alone.items():
        assert identifying(mixed.of_family(family)) == identifying(single)
        for maker in (GenerateMaker, TrainGeneratorMaker):
            one, other = (maker(node=node, generator=each) for each in (mixed.of_family(family), single))
            inputs = {"checkpoint": {"family": family, "sha256": "c" * 64}, "iteration": 3}
            assert job_key(one, inputs) == job_key(other, inputs)
    other_epochs = section(mixture={"embedded": 0.5, "mattergen": 0.5}, mattergen={"epochs": 4})
    assert identifying(mixed.of_family("embedded")) == identifying(other_epochs.of_family("embedded"))
    assert identifying(mixed.of_family("mattergen")) != identifying(other_epochs.of_family("mattergen"))


def test_families_of_other_packages_are_asked_about() -> None:
    own = {"generator": {"mixture": {"embedded": 1, "mattergen": 1}}}
    theirs = {"generator": {"mixture": {"embedded": 1, "theirs": 1}}}
    assert local_values(own) == {}
    assert local_values(theirs) == {"generator.mixture": {"embedded": 1, "theirs": 1}}
