"""Digests of label settings."""

from __future__ import annotations

import hashlib
import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coevo.errors import LabellingError
from coevo.labelling.contract import LabelSettings
from coevo.labelling.digest import canonical_json, settings_digest

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
DATA = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)


def settings(**changes: Any) -> LabelSettings:
    values: dict[str, Any] = {
        "code": "espresso",
        "version": "6.7",
        "functional": "PBE",
        "anion_corrected": False,
        "parameters": {"ecutwfc": 60.0, "pseudos": {"S": "b" * 64, "Li": "a" * 64}},
    }
    return LabelSettings(**{**values, **changes})


def test_the_digest_is_the_sha256_of_the_canonical_text() -> None:
    text = (
        '{"anion_corrected":false,"code":"espresso","functional":"PBE","parameters":{"ecutwfc":60.0,"pseudos":{"Li":"'
        + "a" * 64
        + '","S":"'
        + "b" * 64
        + '"}},"version":"6.7"}'
    )
    assert settings_digest(settings()) == hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize(
    "changes",
    [
        {"version": "7.0"},
        {"functional": "PBEsol"},
        {"anion_corrected": True},
        {"parameters": {"ecutwfc": 60.00000000000001, "pseudos": {"S": "b" * 64, "Li": "a" * 64}}},
    ],
)
def test_every_part_enters_the_digest(changes: dict[str, Any]) -> None:
    assert settings_digest(settings(**changes)) != settings_digest(settings())


@given(DATA)
def test_canonical_text_reads_back_and_is_a_fixed_point(data: Any) -> None:
    text = canonical_json(data)
    assert json.loads(text) == data
    assert canonical_json(json.loads(text)) == text


@given(st.dictionaries(st.text(), SCALARS))
def test_the_order_of_keys_does_not_matter(data: dict[str, Any]) -> None:
    assert canonical_json(dict(reversed(data.items()))) == canonical_json(data)


def test_minus_zero_is_zero() -> None:
    assert canonical_json({"shift": [-0.0, 0.0]}) == '{"shift":[0.0,0.0]}'


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, {1: 2}, {"x": object()}, [b"bytes"], {1, 2}])
def test_what_is_not_json_is_refused(value: Any) -> None:
    with pytest.raises(LabellingError, match="allowed"):
        canonical_json(value)
