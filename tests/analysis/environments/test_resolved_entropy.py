"""Entropies of samples that grow until few atoms are alone, against QUESTS."""

from __future__ import annotations

import numpy as np
import pytest
from quests.entropy import entropy as quests_entropy
from scipy.spatial.distance import cdist

from coevo.analysis.environments.descriptors import multicomponent_descriptors_of
from coevo.analysis.environments.resolved_entropy import ALONE, resolved_entropies
from coevo.configs.references import load_references

ELEMENTS = ("Li", "P", "S")
SETTINGS = {"elements": ELEMENTS, "neighbours": 32, "cutoff": 5.0, "subsamples": 3, "seed": 2}
H = 0.08


def alone(X):
    """Mean of 1/ΣK, all pairs."""
    return float(np.mean(1.0 / np.exp(-(cdist(X, X) ** 2) / (2 * H * H)).sum(axis=1)))


@pytest.fixture(scope="module")
def crystals():
    start = next(phase.structure for phase in load_references("li-p-s", ELEMENTS) if phase.name.startswith("beta-Li3PS4"))
    return [start.copy().perturb(0.05, seed=seed) for seed in range(10)]


def test_the_sample_grows_until_few_are_alone_and_equals_quests(crystals):
    found = resolved_entropies(crystals, 20, bandwidth=H, **SETTINGS)
    total = found["total"]
    X = multicomponent_descriptors_of(crystals, ELEMENTS, 32, 5.0, atoms=[np.arange(32)] * 10)
    order = np.random.default_rng(2).permutation(len(X))
    sizes = [size for size in (20, 40, 80, 160, 320) if alone(X[order[:size]]) <= ALONE]
    assert total["n"] == sizes[0] > 20
    parts = [order[: sizes[0]], order[sizes[0] : 2 * sizes[0]], order[2 * sizes[0] : 3 * sizes[0]]]
    values = [quests_entropy(X[rows], h=H) for rows in parts if len(rows) == sizes[0]]
    assert total["mean"] == pytest.approx(np.mean(values), abs=1e-6)
    assert total["alone"] == pytest.approx(alone(X[parts[0]]), abs=1e-6)
    assert total["environments"] == 320


def test_where_all_are_alone_there_is_no_signal(crystals):
    found = resolved_entropies(crystals, 20, bandwidth=0.001, **SETTINGS)
    total = found["total"]
    assert (total["mean"], total["n"], total["environments"]) == (None, 320, 320)
    assert total["alone"] == pytest.approx(1.0, abs=1e-3)
    assert found["per_species"]["P"]["n"] == 40
    assert resolved_entropies(crystals[:1], 20, bandwidth=H, **SETTINGS)["per_species"]["P"] is None
