"""A probe's far atoms beside those of the node: noted under a state, and told with the newest one that has a probe."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from coevo.campaigns.probing import note_environments
from coevo.configs.loading import config_from_dict
from coevo.flows.probe import Probe, probe_config
from coevo.node_store.probes import note_probe
from coevo.studies.states.environment_coverage import probe_words

CONFIG = config_from_dict({"node": {"name": "a", "elements": "Li-S", "references": "li-p-s"}}, "a")


class Notes:
    """The notes of a backend."""

    def __init__(self) -> None:
        self.notes: dict[tuple[str, str], Any] = {}

    def note(self, node: str, key: str) -> Any:
        return self.notes.get((node, key))

    def write_note(self, node: str, key: str, document: Any) -> None:
        self.notes[node, key] = document


def state(name: str, iteration: int, **metrics: Any) -> Any:
    document = {"config": CONFIG.model_dump(mode="json"), "metrics": metrics}
    return SimpleNamespace(node="a", id=name * 64, iteration=iteration, document=document)


def share(fraction: float | None) -> dict[str, Any]:
    return {"fraction": fraction, "low": 0.0, "high": 1.0, "n": 100}


MEASURED = {
    "probe": {"drawn": 400, "batches": 2, "seed": 7},
    "e_hull": 0.05,
    "environments": {"distance": 0.12, "batches": [{"Li": share(0.24), "S": share(0.5)}, {"Li": share(0.012), "S": share(None)}]},
}


def test_a_probe_of_the_nodes_own_settings_stands_beside_the_node() -> None:
    store: Any = SimpleNamespace(backend=Notes())
    course = {"distance": 0.12, "iterations": {"1": {"Li": share(0.4)}, "2": {"Li": share(0.03), "S": share(0.0)}}}
    old, new = state("1", 1), state("2", 2, environment_coverage=course)
    assert probe_words(store.backend, [new, old]) == ""
    other_seed = Probe(probe_config(CONFIG, seed=7), {}, 400, ())  # type: ignore[typeddict-item]
    assert note_environments(store, old, other_seed, MEASURED)
    words = probe_words(store.backend, [new, old])
    assert words.startswith(
        "of 400 draws without parents in 2 batches (seed 7), those within 0.05 eV/atom by the force field of "
    )
    assert "iteration 1, further than δ90 = 0.120 1/Å from references and earlier batches, batch by batch: " in words
    assert words.endswith("Li 24.0, 1.2 %, S 50.0, – %; of the node's iteration 2: Li 3.0 %, S 0.0 % far from all older ones")
    # of the state itself rather than of one before; and no ids change, as nothing is written but the note
    assert note_environments(store, new, other_seed, {**MEASURED, "e_hull": 0.1})
    assert "within 0.1 eV/atom by the force field of iteration 2" in probe_words(store.backend, [new, old])
    note_probe(store.backend, new, None)
    assert "iteration 1" in probe_words(store.backend, [new, old])


@pytest.mark.parametrize(
    ("more", "measured"),
    [({"formulas": ["Li2S"]}, MEASURED), ({"max_atoms": 4}, MEASURED), ({}, {**MEASURED, "environments": None})],
)
def test_another_population_or_a_node_without_a_resolution_is_not_noted(more: Any, measured: Any) -> None:
    store: Any = SimpleNamespace(backend=Notes())
    probe = Probe(probe_config(CONFIG, **more), {}, 400, ())  # type: ignore[typeddict-item]
    assert not note_environments(store, state("1", 1), probe, measured)
    assert store.backend.notes == {}
