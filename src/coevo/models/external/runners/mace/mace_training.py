"""Fine-tuning of MACE by its own training step: coevo's loss, seeded, the epoch with the smallest validation loss kept."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from coevo_network import device_of, one_thread, package_versions
from coevo_runner import OUTPUT, read_records
from coevo_training import DELTA, GPA, cosine, in_batches, loss_of, seed_everything, train, weights_of
from mace.tools import torch_geometric
from mace.tools.scripts_utils import get_optimizer, get_params_options
from mace.tools.train import take_step
from mace_keeping import keep
from mace_model import Model, open_model

if TYPE_CHECKING:
    from mace.data import AtomicData

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
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, **cosine(settings))
    order = torch.Generator().manual_seed(seed)
    loader = torch_geometric.dataloader.DataLoader(training, settings["batch_size"], shuffle=True, generator=order)
    labelled = Loss(settings)

    def epoch(_number: int) -> None:
        model.network.train()
        for batch in loader:
            take_step(model.network, labelled, batch, optimizer, None, PREDICTED, LARGEST_GRADIENT, device)
        schedule.step()

    def loss() -> float:
        model.network.eval()
        return loss_of(in_batches(model.predict_graphs, validation, settings["batch_size"]), held_out, settings)

    best = train(settings, epoch, loss, model.network.state_dict)
    model.network.load_state_dict(best.state)
    keep(model.network, OUTPUT / "model")
    return best.result({"versions": package_versions("mace", "torch", "e3nn")})


class Loss(torch.nn.Module):
    """The loss of :mod:`coevo.models.external.fitting` as one of MACE's; its stresses are in eV/Å³ and coevo's in GPa."""

    def __init__(self, settings: dict[str, Any]) -> None:
        super().__init__()
        self.weights = weights_of(settings)

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
