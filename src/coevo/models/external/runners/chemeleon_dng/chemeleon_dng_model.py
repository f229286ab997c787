"""A model of chemeleon-dng that takes a composition: made, read, written, and its draws."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from chemeleon_dng.diffusion.diffusion_module import DiffusionModule, DiffusionModuleTask
from chemeleon_dng.diffusion.diffusion_scheduler import get_named_beta_schedule
from chemeleon_dng.diffusion.models.ddpm import DDPM
from chemeleon_dng.diffusion.models.dsm import DSM
from chemeleon_dng_cells import PLAIN, bounded_step, bounds_for
from chemeleon_dng_files import published_file, read_directory, read_published, write_directory
from coevo_runner import TaskError
from pymatgen.core import Element

if TYPE_CHECKING:
    from collections.abc import Sequence

    from coevo_compositions import Draw

LARGEST_ATOMIC_NUMBER = 99
"""Of the elements that a network with 100 embeddings knows."""

_OPTIMISER = {"optimizer": "adam", "lr": 1e-3, "weight_decay": 0.0, "scheduler": "constant", "patience": 1, "early_stopping": 1}
"""Asked for by its class and never used: fits have a loop of their own."""


class Cells(DDPM):
    """Noise levels of cells, as a model has them, and denoising within bounds.

    Parameters
    ----------
    alphas : Tensor, shape (steps + 1,)
        1 − β, that of level 0 first.
    """

    def __init__(self, alphas: torch.Tensor):
        super().__init__(betas=1.0 - alphas[1:])
        self.bounds: dict[str, torch.Tensor] | None = None

    @torch.no_grad()
    def p_sample(self, model_output: torch.Tensor, x_t: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """One step, within bounds if there are any."""
        if self.bounds is None:
            return super().p_sample(model_output=model_output, x_t=x_t, t=t)

        def at(values: torch.Tensor, level: torch.Tensor) -> torch.Tensor:
            return values.to(level.device)[level][:, None, None]

        levels = {
            "alpha": at(self.alphas, t),
            "kept": at(self.alphas_cumprod, t),
            "kept_below": at(self.alphas_cumprod, t - 1),
            "variance": at(self.posterior_variance, t),
        }
        noise = torch.randn_like(x_t) * (t != 1).to(x_t.dtype)[:, None, None]
        return bounded_step(model_output, x_t, levels, self.bounds, noise)


class Positions(DSM):
    """Noise levels of positions whose norms are known: the package estimates them anew, at random, whenever a model is made."""

    def __init__(self, steps: int, begin: float, end: float, norms: torch.Tensor):
        self.timesteps, self.sigma_begin, self.sigma_end = steps, begin, end
        levels = torch.tensor(np.exp(np.linspace(np.log(begin), np.log(end), steps)), dtype=torch.float32)
        self.sigmas, self.sigmas_norm = torch.cat([torch.zeros(1), levels]), norms.to(torch.float32)


class Model:
    """Settings, and the module that they describe.

    Parameters
    ----------
    settings : dict
        Those of the network and of the noise, and what the examples taught: ``compositions``, ``cells``.
    tensors : dict of str to Tensor
        Weights (``network.…``), ``alphas`` and ``sigmas_norm``.
    device : torch.device
    """

    def __init__(self, settings: dict[str, Any], tensors: dict[str, torch.Tensor], device: torch.device):
        self.settings, self.device = settings, device
        self._noise = {name: tensors[name] for name in ("alphas", "sigmas_norm")}
        network = dict(settings["network"])
        network.update(pred_atom_types=False, cond_dim=0)
        network.pop("task", None)
        steps = settings["num_timesteps"]
        self.cells = Cells(tensors["alphas"])
        try:
            module = DiffusionModule(
                task=DiffusionModuleTask.CSP,
                num_timesteps=steps,
                diffusion_atom_type=None,
                diffusion_lattice=self.cells,
                diffusion_frac_coord=Positions(
                    steps, float(settings["sigma_begin"]), float(settings["sigma_end"]), tensors["sigmas_norm"]
                ),
                model_configs=network,
                optimizer_configs=_OPTIMISER,
            )
            weights = {name.partition(".")[2]: value for name, value in tensors.items() if name.startswith("network.")}
            if weights:
                module.model.load_state_dict(weights)
        except (KeyError, TypeError, ValueError, RuntimeError, AssertionError) as err:
            raise TaskError("no_weights", f"the model's settings and weights do not make a network: {str(err)[:300]}") from err
        self.module = module.to(device)

    @property
    def steps(self) -> int:
        """Noise levels."""
        return int(self.settings["num_timesteps"])

    def tensors(self) -> dict[str, torch.Tensor]:
        """All that a model directory keeps beside the settings."""
        return {f"network.{name}": value for name, value in self.module.model.state_dict().items()} | self._noise

    def save(self, directory: Path) -> None:
        """Write the model directory."""
        write_directory(directory, self.settings, self.tensors())

    def draw(self, draws: Sequence[Draw], *, bounded: bool) -> list[dict[str, Any]]:
        """Crystals of given compositions, one a composition, by the package's own sampling."""
        counts = [draw.atoms for draw in draws]
        numbers = [Element(symbol).Z for draw in draws for symbol in draw.species()]
        bounds = self.settings.get("cells") if bounded else None
        self.cells.bounds = bounds_for(bounds, torch.tensor(counts, device=self.device))
        self.module.eval()
        trajectory = self.module.sample(task="csp", num_atoms=counts, atom_types=numbers, return_trajectory=True, verbose=False)
        last = trajectory.container[0]
        cells, positions = last.lattices.double().cpu(), last.frac_coords.double().cpu()
        if cells.shape != (len(draws), 3, 3) or positions.shape != (sum(counts), 3):
            raise TaskError("error", f"asked for {len(draws)} crystals and got cells of shape {tuple(cells.shape)}")
        return [
            {"lattice": cell.tolist(), "species": draw.species(), "positions": (own % 1.0).tolist()}
            for draw, cell, own in zip(draws, cells, torch.split(positions, counts))  # noqa: B905 - Python 3.8
        ]


def fresh_model(options: dict[str, Any], device: torch.device) -> Model:
    """An untrained network of the sizes that the options say; the same one whenever it is asked for."""
    hidden, steps = options["hidden"], options["steps"]
    network = {
        "hidden_dim": hidden,
        "time_dim": hidden,
        "num_layers": options["layers"],
        "max_atoms": LARGEST_ATOMIC_NUMBER + 1,
        "act_fn": "silu",
        "dis_emb": "sin",
        "num_freqs": max(hidden // 4, 8),
        "ln": True,
        "ip": True,
        "smooth": False,
        "cond_dim": 0,
        "pred_atom_types": False,
    }
    settings = {"network": network, "num_timesteps": steps, "sigma_begin": 0.005, "sigma_end": 0.5, "cells": PLAIN}
    torch.manual_seed(0)
    alphas = torch.cat([torch.ones(1), 1.0 - get_named_beta_schedule("cosine", steps)])
    norms = DSM(num_timesteps=steps, sigma_begin=settings["sigma_begin"], sigma_end=settings["sigma_end"]).sigmas_norm
    return Model(settings, {"alphas": alphas, "sigmas_norm": norms}, device)


def open_model(request: dict[str, Any], device: torch.device) -> Model:
    """The model of the request: the node's own, or what the node starts from."""
    weights = request["options"]["weights"]
    if request["model"]:
        settings, tensors = read_directory(Path(request["model"]))
    elif weights == "fresh":
        return fresh_model(request["options"], device)
    else:
        settings, tensors = read_published(published_file(weights))
    return Model(settings, tensors, device)
