"""Fine-tuning of MatterSim by its own training loop: coevo's loss, seeded, the epoch with the smallest validation loss kept."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import numpy as np
from coevo_runner import OUTPUT, TaskError, advance, read_records, versions
from mattersim_model import CHECKPOINT, Model, crystal, device_of, one_thread, open_model

# ruff: isort: split
import torch
from ase.units import GPa
from mattersim.forcefield.potential import Potential
from torch_geometric.loader import DataLoader

if TYPE_CHECKING:
    from torch_geometric.data import Data

DELTA = 0.1
ENERGY_WEIGHT = 10.0
FINAL_RATE = 0.1
"""The learning rate falls to this share of its start along a cosine."""


def fit(request: dict[str, Any]) -> dict[str, Any]:
    """Train from the request's model; the output is the model directory, its document, and losses by epoch."""
    device, settings, seed = device_of(request), request["settings"], request["seed"]
    one_thread(device)
    seed_everything(seed)
    model = open_model(request, device)
    training, held_out = read_records(request["training"]), read_records(request["validation"])
    validation = model.graphs([crystal_of(record) for record in held_out])
    order = torch.Generator().manual_seed(seed)
    loader = DataLoader(labelled_graphs(model, training), settings["batch_size"], shuffle=True, generator=order)
    best_loss = validation_loss(model, validation, held_out, settings)
    best, best_epoch = state_of(model), 0
    epochs = [{"epoch": 0, "validation_loss": best_loss}]
    potential = trainable(model, settings)
    for epoch in range(1, settings["epochs"] + 1):
        train_one_epoch(potential, loader, epoch, settings)
        with potential.ema.average_parameters():
            loss = validation_loss(model, validation, held_out, settings)
            print(f"epoch {epoch}: validation loss {loss:.6g}", flush=True)
            if not np.isfinite(loss):
                raise TaskError("diverged", f"the validation loss became {loss}; use a smaller learning_rate")
            epochs.append({"epoch": epoch, "validation_loss": loss})
            advance(1)
            if loss < best_loss:
                best_loss, best, best_epoch = loss, state_of(model), epoch
        if epoch - best_epoch >= settings["patience"]:
            break
    write(model, best)
    check_written(request, device, validation, held_out, best_loss)
    document = {"versions": versions_of_packages()}
    return {"model": "model", "document": document, "report": {"epochs": epochs, "best_epoch": best_epoch}}


def versions_of_packages() -> dict[str, str]:
    """What a checkpoint says of the packages that wrote it."""
    found = versions("mattersim", "torch", "torch_geometric")
    return {name: version for name, version in found.items() if name != "python"}


def seed_everything(seed: int) -> None:
    """Seed each generator that a package may ask."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - the one that packages use
    torch.manual_seed(seed)


def trainable(model: Model, settings: dict[str, Any]) -> Potential:
    """The model with all parameters to be trained, by Adam and a cosine; energies and scales of the elements are none of them.

    What counts after an epoch is a moving average of the parameters, as in MatterSim's own checkpoints.
    """
    model.potential.model.requires_grad_(True)
    rate, epochs = settings["learning_rate"], settings["epochs"]
    optimizer = torch.optim.Adam(model.potential.model.parameters(), lr=rate, eps=1e-7)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs, eta_min=FINAL_RATE * rate)
    model.potential = Potential(model.potential.model, optimizer=optimizer, scheduler=scheduler, device=str(model.device))
    return model.potential


def train_one_epoch(potential: Potential, loader: DataLoader, epoch: int, settings: dict[str, Any]) -> None:
    """One epoch by MatterSim, whose energies have the weight 1: a tenth of the loss of :mod:`coevo.models.external.fitting`."""
    potential.train_one_epoch(
        loader,
        epoch,
        torch.nn.HuberLoss(delta=DELTA),
        include_energy=True,
        include_forces=True,
        include_stresses=True,
        loss_f=settings["force_weight"] / ENERGY_WEIGHT,
        loss_s=settings["stress_weight"] / ENERGY_WEIGHT,
        wandb=None,
        mode="train",
        log=False,
    )
    potential.scheduler.step()


def crystal_of(record: dict[str, Any]) -> Any:
    """A frame's crystal."""
    return crystal(record["numbers"], record["positions"], record["cell"])


def labelled_graphs(model: Model, records: list[dict[str, Any]]) -> list[Data]:
    """Frames with their labels; MatterSim's stress is in GPa."""
    return model.graphs(
        [crystal_of(record) for record in records],
        energies=[record["energy"] for record in records],
        forces=[np.array(record["forces"]) for record in records],
        stresses=[np.array(record["stress"]) / GPa for record in records],
    )


def validation_loss(model: Model, graphs: list[Data], records: list[dict[str, Any]], settings: dict[str, Any]) -> float:
    """The loss over all validation frames."""
    energy, forces, stress = [], [], []
    for start in range(0, len(graphs), settings["batch_size"]):
        part = records[start : start + settings["batch_size"]]
        found = model.predict_graphs(graphs[start : start + settings["batch_size"]])
        energy.append((found["energies"] - [r["energy"] for r in part]) / [len(r["numbers"]) for r in part])
        forces.append((found["forces"] - np.concatenate([r["forces"] for r in part])).ravel())
        stress.append((found["stresses"] - np.array([r["stress"] for r in part])).ravel() / GPa)
    weights = (ENERGY_WEIGHT, settings["force_weight"], settings["stress_weight"])
    return sum(w * huber(np.concatenate(x)) for w, x in zip(weights, (energy, forces, stress)))  # noqa: B905


def huber(difference: Any) -> float:
    """Mean Huber function."""
    size = np.abs(difference)
    return float(np.where(size <= DELTA, 0.5 * size**2, DELTA * (size - 0.5 * DELTA)).mean())


def state_of(model: Model) -> dict[str, Any]:
    """A copy of the parameters."""
    return {name: tensor.detach().cpu().clone() for name, tensor in model.potential.model.state_dict().items()}


def write(model: Model, state: dict[str, Any]) -> None:
    """Write a checkpoint of MatterSim's own form, without the state of a training; the same weights write the same bytes."""
    directory = OUTPUT / "model"
    directory.mkdir()
    torch.save(
        {
            "model_name": "m3gnet",
            "model": state,
            "model_args": model.arguments,
            "optimizer": {},
            "ema": {},
            "scheduler": {},
            "last_epoch": -1,
            "validation_metrics": {},
            "description": "",
        },
        directory / CHECKPOINT,
    )


def check_written(
    request: dict[str, Any], device: torch.device, graphs: list[Data], records: list[dict[str, Any]], loss: float
) -> None:
    """Make sure that what was written is the model that was trained.

    Raises
    ------
    TaskError
        If it has another validation loss when it is read again.
    """
    again = open_model({**request, "model": str(OUTPUT / "model")}, device)
    found = validation_loss(again, graphs, records, request["settings"])
    if not abs(found - loss) <= 1e-3 * abs(loss) + 1e-9:
        raise TaskError(
            "checkpoint", f"the model has validation loss {loss:.6g}, and {found:.6g} when it is read from its checkpoint"
        )
