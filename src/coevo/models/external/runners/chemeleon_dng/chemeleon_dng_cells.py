"""Cells that a denoising step may aim at: within those of the examples, whatever a poor network says.

The last noise level of a cosine schedule keeps 1/100 of a cell, so that the first denoising step multiplies an error of the
network by 100. One that was trained on many crystals makes small ones; one that was trained on a few makes cells of kilometres.
What a step aims at is therefore held within bounds, each element of the cell for itself: the ``clip_denoised`` in the code of Ho,
Jain and Abbeel (NeurIPS 33, 6840 (2020)). A cell within them may still be half as large as any example's, so that its volume per
atom is held within theirs as well, by scaling.
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
    "volume": [10.0, 40.0],
}
"""Bounds of a network that has seen no example, in Å over the cube root of the number of atoms, and Å³ per atom."""

_BEYOND, _MARGIN, _VOLUMES = 0.25, 0.3, 1.25
"""How far bounds go beyond the examples: share of their range, Å over the cube root of the number of atoms, factor of volumes."""


def bounds_of(cells: Sequence[Any], counts: Sequence[int]) -> dict[str, Any]:
    """Bounds of each element of the cells of examples, over the cube root of their numbers of atoms, and of volumes per atom.

    Parameters
    ----------
    cells : sequence of array, shape (3, 3)
        Rows are the cell vectors, Å.
    counts : sequence of int
        Atoms.

    Returns
    -------
    dict
        ``least`` and ``most``, both 3 x 3; ``volume``, two numbers, Å³.
    """
    scaled = np.array(cells, dtype=float) / np.cbrt(np.array(counts, dtype=float))[:, None, None]
    low, high = scaled.min(axis=0), scaled.max(axis=0)
    beyond = _BEYOND * (high - low) + _MARGIN
    volumes = np.abs(np.linalg.det(scaled))
    return {
        "least": np.round(low - beyond, 6).tolist(),
        "most": np.round(high + beyond, 6).tolist(),
        "volume": [round(float(volumes.min() / _VOLUMES), 6), round(float(volumes.max() * _VOLUMES), 6)],
    }


def bounds_for(bounds: dict[str, Any] | None, counts: torch.Tensor) -> dict[str, torch.Tensor] | None:
    """Bounds of a batch's cells: ``least`` and ``most`` of shape (cells, 3, 3), Å, ``volume`` (2, cells), Å³; None without."""
    if bounds is None:
        return None
    sizes = counts.to(torch.float32)
    scale = sizes.pow(1 / 3)[:, None, None]
    least, most, volume = (
        torch.tensor(bounds[name], dtype=torch.float32, device=counts.device) for name in ("least", "most", "volume")
    )
    return {"least": least * scale, "most": most * scale, "volume": volume[:, None] * sizes}


def held(aimed: torch.Tensor, bounds: dict[str, torch.Tensor]) -> torch.Tensor:
    """Cells within bounds: their elements first, then their volumes."""
    aimed = torch.minimum(torch.maximum(aimed, bounds["least"]), bounds["most"])
    volumes = torch.linalg.det(aimed).abs().clamp_min(1e-3)
    wanted = torch.minimum(torch.maximum(volumes, bounds["volume"][0]), bounds["volume"][1])
    return aimed * (wanted / volumes).pow(1 / 3)[:, None, None]


def bounded_step(
    noise_of_model: torch.Tensor,
    cells: torch.Tensor,
    levels: dict[str, torch.Tensor],
    bounds: dict[str, torch.Tensor],
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
    bounds : dict of str to Tensor
    """
    alpha, kept, below = levels["alpha"], levels["kept"], levels["kept_below"]
    aimed = held((cells - torch.sqrt(1 - kept) * noise_of_model) / torch.sqrt(kept), bounds)
    mean = (torch.sqrt(below) * (1 - alpha) * aimed + torch.sqrt(alpha) * (1 - below) * cells) / (1 - kept)
    return mean + torch.sqrt(levels["variance"]) * noise
