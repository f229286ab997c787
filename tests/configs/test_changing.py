"""What of a live node cannot become another: its force field, its weights, its scale; one error that names the way out."""

from __future__ import annotations

from typing import Any

import pytest

from coevo.configs.changing import check_change, check_force_field
from coevo.configs.loading import load_config, preset_text
from coevo.configs.overrides import load_with, read_overrides
from coevo.errors import ConfigError

BASE = load_config("li-p-s-demo").config
REF = "li-p-s-demo@0123456789ab"


def refusal(*texts: str) -> str:
    new = load_with("li-p-s-demo", read_overrides(texts)).config
    with pytest.raises(ConfigError) as caught:
        check_change(BASE, new, REF)
    return str(caught.value)


@pytest.mark.parametrize(
    ("texts", "told", "command"),
    [
        (
            ["screening.force_field.family=sevennet"],
            "screening.force_field.family: chgnet -> sevennet: the checkpoint is of the first family",
            "--set screening.force_field.family=sevennet",
        ),
        (
            ["screening.force_field.family=sevennet", "screening.force_field.weights=7net-l3i5"],
            "screening.force_field.weights: 0.3.0 -> 7net-l3i5",
            "--set screening.force_field.family=sevennet --set screening.force_field.weights=7net-l3i5",
        ),
        (
            ["screening.force_field.weights=r2scan"],
            "node.energy_scale: mp2020 -> r2scan",
            "--set screening.force_field.weights=r2scan",
        ),
        (
            ["screening.force_field.weights=0.2.0"],
            "screening.force_field.weights: 0.3.0 -> 0.2.0: the checkpoint began with the first weights",
            "--set screening.force_field.weights=0.2.0",
        ),
        (["generator.family=mattergen"], "generator.family: embedded -> mattergen", "--set generator.family=mattergen"),
        (
            ["node.descriptor.bandwidth=0.02"],
            "node.descriptor.bandwidth: 0.015 -> 0.02",
            "--set node.descriptor.bandwidth=0.02",
        ),
    ],
)
def test_the_way_out_is_a_node_that_starts_from_the_state(texts: list[str], told: str, command: str) -> None:
    message = refusal(*texts)
    assert "\n" not in message
    assert told in message
    assert "put the old value back" in message
    assert message.endswith(f"coevo init NEW --from-state {REF} {command}")


@pytest.mark.parametrize(
    ("text", "way"),
    [
        ("node.elements=[Li, S]", "coevo extend starts a node of more elements"),
        ("node.references=/more.cif", "coevo add --as references adds known structures"),
        ("references.exclude=[Li2S]", "make a new node with `coevo init`"),
    ],
)
def test_other_ways(text: str, way: str) -> None:
    message = refusal(text, "screening.force_field.family=sevennet")
    assert way in message
    assert "--from-state" not in message, "such a node cannot start from the state"


@pytest.mark.parametrize(
    ("change", "refused"),
    [
        (("screening:", "screening:\n  force_field: {family: sevennet}"), True),
        (("screening:", "screening:\n  force_field: {family: nobody-has-it}"), True),
        (("screening:", "screening:\n  force_field: {weights: r2scan}"), True),
        (("  seed: 0", "  energy_scale: r2scan\n  seed: 0"), True),
        (("  seed: 0", "  energy_scale: pbe\n  seed: 0"), True),
        (("screening:", "screening:\n  force_field: {family: chgnet, weights: 0.3.0}"), False),
        (("screening:", "screening:\n  force_field: [1]"), False),
        (("fmax: 0.1", "fmax: often"), False),
        (("screening:", "screening: ["), False),
    ],
)
def test_a_text_in_which_the_scale_does_not_follow_is_told_the_same(change: tuple[str, str], refused: bool) -> None:
    """It is no valid configuration, but mending it would end in the next refusal."""
    text = preset_text("li-p-s-demo").replace(*change)
    found: Any = None
    try:
        check_force_field(BASE, text, REF)
    except ConfigError as error:
        found = error
    assert (found is not None) == refused
    if refused:
        assert f"coevo init NEW --from-state {REF} --set screening.force_field." in str(found)
