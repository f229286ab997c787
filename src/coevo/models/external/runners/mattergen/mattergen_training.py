"""Fine-tuning of MatterGen: data set, strata, early stopping, and the scaler that stays."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from coevo_runner import OUTPUT, TaskError, advance, read_records
from mattergen_model import Model, device_of, number, open_model, seed_everything

STRATA = (0.01, 0.05, 0.1, 0.2, 0.5)
"""Borders of the strata of energies above hull, eV/atom; each stratum is drawn by the square root of its size."""


def fit(request: dict[str, Any]) -> dict[str, Any]:
    """Fine-tune on all examples from the parent's weights; early stopping sees the validation part only."""
    device, options, document = device_of(request), request["options"], dict(request["document"])
    examples = read_records(request["examples"])
    usable = [e for e in examples if len(e["species"]) <= 20 and e["energy_above_hull"] <= options["fit_max_e_hull"]]
    model = open_model(request, device)
    fresh = not request["model"] and options["weights"] == "small"
    training = [e for e in usable if not in_validation(e["id"], options["validation_fraction"])]
    validation = [e for e in usable if in_validation(e["id"], options["validation_fraction"])]
    report: dict[str, Any] = {"examples": len(examples), "training": len(training), "validation": len(validation)}
    if len(training) < 2 or not validation:
        report.update(
            fitted=False, reason=f"{len(training)} examples for training, {len(validation)} for validation; needs 2 and 1"
        )
    else:
        if fresh:
            fit_scaler(model, training)
            atoms = [len(e["species"]) for e in training]
            document["atoms"] = {str(n): atoms.count(n) / len(atoms) for n in sorted(set(atoms))}
        report.update(train(model, training, validation, request["seed"], options))
        report["fitted"] = True
    # The scaler is fitted once, where a model is trained from scratch, and never again: otherwise "0 eV/atom" would mean
    # something else in every iteration (MatterGen's own callback fits it at every training).
    document["scaler"] = report["scaler"] = model.scaling()
    document["training_set"] = hashlib.sha256(Path(request["examples"]).read_bytes()).hexdigest()
    model.save(OUTPUT / "model")
    return {"model": "model", "document": document, "report": report}


def in_validation(identity: str, fraction: float) -> bool:
    """Whether an example is for validation: by its id alone, so that it stays there in every iteration."""
    return int.from_bytes(hashlib.sha256(identity.encode()).digest()[:4], "big") < fraction * 2**32


def fit_scaler(model: Model, examples: list[dict[str, Any]]) -> None:
    """Mean and deviation of the energies above hull."""
    model.scaler.fit(torch.tensor([[e["energy_above_hull"]] for e in examples], dtype=torch.float32, device=model.device))


def dataset_of(examples: list[dict[str, Any]]) -> Any:
    """MatterGen's data set, as its csv-to-dataset makes it (primitive, Niggli-reduced), without the detour over CIF texts."""
    from mattergen.common.data.dataset import CrystalDataset, structures_to_numpy
    from mattergen.common.data.transform import set_chemical_system_string, symmetrize_lattice
    from pymatgen.core import Lattice, Structure

    structures = []
    for example in examples:
        structure = Structure(Lattice(example["lattice"]), example["species"], example["positions"])
        structure.properties = {"material_id": example["id"], "energy_above_hull": float(example["energy_above_hull"])}
        structures.append(structure)
    arrays, properties = structures_to_numpy(structures)
    return CrystalDataset(**arrays, properties=dict(properties), transforms=[symmetrize_lattice, set_chemical_system_string])


def strata_weights(examples: list[dict[str, Any]]) -> torch.Tensor:
    """Weights of drawing each example: a stratum of energies counts by the square root of its size."""
    strata = np.digitize([e["energy_above_hull"] for e in examples], STRATA)
    return torch.tensor([1.0 / math.sqrt((strata == s).sum()) for s in strata], dtype=torch.float64)


def train(
    model: Model, training: list[dict[str, Any]], validation: list[dict[str, Any]], seed: int, options: dict[str, Any]
) -> dict[str, Any]:
    """Adam on the denoising loss until the validation loss no longer falls; the best weights stay."""
    from mattergen.common.data.collate import collate

    train_set, validation_set = dataset_of(training), dataset_of(validation)
    weights, size = strata_weights(training), options["train_batch_size"]
    parameters = [p for p in model.lightning.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(parameters, lr=options["learning_rate"], weight_decay=0.0, amsgrad=True)
    first = best = validation_loss(model, validation_set, size)
    best_state, waited, history = snapshot(model), 0, [first]
    for epoch in range(options["epochs"]):
        seed_everything(number("train", seed, epoch))
        model.lightning.train()
        order = torch.multinomial(weights, len(training), replacement=True).tolist()
        for start in range(0, len(order), size):
            batch = collate([train_set[i] for i in order[start : start + size]]).to(model.device)
            loss, _ = model.module.calc_loss(batch)
            if not torch.isfinite(loss):
                continue  # a noisy cell can be so flat that the loss overflows; the step is left out
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, 0.5)
            optimiser.step()
        history.append(validation_loss(model, validation_set, size))
        print(f"epoch {epoch + 1}: validation loss {history[-1]:.5f}")
        advance(1)
        if history[-1] < best:
            best, best_state, waited = history[-1], snapshot(model), 0
        else:
            waited += 1
            if waited >= options["patience"]:
                break
    model.lightning.load_state_dict(best_state)
    return {"epochs_run": len(history) - 1, "loss_before": first, "loss_after": best, "history": history}


def snapshot(model: Model) -> dict[str, torch.Tensor]:
    """A copy of the weights."""
    return {name: tensor.detach().clone() for name, tensor in model.lightning.state_dict().items()}


def validation_loss(model: Model, dataset: Any, size: int) -> float:
    """Denoising loss at noise that is the same in every epoch and iteration, averaged over four draws of it."""
    from mattergen.common.data.collate import collate

    model.lightning.eval()
    losses = []
    with torch.no_grad():
        for repeat in range(4):
            seed_everything(number("validation", repeat))
            for start in range(0, len(dataset), size):
                items = [dataset[i] for i in range(start, min(start + size, len(dataset)))]
                loss, _ = model.module.calc_loss(collate(items).to(model.device))
                losses.append((float(loss), len(items)))
    finite = [(loss, n) for loss, n in losses if math.isfinite(loss)]
    if not finite:
        raise TaskError("diverged", "the validation loss is not finite")
    return sum(loss * n for loss, n in finite) / sum(n for _, n in finite)
