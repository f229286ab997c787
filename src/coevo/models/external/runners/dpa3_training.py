"""Fine-tuning of DPA-3 with DeePMD-kit's model and loss: coevo's loss, seeded, the epoch with the smallest validation loss kept.

DeePMD-kit's own training puts crystals of one size into a batch, counts steps, keeps the last of them and first fits the energies
of the elements to the new data; here are epochs over crystals of all sizes, a validation after each, and energies of the elements
that stay.
"""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from coevo_runner import OUTPUT, TaskError, advance, read_records, versions
from deepmd.pt.loss import EnergyStdLoss
from deepmd.pt.train.wrapper import ModelWrapper
from dpa3_model import CHECKPOINT, DEVICE, Model, device_of, one_thread, open_model

GPA = 160.21766208
DELTA = 0.1
ENERGY_WEIGHT = 10.0
FINAL_RATE = 0.1
"""The learning rate falls to this share of its start along a cosine."""


def fit(request: dict[str, Any]) -> dict[str, Any]:
    """Train from the request's model; the output is the model directory, its document, and losses by epoch."""
    settings, seed = request["settings"], request["seed"]
    one_thread(device_of(request))
    seed_everything(seed)
    model = open_model(request)
    training, held_out = read_records(request["training"]), read_records(request["validation"])
    training_wrapper = ModelWrapper(model.network, loss=loss_of(training, settings))
    optimizer = torch.optim.Adam(model.network.parameters(), lr=settings["learning_rate"])
    rates = torch.optim.lr_scheduler.CosineAnnealingLR(
        optimizer, T_max=settings["epochs"], eta_min=FINAL_RATE * settings["learning_rate"]
    )
    order = torch.Generator().manual_seed(seed)
    best_loss, best_energies = validated(model, held_out, settings)
    best, best_epoch = state_of(model), 0
    epochs = [{"epoch": 0, "validation_loss": best_loss}]
    for epoch in range(1, settings["epochs"] + 1):
        training_wrapper.train()
        for chosen in torch.randperm(len(training), generator=order).split(settings["batch_size"]):
            take_step(model, training_wrapper, optimizer, [training[i] for i in chosen.tolist()])
        rates.step()
        loss, energies = validated(model, held_out, settings)
        print(f"epoch {epoch}: validation loss {loss:.6g}", flush=True)
        if not np.isfinite(loss):
            raise TaskError("diverged", f"the validation loss became {loss}; use a smaller learning_rate")
        epochs.append({"epoch": epoch, "validation_loss": loss})
        advance(1)
        if loss < best_loss:
            best_loss, best_energies, best, best_epoch = loss, energies, state_of(model), epoch
        elif epoch - best_epoch >= settings["patience"]:
            break
    write(best)
    check_written(request, held_out, best_energies)
    found = versions("deepmd", "torch")
    document = {"weights": request["document"]["weights"], "versions": {k: found[k] for k in ("deepmd", "torch")}}
    return {"model": "model", "document": document, "report": {"epochs": epochs, "best_epoch": best_epoch}}


def seed_everything(seed: int) -> None:
    """Seed each generator that a package may ask."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - the one that packages use
    torch.manual_seed(seed)


def loss_of(records: list[dict[str, Any]], settings: dict[str, Any]) -> Any:
    """The loss of :mod:`coevo.models.external.fitting` in DeePMD-kit's terms, which has virials per atom in place of stresses.

    One is the other times the volume of an atom, for which the mean of the frames stands.
    """
    volumes = [abs(np.linalg.det(record["cell"])) / len(record["numbers"]) for record in records]
    gpa = GPA / float(np.mean(volumes))
    weights = (ENERGY_WEIGHT, settings["force_weight"], settings["stress_weight"] * gpa**2)
    terms = {f"{when}_pref_{term}": weight for when in ("start", "limit") for term, weight in zip("efv", weights)}  # noqa: B905
    return EnergyStdLoss(
        starter_learning_rate=settings["learning_rate"], use_huber=True, huber_delta=[DELTA, DELTA, DELTA / gpa], **terms
    )


def take_step(model: Model, wrapper: Any, optimizer: Any, records: list[dict[str, Any]]) -> None:
    """One step of the optimiser on a batch."""
    batch = model.padded([crystal(record) for record in records])
    forces = np.zeros(batch["coord"].shape)
    for row, record in enumerate(records):
        forces[row, : len(record["numbers"])] = record["forces"]
    virials = [-np.array(r["stress"]).reshape(9) * abs(np.linalg.det(r["cell"])) for r in records]
    label = {
        "energy": tensor([[record["energy"]] for record in records]),
        "force": tensor(forces),
        "virial": tensor(np.array(virials)),
        **dict.fromkeys(("find_energy", "find_force", "find_virial"), 1.0),
    }
    optimizer.zero_grad(set_to_none=True)
    _, loss, _ = wrapper(**batch, cur_lr=wrapper.loss["Default"].starter_learning_rate, label=label)
    loss.backward()
    optimizer.step()


def tensor(values: Any) -> torch.Tensor:
    """Numbers on the device."""
    return torch.tensor(values, dtype=torch.float64, device=DEVICE)


def crystal(record: dict[str, Any]) -> tuple[Any, Any, Any]:
    """Atomic numbers, positions and cell of a frame."""
    return np.array(record["numbers"]), np.array(record["positions"]), np.array(record["cell"])


def validated(model: Model, records: list[dict[str, Any]], settings: dict[str, Any]) -> tuple[float, Any]:
    """The loss over all validation frames, and their energies in eV/atom."""
    model.wrapper.eval()
    numbers, positions, cells = zip(*[crystal(record) for record in records])  # noqa: B905 - Python 3.8
    counts = np.array([len(each) for each in numbers])
    found = model.predict(np.concatenate(numbers), counts, np.concatenate(positions), np.array(cells))
    differences = (
        (found["energies"] - [record["energy"] for record in records]) / counts,
        (found["forces"] - np.concatenate([record["forces"] for record in records])).ravel(),
        GPA * (found["stresses"] - np.array([record["stress"] for record in records])).ravel(),
    )
    weights = (ENERGY_WEIGHT, settings["force_weight"], settings["stress_weight"])
    return sum(w * huber(x) for w, x in zip(weights, differences)), found["energies"] / counts  # noqa: B905


def huber(difference: Any) -> float:
    """Mean Huber function."""
    size = np.abs(difference)
    return float(np.where(size <= DELTA, 0.5 * size**2, DELTA * (size - 0.5 * DELTA)).mean())


def state_of(model: Model) -> dict[str, Any]:
    """A copy of the parameters, with the settings that the network is built from."""
    state = model.wrapper.state_dict()
    return {k: v.detach().cpu().clone() if isinstance(v, torch.Tensor) else v for k, v in state.items()}


def write(state: dict[str, Any]) -> None:
    """Write a checkpoint of DeePMD-kit's own form, which its calculator reads as well; the same weights write the same bytes."""
    directory = OUTPUT / "model"
    directory.mkdir()
    torch.save({"model": state, "optimizer": {}}, directory / CHECKPOINT)


def check_written(request: dict[str, Any], records: list[dict[str, Any]], energies: Any) -> None:
    """Make sure that what was written is the model that was trained.

    Raises
    ------
    TaskError
        If it has other energies when it is read again.
    """
    again = open_model({**request, "model": str(OUTPUT / "model")})
    _, found = validated(again, records, request["settings"])
    difference = float(np.abs(found - energies).max())
    if not difference <= 1e-5:
        raise TaskError(
            "checkpoint", f"read from its checkpoint, the model has energies that differ by up to {difference:.3g} eV/atom"
        )
