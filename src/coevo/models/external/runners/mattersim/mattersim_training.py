"""Fine-tuning of MatterSim by its own training loop: coevo's loss, seeded, the epoch with the smallest validation loss kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mattersim_model import CHECKPOINT, Model, open_model, right_handed  # first, as it says how torch is to be imported

# ruff: isort: split
import numpy as np
import torch
from ase.units import GPa
from coevo_network import device_of, one_thread, package_versions
from coevo_runner import OUTPUT, read_records
from coevo_training import DELTA, ENERGY_WEIGHT, check_written, cosine, in_batches, loss_of, seed_everything, train
from mattersim.forcefield.potential import Potential
from torch_geometric.loader import DataLoader

if TYPE_CHECKING:
    from torch_geometric.data import Data

PACKAGES = ("mattersim", "torch", "torch_geometric")
"""Those of the document of a checkpoint."""


def fit(request: dict[str, Any]) -> dict[str, Any]:
    """Train from the request's model; the output is the model directory, its document, and losses by epoch."""
    device, settings, seed = device_of(request), request["settings"], request["seed"]
    one_thread(device)
    seed_everything(seed)
    model = open_model(request, device)
    training, held_out = read_records(request["training"]), read_records(request["validation"])
    validation = model.graphs([atoms_of(record) for record in held_out])
    order = torch.Generator().manual_seed(seed)
    loader = DataLoader(labelled_graphs(model, training), settings["batch_size"], shuffle=True, generator=order)
    potential = trainable(model, settings)

    def loss_by(judged: Model) -> float:
        return loss_of(in_batches(judged.predict_graphs, validation, settings["batch_size"]), held_out, settings)

    def loss() -> float:
        with potential.ema.average_parameters():
            return loss_by(model)

    def state() -> dict[str, Any]:
        with potential.ema.average_parameters():
            return {name: tensor.clone() for name, tensor in potential.model.state_dict().items()}

    best = train(settings, lambda number: train_one_epoch(potential, loader, number, settings), loss, state)
    write(model, best.state)
    check_written(best, loss_by(open_model({**request, "model": str(OUTPUT / "model")}, device)))
    return best.result({"versions": package_versions(*PACKAGES)})


def trainable(model: Model, settings: dict[str, Any]) -> Potential:
    """The model with all parameters to be trained, by Adam and a cosine; energies and scales of the elements are none of them.

    What counts is a moving average of the parameters, as in MatterSim's own checkpoints; before any training it is they.
    """
    model.potential.model.requires_grad_(True)
    optimizer = torch.optim.Adam(model.potential.model.parameters(), lr=settings["learning_rate"], eps=1e-7)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, **cosine(settings))
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


def atoms_of(record: dict[str, Any]) -> Any:
    """A frame as ASE has it."""
    return right_handed(record["numbers"], record["positions"], record["cell"])


def labelled_graphs(model: Model, records: list[dict[str, Any]]) -> list[Data]:
    """Frames with their labels; MatterSim's stress is in GPa."""
    return model.graphs(
        [atoms_of(record) for record in records],
        energies=[record["energy"] for record in records],
        forces=[np.array(record["forces"]) for record in records],
        stresses=[np.array(record["stress"]) / GPa for record in records],
    )


def write(model: Model, state: dict[str, Any]) -> None:
    """Write a checkpoint of MatterSim's own form, without the state of a training; the same weights write the same bytes."""
    directory = OUTPUT / "model"
    directory.mkdir()
    torch.save(
        {
            "model_name": "m3gnet",
            "model": dict(state),
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
