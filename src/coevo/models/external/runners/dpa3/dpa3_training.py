"""Fine-tuning of DPA-3 with DeePMD-kit's model and loss: coevo's loss, seeded, the epoch with the smallest validation loss kept.

DeePMD-kit's own training puts crystals of one size into a batch, counts steps, keeps the last of them and first fits the energies
of the elements to the new data; here are epochs over crystals of all sizes, a validation after each, and energies of the elements
that stay.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from coevo_network import one_thread, package_versions
from coevo_runner import OUTPUT, read_records
from coevo_training import DELTA, GPA, check_written, cosine, loss_of, seed_everything, train, weights_of
from deepmd.pt.loss import EnergyStdLoss
from deepmd.pt.train.wrapper import ModelWrapper
from dpa3_model import CHECKPOINT, DEVICE, Model, device_of, open_model


def fit(request: dict[str, Any]) -> dict[str, Any]:
    """Train from the request's model; the output is the model directory, its document, and losses by epoch."""
    settings, seed = request["settings"], request["seed"]
    one_thread(device_of(request))
    seed_everything(seed)
    model = open_model(request)
    training, held_out = read_records(request["training"]), read_records(request["validation"])
    training_wrapper = ModelWrapper(model.network, loss=labelled_loss(training, settings))
    optimizer = torch.optim.Adam(model.network.parameters(), lr=settings["learning_rate"])
    rates = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, **cosine(settings))
    order = torch.Generator().manual_seed(seed)
    numbers, positions, cells = zip(*[crystal(record) for record in held_out])  # noqa: B905 - Python 3.8
    validation = np.concatenate(numbers), np.array([len(z) for z in numbers]), np.concatenate(positions), np.array(cells)

    def epoch(_number: int) -> None:
        training_wrapper.train()
        for chosen in torch.randperm(len(training), generator=order).split(settings["batch_size"]):
            take_step(model, training_wrapper, optimizer, [training[i] for i in chosen.tolist()])
        rates.step()

    def loss(judged: Model = model) -> float:
        judged.wrapper.eval()
        return loss_of(judged.predict(*validation), held_out, settings)

    best = train(settings, epoch, loss, model.wrapper.state_dict)
    write(best.state)
    check_written(best, loss(open_model({**request, "model": str(OUTPUT / "model")})))
    return best.result({"weights": request["document"]["weights"], "versions": package_versions("deepmd", "torch")})


def labelled_loss(records: list[dict[str, Any]], settings: dict[str, Any]) -> Any:
    """The loss of :mod:`coevo.models.external.fitting` in DeePMD-kit's terms, which has virials per atom in place of stresses.

    One is the other times the volume of an atom, for which the mean of the frames stands.
    """
    volumes = [abs(np.linalg.det(record["cell"])) / len(record["numbers"]) for record in records]
    gpa = GPA / float(np.mean(volumes))
    energy, force, stress = weights_of(settings)
    weights = (energy, force, stress * gpa**2)
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


def write(state: dict[str, Any]) -> None:
    """Write a checkpoint of DeePMD-kit's own form, which its calculator reads as well; the same weights write the same bytes."""
    directory = OUTPUT / "model"
    directory.mkdir()
    torch.save({"model": state, "optimizer": {}}, directory / CHECKPOINT)
