"""Fine-tuning of SevenNet by its own Trainer: coevo's loss, seeded, the epoch with the smallest validation loss kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import sevenn
import sevenn._keys as KEY  # noqa: N812 - as SevenNet calls it
import torch
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from coevo_network import device_of, one_thread, package_versions
from coevo_runner import OUTPUT, read_records
from coevo_training import DELTA, check_written, cosine, in_batches, loss_of, seed_everything, spread_of, train, weights_of
from sevenn.atom_graph_data import AtomGraphData
from sevenn.train.dataload import atoms_to_graph
from sevenn.train.loss import ForceLoss, PerAtomEnergyLoss, StressLoss
from sevenn.train.trainer import Trainer
from sevennet_model import CHECKPOINT, Model, open_model
from torch_geometric.loader import DataLoader


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
        scheduler_args=cosine(settings),
        device=device,
    )
    order = torch.Generator().manual_seed(seed)
    loader = DataLoader(training, batch_size=settings["batch_size"], shuffle=True, generator=order)

    def epoch(_number: int) -> None:
        trainer.run_one_epoch(loader, is_train=True)
        trainer.scheduler_step()

    def loss(judged: Model = model) -> float:
        judged.network.eval()
        return loss_of(in_batches(judged.predict_graphs, validation, settings["batch_size"]), held_out, settings)

    watched = read_records(request["watched"]) if request.get("watched") else []
    crystals = [model.graph(atoms_of(record)) for record in watched]

    def spread() -> float:
        model.network.eval()
        return spread_of(in_batches(model.predict_graphs, crystals, settings["batch_size"])["energies"], watched, request)

    best = train(settings, epoch, loss, model.network.state_dict, spread if watched else None)
    write(model, best.state)
    check_written(best, loss(open_model({**request, "model": str(OUTPUT / "model")}, device)))
    return best.result({"weights": request["document"]["weights"], "versions": package_versions("sevenn", "torch", "e3nn")})


def trainable(model: Model) -> None:
    """Train what SevenNet trains by default: all but the energies and scales of the elements and the denominators."""
    for name, parameter in model.network.named_parameters():
        fixed = name.endswith((".shift", ".scale")) or "denominator" in name or not parameter.is_floating_point()
        parameter.requires_grad_(not fixed)


def losses(settings: dict[str, Any]) -> list[tuple[Any, float]]:
    """The loss of :mod:`coevo.models.external.fitting` in SevenNet's terms, whose stress is in kbar, ten to the GPa."""
    kbar = 10.0
    energy, force, stress = weights_of(settings)
    return [
        (PerAtomEnergyLoss(criterion=torch.nn.HuberLoss(delta=DELTA)), energy),
        (ForceLoss(criterion=torch.nn.HuberLoss(delta=DELTA)), force),
        (StressLoss(criterion=torch.nn.HuberLoss(delta=kbar * DELTA)), stress / kbar**2),
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
