"""Who may audit a node, as far as its configuration says it."""

from __future__ import annotations

from typing import Any

import pytest

from coevo.configs.audit_section import section_of
from coevo.configs.loading import config_from_dict
from coevo.configs.section import identifying
from coevo.configs.tree import NodeConfig
from coevo.errors import ConfigError

NODE = {"node": {"name": "a", "elements": "Li-P-S", "references": "li-p-s"}}


def config(audit: dict[str, Any], **more: Any) -> NodeConfig:
    return config_from_dict({**NODE, "audit": audit, **more}, "a")


def force_field(family: str, weights: str) -> dict[str, Any]:
    return {"auditor": "force_field", "force_field": {"family": family, "weights": weights}}


def test_without_the_section_nothing_changes() -> None:
    plain = config_from_dict(NODE, "a")
    assert not plain.audit.in_use
    assert "audit" not in plain.identity()
    assert config({"auditor": "none", "structures": 30}).identity() == plain.identity()
    assert config({"auditor": "vasp"}).identity()["audit"] == {"auditor": "vasp"}


def test_the_force_field_of_a_code_is_in_no_key() -> None:
    assert identifying(config({"auditor": "espresso", "max_steps": 9, "structures": 7}).audit) == {
        "auditor": "espresso",
        "structures": 7,
    }
    assert section_of(config({"auditor": "espresso"}).labelling, config({"auditor": "espresso"}).audit).code == "espresso"


def test_a_code_that_relaxes_is_in_the_keys_and_so_is_the_force_field_before_it() -> None:
    relaxing = {"auditor": "espresso", "structures": 7, "code_steps": 5}
    assert identifying(config({**relaxing, "max_steps": 9}).audit) == relaxing
    first = identifying(config({**relaxing, "force_field_first": True, "max_steps": 9}).audit)
    assert first == {**relaxing, "force_field_first": True, "max_steps": 9}
    # of a force field that audits they say nothing
    looks = {"auditor": "force_field", "force_field": {"family": "sevennet", "weights": "7net-l3i5"}}
    assert identifying(config({**looks, "code_steps": 5}).audit) == identifying(config(looks).audit)


@pytest.mark.parametrize(
    ("audit", "more", "reason"),
    [
        ({"auditor": "vasp", "code_steps": 5}, {}, "code_steps: got 5 with vasp, which audits by single points"),
        ({"auditor": "espresso", "force_field_first": True}, {}, "force_field_first: got true with code_steps 0"),
        (
            {**force_field("mace", "pbe:/models/mine.model"), "auditor": "espresso", "code_steps": 5, "force_field_first": True},
            {},
            "of which nothing is known",
        ),
        (force_field("chgnet", "0.3.0"), {}, "the node's own force field"),
        (force_field("chgnet", "0.2.0"), {}, "of the family of the node's own force field"),
        # without a teacher CHGNet learns PBE, and both were trained on MPtrj
        (force_field("sevennet", "7net-0"), {"labelling": {"code": "espresso"}}, "trained on MPtrj"),
        # what MatterSim was trained on is not known
        (force_field("mattersim", "mattersim-v1.0.0-1M"), {"labelling": {"code": "vasp"}}, "trained on what is not known"),
        (
            force_field("sevennet", "7net-l3i5"),
            {"labelling": {"teacher": {"family": "sevennet", "weights": "7net-mf-0-r2scan"}}},
            "of the family of the teacher",
        ),
        (force_field("mace", "pbe:/models/mine.model"), {}, "of which nothing is known"),
    ],
)
def test_who_took_part_in_training_is_refused(audit: dict[str, Any], more: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        config(audit, **more)


@pytest.mark.parametrize(
    ("audit", "more", "is_labeller"),
    [
        ({"auditor": "espresso"}, {}, False),
        ({"auditor": "espresso"}, {"labelling": {"code": "espresso"}}, True),
        # CHGNet that learns from its r2SCAN teacher, by a force field of PBE
        (force_field("sevennet", "7net-l3i5"), {}, False),
        (force_field("dpa3", "DPA-3.1-3M-omat24"), {"labelling": {"code": "vasp"}}, False),
        (force_field("chgnet", "r2scan"), {}, True),
    ],
)
def test_who_took_no_part_may_look_and_the_labeller_is_known_as_such(
    audit: dict[str, Any], more: dict[str, Any], is_labeller: bool
) -> None:
    found = config(audit, **more)
    assert found.audit.in_use
    assert found.audit.is_labeller(found.labelling) is is_labeller
