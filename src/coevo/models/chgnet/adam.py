"""Adam with a learning rate that falls along a cosine: torch's own arithmetic without torch's class.

When it is made, ``torch.optim.Adam`` imports torch's compiler, sympy, networkx and hundreds of modules, to tell it to keep out:
2 CPU seconds that nothing here needs. The function that the class calls is public and does the same.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch.optim.adam import adam

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

_BETAS = (0.9, 0.999)
_EPSILON = 1e-8
"""Defaults of ``torch.optim.Adam`` (Kingma and Ba, arXiv:1412.6980)."""


class Adam:
    """What ``torch.optim.Adam`` with ``torch.optim.lr_scheduler.CosineAnnealingLR`` computes, float by float.

    Parameters
    ----------
    parameters : sequence of Tensor
        They are changed in place.
    rate : float
        Learning rate of the first epoch.
    final_rate : float
        Learning rate after ``epochs`` epochs.
    epochs : int
    """

    def __init__(self, parameters: Sequence[Tensor], rate: float, final_rate: float, epochs: int):
        self.rate = rate
        self._parameters = list(parameters)
        self._final_rate = final_rate
        self._epochs = epochs
        self._epoch = 0
        self._moments: dict[int, tuple[Tensor, Tensor, Tensor]] = {}

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for parameter in self._parameters:
            parameter.grad = None

    def step(self) -> None:
        """Move the parameters that have a gradient."""
        moved = [(k, p, p.grad) for k, p in enumerate(self._parameters) if p.grad is not None]
        for k, parameter, _ in moved:
            if k not in self._moments:
                mean, square = (torch.zeros_like(parameter, memory_format=torch.preserve_format) for _ in range(2))
                self._moments[k] = mean, square, torch.tensor(0.0, dtype=torch.get_default_dtype())
        with torch.no_grad():
            adam(
                [p for _, p, _ in moved],
                [g for _, _, g in moved],
                [self._moments[k][0] for k, _, _ in moved],
                [self._moments[k][1] for k, _, _ in moved],
                [],
                [self._moments[k][2] for k, _, _ in moved],
                amsgrad=False,
                beta1=_BETAS[0],
                beta2=_BETAS[1],
                lr=self.rate,
                weight_decay=0.0,
                eps=_EPSILON,
                maximize=False,
            )

    def end_epoch(self) -> None:
        """Lower the learning rate: the recursion of ``CosineAnnealingLR``."""
        self._epoch += 1
        now, before = (1 + math.cos(math.pi * epoch / self._epochs) for epoch in (self._epoch, self._epoch - 1))
        self.rate = now / before * (self.rate - self._final_rate) + self._final_rate
