"""Fine-tuning of SevenNet by its own Trainer: coevo's loss, seeded, the epoch with the smallest validation loss kept."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import sevenn
import sevenn._keys as KEY  # noqa: N812 - as SevenNet calls it
import torch
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from coevo_runner import OUTPUT, TaskError, advance, read_records, versions
from sevenn.atom_graph_data import AtomGraphData
from sevenn.train.dataload import atoms_to_graph
from sevenn.train.loss import ForceLoss, PerAtomEnergyLoss, StressLoss
from sevenn.train.trainer import Trainer
from sevennet_model import CHECKPOINT, Model, device_of, one_thread, open_model
from torch_geometric.loader import DataLoader

GPA = 160.21766208
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
    training = [labelled_graph(model, record) for record in read_records(request["training"])]
    held_out = read_records(request["validation"])
    validation = [model.graph(atoms_of(record)) for record in held_out]
    trainable(model)
    trainer = Trainer(
        model.network,
        loss_functions=losses(settings),
        optimizer_cls=torch.optim.Adam,
        optimizer_args={"lr": settings["learning_rate"]},
        scheduler_cls=torch.optim.lr_scheduler.CosineAnnealingLR,
        scheduler_args={"T_max": settings["epochs"], "eta_min": FINAL_RATE * settings["learning_rate"]},
        device=device,
    )
    order = torch.Generator().manual_seed(seed)
    loader = DataLoader(training, batch_size=settings["batch_size"], shuffle=True, generator=order)
    best_loss = validation_loss(model, validation, held_out, settings)
    best, best_epoch = state_of(model), 0
    epochs = [{"epoch": 0, "validation_loss": best_loss}]
    for epoch in range(1, settings["epochs"] + 1):
        trainer.run_one_epoch(loader, is_train=True)
        trainer.scheduler_step()
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
    write(model, best)
    check_written(request, device, validation, held_out, best_loss)
    found = versions("sevenn", "torch", "e3nn")
    document = {"weights": request["document"]["weights"], "versions": {k: found[k] for k in ("sevenn", "torch", "e3nn")}}
    return {"model": "model", "document": document, "report": {"epochs": epochs, "best_epoch": best_epoch}}


def seed_everything(seed: int) -> None:
    """Seed each generator that a package may ask."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - the one that packages use
    torch.manual_seed(seed)


def trainable(model: Model) -> None:
    """Train what SevenNet trains by default: all but the energies and scales of the elements and the denominators."""
    for name, parameter in model.network.named_parameters():
        fixed = name.endswith((".shift", ".scale")) or "denominator" in name or not parameter.is_floating_point()
        parameter.requires_grad_(not fixed)


def losses(settings: dict[str, Any]) -> list[tuple[Any, float]]:
    """The loss of :mod:`coevo.models.external.fitting` in SevenNet's terms, whose stress is in kbar, ten to the GPa."""
    kbar = 10.0
    return [
        (PerAtomEnergyLoss(criterion=torch.nn.HuberLoss(delta=DELTA)), ENERGY_WEIGHT),
        (ForceLoss(criterion=torch.nn.HuberLoss(delta=DELTA)), settings["force_weight"]),
        (StressLoss(criterion=torch.nn.HuberLoss(delta=kbar * DELTA)), settings["stress_weight"] / kbar**2),
    ]


def atoms_of(record: dict[str, Any]) -> Atoms:
    """A frame as ASE has it."""
    return Atoms(numbers=record["numbers"], positions=record["positions"], cell=record["cell"], pbc=True)


def labelled_graph(model: Model, record: dict[str, Any]) -> AtomGraphData:
    """A frame with its labels; SevenNet turns the sign of the stress itself."""
    atoms = atoms_of(record)
    stress = np.array(record["stress"])
    voigt = stress[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
    atoms.calc = SinglePointCalculator(atoms, energy=record["energy"], forces=np.array(record["forces"]), stress=voigt)
    graph = AtomGraphData.from_numpy_dict(atoms_to_graph(atoms, model.cutoff, transfer_info=False, y_from_calc=True))
    if model.modality is not None:
        graph[KEY.DATA_MODALITY] = model.modality
    return graph


def validation_loss(model: Model, graphs: list[AtomGraphData], records: list[dict[str, Any]], settings: dict[str, Any]) -> float:
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
    return {name: tensor.detach().cpu().clone() for name, tensor in model.network.state_dict().items()}


def write(model: Model, state: dict[str, Any]) -> None:
    """Write a checkpoint of SevenNet's own form, which its calculator reads as well; the same weights write the same bytes."""
    directory = OUTPUT / "model"
    directory.mkdir()
    torch.save(
        {
            "model_state_dict": state,
            "optimizer_state_dict": {},
            "scheduler_state_dict": {},
            "epoch": 0,
            "time": "",
            "hash": "",
            # The weights are in the order of this version; those of an older one would be sorted again when they are read.
            "config": {**plain(model.config), "version": sevenn.__version__},
        },
        Path(directory) / CHECKPOINT,
    )


def check_written(
    request: dict[str, Any], device: torch.device, graphs: list[AtomGraphData], records: list[dict[str, Any]], loss: float
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


def plain(value: Any) -> Any:
    """A configuration in types that are read without running code."""
    if isinstance(value, dict):
        return {key if isinstance(key, (int, str)) else str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if value is None or isinstance(value, (bool, int, float, str, torch.Tensor)):
        return value
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    return str(value)
