"""Our Adam is torch's, float by float, and does without torch's compiler."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from coevo.models.chgnet.adam import Adam

SHAPES = ((4, 3), (3,), (2, 2, 2))


def fitted(epochs: int, steps: int, *, ours: bool) -> tuple[list[torch.Tensor], list[float]]:
    """Parameters and learning rates after a fit to random numbers; the last parameter has no gradient in the first step."""
    numbers = torch.Generator().manual_seed(5)
    parameters = [torch.randn(shape, generator=numbers, requires_grad=True) for shape in SHAPES]
    rates = []
    if ours:
        optimiser = schedule = Adam(parameters, 0.03, 0.003, epochs)
        end_epoch = optimiser.end_epoch
    else:
        optimiser = torch.optim.Adam(parameters, lr=0.03)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=epochs, eta_min=0.003)
        end_epoch = schedule.step
    for epoch in range(epochs):
        for step in range(steps):
            used = parameters if epoch + step else parameters[:-1]
            optimiser.zero_grad()
            loss = sum(((p - torch.randn(p.shape, generator=numbers)) ** 3).sin().sum() for p in used)
            loss.backward()
            optimiser.step()
        end_epoch()
        rates.append(optimiser.rate if ours else optimiser.param_groups[0]["lr"])
    return parameters, rates


@pytest.mark.long
@pytest.mark.parametrize("epochs", [1, 2, 7, 20])
def test_parameters_and_rates_are_those_of_torch(epochs: int) -> None:
    ours, rates = fitted(epochs, 3, ours=True)
    theirs, expected = fitted(epochs, 3, ours=False)
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
    assert rates == expected
    assert rates[-1] == pytest.approx(0.003)


@pytest.mark.long
def test_a_step_does_without_the_compiler() -> None:
    code = (
        "import sys, torch; from coevo.models.chgnet.adam import Adam; p = torch.ones(2, requires_grad=True); "
        "o = Adam([p], 0.1, 0.01, 2); o.zero_grad(); (p * p).sum().backward(); "
        "torch.nn.utils.clip_grad_norm_([p], 1.0); o.step(); o.end_epoch(); "
        "print(p.tolist(), [m for m in ('torch._dynamo', 'sympy', 'networkx') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    values, loaded = done.stdout.strip().split("] ")
    assert loaded == "[]", "or making torch's own Adam is as good"
    assert values.startswith("[0.9")
