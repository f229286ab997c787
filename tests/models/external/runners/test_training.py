"""What all families share of a fit: the loss is coevo's own, and the loop keeps the best epoch and knows when to end."""

from __future__ import annotations

import importlib
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from coevo.families import FAMILIES
from coevo.models.contracts import FitSettings, Prediction, TrainingFrame
from coevo.models.external.families import HERE
from coevo.models.external.fitting import judged

SETTINGS = {"epochs": 6, "patience": 2, "batch_size": 2, "learning_rate": 1e-2, "force_weight": 2.0, "stress_weight": 0.3}


@pytest.fixture(scope="module")
def training():
    """The module that is copied beside the runners, imported as they do it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(HERE / "runners"))
        yield importlib.import_module("coevo_training")
    for name in ("coevo_training", "coevo_runner"):
        sys.modules.pop(name, None)


@pytest.fixture(autouse=True)
def directory(tmp_path, monkeypatch):
    """Progress is told in a file of the run's directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_loss_is_that_by_which_coevo_judges(training):
    rng = np.random.default_rng(3)
    counts = [3, 1, 5]
    frames, records, found, parts = [], [], [], []
    for n in counts:
        energy, forces, stress = rng.normal(), rng.normal(size=(n, 3)), 1e-3 * rng.normal(size=(3, 3))
        frames.append(TrainingFrame(SimpleNamespace(), energy, forces, stress))
        records.append({"numbers": [3] * n, "energy": n * energy, "forces": forces.tolist(), "stress": stress.tolist()})
        # differences on both sides of where the loss turns linear
        guess = Prediction(energy + rng.normal(scale=0.1), forces + rng.normal(scale=0.1, size=(n, 3)), stress * rng.normal())
        found.append(guess)
        parts.append({"energies": np.array([n * guess.energy]), "forces": guess.forces, "stresses": guess.stress[None]})
    together = training.in_batches(lambda chosen: _joined([parts[k] for k in chosen]), range(3), 2)
    names = ("epochs", "patience", "batch_size", "learning_rate", "force_weight", "stress_weight")
    expected, _ = judged(found, frames, FitSettings(**{name: SETTINGS[name] for name in names}))
    assert training.loss_of(together, records, SETTINGS) == pytest.approx(expected, rel=1e-12)


def _joined(parts):
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def trained(training, losses, **settings):
    """Train something whose validation losses are given; its one parameter counts the epochs."""
    parameter, expected = torch.zeros(1), iter(losses)

    def epoch(number):
        parameter.add_(1)
        assert parameter.item() == number

    state = {"weight": parameter, "settings": {"of": "the family"}}
    return training.train({**SETTINGS, **settings}, epoch, lambda: next(expected), lambda: state)


@pytest.mark.parametrize(
    ("losses", "best", "ran"),
    [
        ([5.0, 4.0, 3.0, 2.0, 1.0, 0.5, 0.4], 6, 6),
        ([5.0, 4.0, 4.5, 3.0, 3.1, 3.0, 2.0], 3, 5),
        ([1.0, 1.0, 1.0], 0, 2),
    ],
)
def test_the_best_epoch_stays_and_patience_ends(training, directory, losses, best, ran):
    found = trained(training, losses)
    assert (found.epoch, found.loss) == (best, losses[best])
    assert found.state["weight"].item() == best  # a copy of then
    assert found.state["settings"] == {"of": "the family"}
    assert found.epochs == [{"epoch": k, "validation_loss": losses[k]} for k in range(ran + 1)]
    assert (directory / "progress").read_text() == "1\n" * ran
    report = {"epochs": found.epochs, "best_epoch": best}
    assert found.result({"weights": "w"}) == {"model": "model", "document": {"weights": "w"}, "report": report}


@pytest.mark.parametrize("loss", [np.nan, np.inf])
def test_a_loss_that_is_no_number_ends_the_fit(training, loss):
    with pytest.raises(Exception, match="use a smaller learning_rate") as caught:
        trained(training, [1.0, loss])
    assert caught.value.reason == "diverged"


def test_what_was_written_is_read_again(training):
    best = trained(training, [2.0, 1.0, 1.5, 1.5])
    training.check_written(best, 1.0)
    for found in (1.1, np.nan):
        with pytest.raises(Exception, match="has validation loss 1, and") as caught:
            training.check_written(best, found)
        assert caught.value.reason == "checkpoint"


def test_seeds_are_those_of_all_generators(training):
    import random

    draws = []
    for seed in (7, 7, 2**32 + 7):  # numpy's has 32 bits
        training.seed_everything(seed)
        draws.append((random.random(), np.random.random(), torch.rand(1).item()))  # noqa: NPY002 - the one that is seeded
    assert draws[0] == draws[1]
    assert draws[0][1] == draws[2][1]
    assert draws[0] != draws[2]


def test_the_rate_falls_to_a_tenth(training):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=SETTINGS["learning_rate"])
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, **training.cosine(SETTINGS))
    for _ in range(SETTINGS["epochs"]):
        optimizer.step()
        schedule.step()
    assert schedule.get_last_lr() == [pytest.approx(1e-3)]


@pytest.mark.parametrize("environment", [f.environment for f in FAMILIES if f.environment], ids=lambda each: each.name)
def test_a_runner_gets_what_it_imports(environment):
    """Every module of coevo's that a runner or a companion imports is copied beside it."""
    import ast

    files = {path.stem: path for path in (HERE / "runners").rglob("*.py")}
    copied = {path.stem for path in (environment.runner, *environment.companions)} | {"coevo_runner", "coevo_worker"}
    for stem in copied:
        for node in ast.walk(ast.parse(files[stem].read_text())):
            names = [node.module] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert {each for each in names if each in files} <= copied, stem
