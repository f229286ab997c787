"""Cells that a denoising step may aim at: within those of the examples, whatever a poor network says.

The last noise level of a cosine schedule keeps 1/100 of a cell, so that the first denoising step multiplies an error of the
network by 100. One that was trained on many crystals makes small ones; one that was trained on a few makes cells of kilometres.
What a step aims at is therefore held within bounds, each element of the cell for itself: the ``clip_denoised`` in the code of Ho,
Jain and Abbeel (NeurIPS 33, 6840 (2020)).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

PLAIN = {
    "least": [[2.2, -0.8, -0.8], [-0.8, 2.2, -0.8], [-0.8, -0.8, 2.2]],
    "most": [[3.6, 0.8, 0.8], [0.8, 3.6, 0.8], [0.8, 0.8, 3.6]],
}
"""Bounds of a network that has seen no example: 9 to 47 Å³ per atom, Å over the cube root of the number of atoms."""

_BEYOND, _MARGIN = 0.25, 0.3
"""How far bounds go beyond the examples: share of their range, and Å over the cube root of the number of atoms."""


def bounds_of(cells: Sequence[Any], counts: Sequence[int]) -> dict[str, list[list[float]]]:
    """Bounds of each element of the cells of examples, over the cube root of their numbers of atoms.

    Parameters
    ----------
    cells : sequence of array, shape (3, 3)
        Rows are the cell vectors, Å.
    counts : sequence of int
        Atoms.

    Returns
    -------
    dict
        ``least`` and ``most``, both 3 x 3.
    """
    scaled = np.array(cells, dtype=float) / np.cbrt(np.array(counts, dtype=float))[:, None, None]
    low, high = scaled.min(axis=0), scaled.max(axis=0)
    beyond = _BEYOND * (high - low) + _MARGIN
    return {"least": np.round(low - beyond, 6).tolist(), "most": np.round(high + beyond, 6).tolist()}


def bounds_for(bounds: dict[str, Any] | None, counts: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Bounds of a batch's cells, two tensors of shape (cells, 3, 3), Å; None without bounds."""
    if bounds is None:
        return None
    scale = counts.to(torch.float32).pow(1 / 3)[:, None, None]
    least, most = (
        torch.tensor(bounds[name], dtype=torch.float32, device=counts.device)[None] * scale for name in ("least", "most")
    )
    return least, most


def bounded_step(
    noise_of_model: torch.Tensor,
    cells: torch.Tensor,
    levels: dict[str, torch.Tensor],
    bounds: tuple[torch.Tensor, torch.Tensor],
    noise: torch.Tensor,
) -> torch.Tensor:
    """One denoising step of cells.

    With β, α = 1 − β and ᾱ = Π α, the step aims at x₀ = (x − √(1 − ᾱ) ε) / √ᾱ, held within the bounds, and the mean of what comes
    next is (√ᾱ' β x₀ + √α (1 − ᾱ') x) / (1 − ᾱ), ᾱ' of the level below; where no bound is reached, that is the step of Ho et al.

    Parameters
    ----------
    noise_of_model, cells, noise : Tensor, shape (cells, 3, 3)
        ε of the network, x, and normal noise (zeros in the last step).
    levels : dict of str to Tensor
        ``alpha``, ``kept`` (ᾱ), ``kept_below`` (ᾱ') and ``variance``, each of a shape that spreads over the cells.
    bounds : tuple of Tensor
    """
    alpha, kept, below = levels["alpha"], levels["kept"], levels["kept_below"]
    aimed = (cells - torch.sqrt(1 - kept) * noise_of_model) / torch.sqrt(kept)
    aimed = torch.minimum(torch.maximum(aimed, bounds[0]), bounds[1])
    mean = (torch.sqrt(below) * (1 - alpha) * aimed + torch.sqrt(alpha) * (1 - below) * cells) / (1 - kept)
    return mean + torch.sqrt(levels["variance"]) * noise
