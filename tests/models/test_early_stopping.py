"""The best epoch of a fit: by the validation loss, and by the hull where it is watched."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

import coevo.models.external
from coevo.models.early_stopping import EarlyStopping, HullWatch

RUNNERS = Path(coevo.models.external.__path__[0]) / "runners"

HISTORIES: list[tuple[str, list[float], list[float] | None, int, int]] = [
    # losses and spreads of the epochs from 0 on; the best epoch and the last, with a patience of 2
    ("loss alone: the smallest", [1.0, 0.8, 0.9, 0.7, 0.75, 0.76, 0.1], None, 3, 5),
    ("loss alone: none better", [1.0, 1.2, 1.1, 0.5], None, 0, 2),
    ("a smaller loss with a hull that is much worse is no gain", [1.0, 0.8, 0.79, 0.5], [0.01, 0.013, 0.0125, 0.01], 0, 2),
    ("of two losses the larger, whose hull is right", [1.0, 0.6, 0.7, 0.8, 0.8], [0.01, 0.01, 0.004, 0.004, 0.004], 2, 4),
    ("the best hull, with a loss above the start's, does not count", [1.0, 1.01, 0.9, 0.95], [0.01, 0.0, 0.01, 0.01], 2, 3),
    ("a hull that is right within 2 meV/atom does not matter", [1.0, 0.9, 0.8, 0.85, 0.85], [1e-4, 1e-5, 2e-3, 1e-5, 0.0], 2, 4),
    ("nothing to gain but the hull", [0.0, 0.0, 0.0], [0.01, 0.0, 0.0], 0, 2),
]
IDS = [row[0] for row in HISTORIES]


@pytest.mark.parametrize(("what", "losses", "spreads", "best", "last"), HISTORIES, ids=IDS)
def test_the_rule(what: str, losses: list[float], spreads: list[float] | None, best: int, last: int) -> None:
    hull: list[Any] = spreads or [None] * len(losses)
    stopping, epoch = EarlyStopping(2, losses[0], hull[0]), 0
    for epoch in range(1, len(losses)):
        if not stopping.is_best(epoch, losses[epoch], hull[epoch]) and stopping.is_over(epoch):
            break
        assert stopping.said() == ({"hull_spread": hull[epoch]} if spreads else {})
    assert (stopping.best_epoch, epoch) == (best, last)


@pytest.fixture
def training(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    with monkeypatch.context() as patch:
        patch.syspath_prepend(str(RUNNERS))
        yield importlib.import_module("coevo_training")
    for name in ("coevo_training", "coevo_runner"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize(("what", "losses", "spreads", "best", "last"), HISTORIES, ids=IDS)
def test_families_with_an_environment_of_their_own_have_the_same_rule(
    training: Any, what: str, losses: list[float], spreads: list[float] | None, best: int, last: int
) -> None:
    now = 0

    def epoch(number: int) -> None:
        nonlocal now
        now = number

    told = (lambda: spreads[now]) if spreads else None
    settings = {"epochs": len(losses) - 1, "patience": 2}
    found = training.train(settings, epoch, lambda: losses[now], lambda: {"epoch": now}, told)
    assert (found.epoch, found.state, len(found.epochs) - 1) == (best, {"epoch": best}, last)
    assert [row["hull_spread"] for row in found.epochs if "hull_spread" in row] == (spreads or [])[: last + 1]


def test_the_spread_is_of_reactions(training: Any) -> None:
    """2 Li + S → Li2S by labels -1 eV/atom, and a polymorph of Li2S 0.1 above it; by hand."""
    lithium, sulphur, li2s = (
        Structure(Lattice.cubic(4.0 + len(s)), s, np.eye(3)[: len(s)] / 3) for s in (["Li"], ["S"], ["Li", "Li", "S"])
    )
    reactions = np.array([[-2 / 3, -1 / 3, 1.0, 0.0], [0.0, 0.0, -1.0, 1.0]])
    watch = HullWatch([lithium, sulphur, li2s, li2s.copy()], reactions, np.array([-1.0, 0.1]))
    by_model = np.array([-2.0, -4.0, -8 / 3 - 1.0, -8 / 3 - 0.7])  # the second is 0.3 above
    assert watch.spread(by_model) == pytest.approx(np.sqrt((0.0**2 + 0.2**2) / 2))
    assert watch.spread(by_model + np.array([0.5, -0.3, 0.5 * 2 / 3 - 0.1, 0.5 * 2 / 3 - 0.1])) == pytest.approx(
        watch.spread(by_model)
    )
    request = {"reactions": reactions.tolist(), "reaction_energies": [-1.0, 0.1]}
    crystals = [{"numbers": [0] * n} for n in (1, 1, 3, 3)]
    assert training.spread_of(by_model * [1, 1, 3, 3], crystals, request) == pytest.approx(watch.spread(by_model))
    left = watch.among([True, False, True, True])
    assert left is not None
    assert (len(left.structures), left.reactions.tolist(), left.energies.tolist()) == (3, [[0.0, -1.0, 1.0]], [0.1])
    assert watch.among([True, False, False, True]) is None
