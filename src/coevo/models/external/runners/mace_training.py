"""Fine-tuning of MACE by its own training step: coevo's loss, seeded, the epoch with the smallest validation loss kept."""

from __future__ import annotations

import random
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from coevo_runner import OUTPUT, TaskError, advance, read_records
from mace.tools import torch_geometric
from mace.tools.scripts_utils import get_optimizer, get_params_options
from mace.tools.train import take_step
from mace_keeping import keep, versions_of_packages
from mace_model import Model, device_of, one_thread, open_model

if TYPE_CHECKING:
    from mace.data import AtomicData

GPA = 160.21766208
DELTA = 0.1
ENERGY_WEIGHT = 10.0
FINAL_RATE = 0.1
"""The learning rate falls to this share of its start along a cosine."""
OPTIMISER = {
    "optimizer": "adam",
    "amsgrad": True,
    "beta": 0.9,
    "weight_decay": 5e-7,
    "lr_params_factors": "{}",
    "freeze": None,
}
"""As by default of ``mace_run_train``."""
LARGEST_GRADIENT = 10.0
PREDICTED = {"forces": True, "virials": False, "stress": True}


def fit(request: dict[str, Any]) -> dict[str, Any]:
    """Train from the request's model; the output is the model directory, its document, and losses by epoch."""
    device, settings, seed = device_of(request), request["settings"], request["seed"]
    one_thread(device)
    seed_everything(seed)
    model = open_model(request, device)
    if request["model"] is None:  # what cannot be kept need not be trained
        keep(model.network, Path("parent"))
    training = [labelled_graph(model, record) for record in read_records(request["training"])]
    held_out = read_records(request["validation"])
    validation = [model.graph(r["numbers"], r["positions"], r["cell"]) for r in held_out]
    model.network.requires_grad_(True)
    chosen = Namespace(**OPTIMISER, lr=settings["learning_rate"])
    optimizer = get_optimizer(chosen, get_params_options(chosen, model.network))
    lowest = FINAL_RATE * settings["learning_rate"]
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=settings["epochs"], eta_min=lowest)
    order = torch.Generator().manual_seed(seed)
    loader = torch_geometric.dataloader.DataLoader(training, settings["batch_size"], shuffle=True, generator=order)
    loss_of = Loss(settings)
    best_loss = validation_loss(model, validation, held_out, settings)
    best, best_epoch = state_of(model), 0
    epochs = [{"epoch": 0, "validation_loss": best_loss}]
    for epoch in range(1, settings["epochs"] + 1):
        model.network.train()
        for batch in loader:
            take_step(model.network, loss_of, batch, optimizer, None, PREDICTED, LARGEST_GRADIENT, device)
        schedule.step()
        loss = validation_loss(model, validation, held_out, settings)
        print(f"epoch {epoch}: validation loss {loss:.6g}", flush=True)
        if not np.isfinite(loss):
            raise TaskError("diverged", f"the validation loss became {loss}; use a smaller learning_rate")
        epochs.append({"epoch": epoch, "validation_loss": loss})
        advance(1)
        if loss < best_loss:
            best_loss, best, best_epoch = loss, state_of(model), epoch
        elif epoch - best_epoch >= settings["patience"]:
            break
    model.network.load_state_dict(best)
    keep(model.network, OUTPUT / "model")
    return {
        "model": "model",
        "document": {"versions": versions_of_packages()},
        "report": {"epochs": epochs, "best_epoch": best_epoch},
    }


def seed_everything(seed: int) -> None:
    """Seed each generator that a package may ask."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - the one that packages use
    torch.manual_seed(seed)


class Loss(torch.nn.Module):
    """The loss of :mod:`coevo.models.external.fitting` as one of MACE's; its stresses are in eV/Å³ and coevo's in GPa."""

    def __init__(self, settings: dict[str, Any]) -> None:
        super().__init__()
        self.weights = (ENERGY_WEIGHT, settings["force_weight"], settings["stress_weight"])

    def forward(self, ref: Any, pred: dict[str, Any]) -> torch.Tensor:
        """Loss of a batch ``ref`` with its labels and the predictions ``pred``."""
        atoms = ref.ptr[1:] - ref.ptr[:-1]
        differences = (
            (pred["energy"] - ref["energy"]) / atoms,
            pred["forces"] - ref["forces"],
            GPA * (pred["stress"] - ref["stress"]),
        )
        total = torch.zeros((), device=atoms.device)
        for weight, difference in zip(self.weights, differences):  # noqa: B905 - Python 3.8
            total = total + weight * torch.nn.functional.huber_loss(difference, torch.zeros_like(difference), delta=DELTA)
        return total


def labelled_graph(model: Model, record: dict[str, Any]) -> AtomicData:
    """A frame with its labels; MACE's stress has ASE's sign."""
    labels = {"energy": record["energy"], "forces": np.array(record["forces"]), "stress": np.array(record["stress"])}
    return model.graph(record["numbers"], record["positions"], record["cell"], **labels)


def validation_loss(model: Model, graphs: list[AtomicData], records: list[dict[str, Any]], settings: dict[str, Any]) -> float:
    """The loss over all validation frames."""
    model.network.eval()
    energy, forces, stress = [], [], []
    for start in range(0, len(graphs), settings["batch_size"]):
        part = records[start : start + settings["batch_size"]]
        found = model.predict_graphs(graphs[start : start + settings["batch_size"]])
        energy.append((found["energies"] - [r["energy"] for r in part]) / [len(r["numbers"]) for r in part])
        forces.append((found["forces"] - np.concatenate([r["forces"] for r in part])).ravel())
        stress.append(GPA * (found["stresses"] - np.array([r["stress"] for r in part])).ravel())
    weights = (ENERGY_WEIGHT, settings["force_weight"], settings["stress_weight"])
    return sum(w * huber(np.concatenate(x)) for w, x in zip(weights, (energy, forces, stress)))  # noqa: B905


def huber(difference: Any) -> float:
    """Mean Huber function."""
    size = np.abs(difference)
    return float(np.where(size <= DELTA, 0.5 * size**2, DELTA * (size - 0.5 * DELTA)).mean())


def state_of(model: Model) -> dict[str, Any]:
    """A copy of the parameters."""
    return {name: tensor.detach().clone() for name, tensor in model.network.state_dict().items()}
