"""Fits of a model of chemeleon-dng to the examples of a node: compositions, bounds of cells, and the denoising loss."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from chemeleon_dng.schema import CrystalBatch
from chemeleon_dng_cells import bounds_of
from chemeleon_dng_model import LARGEST_ATOMIC_NUMBER, Model, open_model
from coevo_compositions import learned
from coevo_drawing import number, seed_everything
from coevo_fitting import parts, strata_weights, trained
from coevo_network import device_of
from coevo_runner import OUTPUT, read_records
from pymatgen.core import Element, Lattice, Structure

if TYPE_CHECKING:
    from collections.abc import Sequence

MOST_ATOMS = 64
"""Of an example: a network has an edge for each pair of its atoms."""
REPEATS = 8
"""Noise levels at which each example of the validation part is judged."""


def fit(request: dict[str, Any]) -> dict[str, Any]:
    """Train on all examples from the parent's weights; early stopping sees the validation part only."""
    device, options, document = device_of(request), request["options"], dict(request["document"])
    examples = read_records(request["examples"])
    usable = [e for e in examples if is_usable(e, options["fit_max_e_hull"])]
    model = open_model(request, device)
    training, validation = parts(usable, options["validation_fraction"])
    report: dict[str, Any] = {"examples": len(examples), "training": len(training), "validation": len(validation)}
    if len(training) < 2 or not validation:
        report.update(
            fitted=False, reason=f"{len(training)} examples for training, {len(validation)} for validation; needs 2 and 1"
        )
    else:
        crystals = {e["id"]: crystal_of(e) for e in usable}
        model.settings["compositions"] = learned(usable, options["fit_max_e_hull"])
        model.settings["cells"] = bounds_of([c.lattice.matrix for c in crystals.values()], [len(c) for c in crystals.values()])
        sets = [[tensors_of(crystals[e["id"]], device) for e in part] for part in (training, validation)]
        report.update(train(model, *sets, weights=strata_weights(training), seed=request["seed"], options=options), fitted=True)
        report["compositions"] = len(model.settings["compositions"])
    document["training_set"] = hashlib.sha256(Path(request["examples"]).read_bytes()).hexdigest()
    model.save(OUTPUT / "model")
    return {"model": "model", "document": document, "report": report}


def is_usable(example: dict[str, Any], highest: float) -> bool:
    """Whether a network can take an example, and is to."""
    known = all(Element(symbol).Z <= LARGEST_ATOMIC_NUMBER for symbol in set(example["species"]))
    return known and len(example["species"]) <= MOST_ATOMS and example["energy_above_hull"] <= highest


def crystal_of(example: dict[str, Any]) -> Structure:
    """An example as the package's own data set has it: Niggli-reduced, in the orientation that follows from its parameters."""
    found = Structure(Lattice(example["lattice"]), example["species"], example["positions"])
    try:
        found = found.get_reduced_structure()
    except ValueError:
        print(f"{example['id']}: its cell cannot be reduced, and is taken as it is")
    return Structure(Lattice.from_parameters(*found.lattice.parameters), found.species, found.frac_coords)


def tensors_of(crystal: Structure, device: torch.device) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Cell (3, 3), atomic numbers (n,) and fractional positions (n, 3)."""
    return (
        torch.tensor(crystal.lattice.matrix, dtype=torch.float32, device=device),
        torch.tensor(crystal.atomic_numbers, dtype=torch.long, device=device),
        torch.tensor(crystal.frac_coords % 1.0, dtype=torch.float32, device=device),
    )


def batch_of(crystals: Sequence[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]) -> CrystalBatch:
    """Crystals as the package takes them."""
    device = crystals[0][0].device
    counts = torch.tensor([len(numbers) for _, numbers, _ in crystals], device=device)
    return CrystalBatch(
        atom_types=torch.cat([numbers for _, numbers, _ in crystals]),
        lattices=torch.stack([cell for cell, _, _ in crystals]),
        frac_coords=torch.cat([positions for _, _, positions in crystals]),
        num_atoms=counts,
        batch=torch.repeat_interleave(torch.arange(len(crystals), device=device), counts),
        num_graphs=len(crystals),
        num_nodes=int(counts.sum()),
    )


def train(
    model: Model, training: list[Any], validation: list[Any], *, weights: torch.Tensor, seed: int, options: dict[str, Any]
) -> dict[str, Any]:
    """Adam on the denoising loss of the package."""
    size, network = options["train_batch_size"], model.module.model
    parameters = list(network.parameters())
    optimiser = torch.optim.Adam(parameters, lr=options["learning_rate"])

    def epoch(count: int) -> None:
        seed_everything(number("train", seed, count))
        model.module.train()
        order = torch.multinomial(weights, len(training), replacement=True).tolist()
        for start in range(0, len(order), size):
            loss = model.module.calculate_loss(batch_of([training[i] for i in order[start : start + size]]))["total_loss"]
            if not torch.isfinite(loss):
                continue  # the step is left out
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_value_(parameters, 0.5)
            optimiser.step()

    best, report = trained(options, epoch, lambda: validation_loss(model, validation, size), network.state_dict)
    network.load_state_dict(best)
    return report


def validation_loss(model: Model, crystals: list[Any], size: int) -> float:
    """Denoising loss at noise that is the same in every epoch and iteration, at levels that are spread over all."""
    model.module.eval()
    total = 0.0
    with torch.no_grad():
        for repeat in range(REPEATS):
            seed_everything(number("validation", repeat))
            shift = np.random.default_rng(number("levels", repeat)).random(len(crystals))
            levels = 1 + np.floor(model.steps * ((repeat + shift) / REPEATS)).astype(int)
            for start in range(0, len(crystals), size):
                chosen = slice(start, start + size)
                t = torch.from_numpy(levels[chosen]).to(model.device)
                loss = model.module.calculate_loss(batch_of(crystals[chosen]), t=t)["total_loss"]
                total += float(loss) * len(t)
    return total / (REPEATS * len(crystals))
