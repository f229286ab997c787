"""What came of each generator: entries by the checkpoint that their origin names."""

from __future__ import annotations

from typing import Any

from coevo.makers.generators import entries_of_generators, families_by_checkpoint, further

EMBEDDED, EXTERNAL = "a" * 64, "b" * 64


def entry(name: str, **more: Any) -> dict[str, Any]:
    document = {"structure_id": name, "kind": "entry", "duplicate_of": None, "is_stable": True, "is_sun": False}
    return document | {"iteration_added": 1} | more


def test_checkpoints_are_known_with_those_that_they_were_fitted_from() -> None:
    states = [
        {"force_field": {"sha256": "0" * 64, "family": "chgnet"}, "generator": {"sha256": EMBEDDED, "family": "embedded"}},
        {
            "generator": {"sha256": "c" * 64, "family": "embedded", "parent": EMBEDDED},
            "generator/random-cells": {"sha256": "d" * 64, "family": "random-cells", "parent": EXTERNAL, "parents": [EMBEDDED]},
            "committee/chgnet_1": {"sha256": "f" * 64, "family": "chgnet"},
        },
    ]
    assert families_by_checkpoint(states) == {
        EMBEDDED: "embedded",
        "c" * 64: "embedded",
        "d" * 64: "random-cells",
        EXTERNAL: "random-cells",
    }
    # a state's own word on a checkpoint goes before that of one that claims to be fitted from it
    odd = {"generator": {"sha256": "9" * 64, "family": "random-cells", "parent": EMBEDDED}}
    assert families_by_checkpoint([*states, odd])[EMBEDDED] == "embedded"
    assert further(states[1]) == {"random-cells": states[1]["generator/random-cells"]}


def test_entries_are_counted_for_the_family_that_drew_them() -> None:
    documents = [
        entry("1", is_sun=True),
        entry("2"),
        entry("3", is_stable=False),
        entry("4", duplicate_of="1"),
        entry("5"),
        entry("6"),
        {**entry("7"), "kind": "reference"},
        entry("8", iteration_added=0, is_sun=True),  # came with a state of another node
    ]
    origins: dict[str, Any] = {
        "1": {"generator": EMBEDDED},
        "2": {"generator": EXTERNAL},
        "3": {"generator": EMBEDDED},
        "4": {"generator": EXTERNAL},
        "5": {"generator": "nobody knows"},
        "6": None,
        "8": {"generator": EMBEDDED},
    }
    known = {EMBEDDED: "embedded", EXTERNAL: "random-cells", "9" * 64: "gone"}
    assert entries_of_generators(["embedded", "random-cells"], documents, origins, known) == {
        "embedded": {"entries": 2, "stable": 1, "sun": 1},
        "random-cells": {"entries": 1, "stable": 1, "sun": 0},
    }
