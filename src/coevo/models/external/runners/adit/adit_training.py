"""Fits of ADiT: the autoencoder where it has not seen an element, then the diffusion model on what it encodes.

ADiT's ``training_step`` of each is called as its trainer would call it, without the trainer: that one builds QM9 and QMOF150.
"""

from __future__ import annotations

import copy
import hashlib
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from adit_crystals import SYMBOLS, cell_of
from adit_model import Model, atoms_of_mp20, checkout_of, device_of, known_elements, open_model
from coevo_drawing import number, seed_everything
from coevo_runner import OUTPUT, TaskError, advance, read_records

if TYPE_CHECKING:
    from collections.abc import Callable

MOST_ATOMS = 200
"""Of an example; attention grows with the square of the number of atoms."""

_CLIP = 10.0
"""Largest norm of a gradient, as in ADiT's trainer."""

_REPEATS = 4
"""Draws of noise that a validation loss is averaged over."""


def fit(request: dict[str, Any]) -> dict[str, Any]:
    """Learn all examples from the parent's weights; early stopping sees the validation part only."""
    device, options, document = device_of(request), request["options"], dict(request["document"])
    checkout = checkout_of(request)
    examples = read_records(request["examples"])
    usable = [e for e in examples if len(e["species"]) <= MOST_ATOMS and e["energy_above_hull"] <= options["fit_max_e_hull"]]
    usable = [e for e in usable if set(e["species"]) <= set(SYMBOLS[1:])]
    training, validation = split(usable, options["validation_fraction"])
    report: dict[str, Any] = {"examples": len(examples), "training": len(training), "validation": len(validation)}
    model = open_model(request, device)
    if len(training) < 2 or not validation:
        reason = f"{len(training)} examples for training, {len(validation)} for validation; needs 2 and 1"
        report.update(fitted=False, reason=reason)
    else:
        data = [crystal_data(e) for e in training], [crystal_data(e) for e in validation]
        elements = {symbol for e in training for symbol in e["species"]}
        new = sorted(elements - known_elements(document))
        report["autoencoder"] = {"fitted": bool(new), "new_elements": new}
        if new:
            report["autoencoder"].update(fit_autoencoder(model, *data, request["seed"], options))
            if not report["autoencoder"]["improved"]:
                elements -= set(new)  # nothing of them was learned: the next fit tries again
        report.update(fit_diffusion(model, *data, request["seed"], options), fitted=True)
        document["elements"] = sorted(elements | known_elements(document))
        document["atoms"] = numbers_of_atoms([len(e["species"]) for e in usable], atoms_of_mp20(checkout))
    document["training_set"] = hashlib.sha256(Path(request["examples"]).read_bytes()).hexdigest()
    model.save(OUTPUT / "model", document)
    return {"model": "model", "document": document, "report": report}


def split(examples: list[dict[str, Any]], fraction: float) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Examples for training and for validation: by their ids alone, so that one for validation stays so in every iteration.

    Where none is for validation by its id, as may be at the beginning, the one that comes next is. As long as that stays among
    the examples, none that was learned from is for validation later.
    """
    if len(examples) < 3:
        return examples, []
    place = {e["id"]: int.from_bytes(hashlib.sha256(e["id"].encode()).digest()[:4], "big") / 2**32 for e in examples}
    kept = {name for name, where in place.items() if where < fraction} or {min(place, key=lambda name: place[name])}
    return [e for e in examples if e["id"] not in kept], [e for e in examples if e["id"] in kept]


def numbers_of_atoms(atoms: list[int], everywhere: dict[int, float]) -> dict[str, float]:
    """How often draws are to have how many atoms: half as the examples have them, half as crystals in general.

    By the examples alone a node would never try a number of atoms that none of its references has.
    """
    numbers = sorted({*atoms, *everywhere})
    return {str(n): round(0.5 * atoms.count(n) / len(atoms) + 0.5 * everywhere.get(n, 0.0), 6) for n in numbers}


def crystal_data(example: dict[str, Any]) -> Any:
    """An example as ADiT's MP20 data set has it (Niggli-reduced, in its orientation), without the detour over CIF texts."""
    import spglib
    from torch_geometric.data import Data

    lattice, positions = np.array(example["lattice"]), np.array(example["positions"])
    reduced = spglib.niggli_reduce(lattice)
    if reduced is not None:  # of a cell that is hardly one there is none
        positions = positions @ lattice @ np.linalg.inv(reduced)
        lattice = reduced
    lengths = np.linalg.norm(lattice, axis=1)
    cosines = [lattice[i] @ lattice[j] / (lengths[i] * lengths[j]) for i, j in ((1, 2), (0, 2), (0, 1))]
    angles = np.arccos(np.clip(cosines, -1.0, 1.0))
    cell = cell_of(lengths, angles)
    fractional = torch.tensor(positions % 1.0, dtype=torch.float32)
    vectors = torch.tensor(cell, dtype=torch.float32)
    n = len(example["species"])
    scaled = lengths / n ** (1 / 3)

    def row(values: Any) -> Any:
        return torch.tensor(np.array(values), dtype=torch.float32).view(1, -1)

    return Data(
        atom_types=torch.tensor([SYMBOLS.index(symbol) for symbol in example["species"]]),
        frac_coords=fractional,
        pos=fractional @ vectors,
        cell=vectors.unsqueeze(0),
        lattices=row([*lengths, *np.degrees(angles)]),
        lattices_scaled=row([*scaled, *angles]),
        lengths=row(lengths),
        lengths_scaled=row(scaled),
        angles=row(np.degrees(angles)),
        angles_radians=row(angles),
        num_atoms=torch.tensor([n]),
        num_nodes=torch.tensor([n]),
        token_idx=torch.arange(n),
        dataset_idx=torch.tensor([0]),  # a crystal
        spacegroup=torch.tensor([0]),  # of none: the model is not told
    )


def batches(data: list[Any], size: int, order: list[int]) -> list[Any]:
    """Batches of copies. ADiT takes the deviation of the cells' lengths in a batch, which one crystal has not: none is alone."""
    from torch_geometric.data import Batch

    starts = list(range(0, len(order), size))
    if len(starts) > 1 and len(order) - starts[-1] == 1:
        starts.pop()
    ends = [*starts[1:], len(order)]
    return [Batch.from_data_list([data[i].clone() for i in order[a:b]]) for a, b in zip(starts, ends)]  # noqa: B905 - Python 3.8


def fit_autoencoder(
    model: Model, training: list[Any], validation: list[Any], seed: int, options: dict[str, Any]
) -> dict[str, Any]:
    """The variational autoencoder, by its reconstruction; the diffusion model's copy is the same object."""
    model.vae.requires_grad_(True)
    weights = [name for name, _ in model.vae.named_parameters() if name.startswith("loss_weights")]
    for name in weights:  # parameters of ADiT's that are never learned
        getattr(model.vae, name).requires_grad_(False)
    told = descend("autoencoder", model.vae, training, validation, seed, options, options["vae_epochs"], _reconstruction)
    model.vae.requires_grad_(False)
    model.vae.eval()
    return told


def fit_diffusion(model: Model, training: list[Any], validation: list[Any], seed: int, options: dict[str, Any]) -> dict[str, Any]:
    """The diffusion transformer, on the latent space of the frozen autoencoder."""
    return descend("diffusion", model.diffusion, training, validation, seed, options, options["epochs"], _flow)


def _reconstruction(module: Any, batch: Any) -> Any:
    out, encoded = module.forward(batch)
    return module.criterion(batch, encoded, out)["loss"]


def _flow(module: Any, batch: Any) -> Any:
    predicted, noisy = module.forward(batch)
    return module.criterion(noisy, predicted)["loss"]


def descend(
    name: str,
    module: Any,
    training: list[Any],
    validation: list[Any],
    seed: int,
    options: dict[str, Any],
    epochs: int,
    loss_of: Callable[[Any, Any], Any],
) -> dict[str, Any]:
    """AdamW on ADiT's training step until the validation loss no longer falls; the best weights stay."""
    learned = [p for p in module.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(learned, lr=options["learning_rate"], weight_decay=0.0)
    size = options["train_batch_size"]
    first = best = validation_loss(module, validation, size, loss_of)
    if not math.isfinite(first):
        raise TaskError("diverged", f"the validation loss of the {name} is not finite before any training")
    kept, waited, history = copy.deepcopy([p.detach() for p in learned]), 0, [first]
    for epoch in range(epochs):
        seed_everything(number(name, seed, epoch))
        module.train()
        if name == "diffusion":
            module.autoencoder.eval()  # frozen, as ADiT has it
        for index, batch in enumerate(batches(training, size, torch.randperm(len(training)).tolist())):
            loss = module.training_step(batch.to(module.device), index)
            if not torch.isfinite(loss):
                continue
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(learned, _CLIP)
            optimiser.step()
        now = validation_loss(module, validation, size, loss_of)
        if not math.isfinite(now):
            print(f"{name}: the validation loss of epoch {epoch + 1} is not finite; ending")
            break
        history.append(now)
        advance(1)
        if history[-1] < best:
            best, kept, waited = history[-1], copy.deepcopy([p.detach() for p in learned]), 0
        else:
            waited += 1
            if waited >= options["patience"]:
                break
    print(f"{name}: {len(history) - 1} epochs, validation loss {first:.5f}, best {best:.5f}")
    with torch.no_grad():
        for parameter, value in zip(learned, kept):  # noqa: B905 - Python 3.8
            parameter.copy_(value)
    return {
        "improved": best < first,
        "epochs_run": len(history) - 1,
        "loss_before": first,
        "loss_after": best,
        "history": history,
    }


def validation_loss(module: Any, data: list[Any], size: int, loss_of: Callable[[Any, Any], Any]) -> float:
    """Loss at noise that is the same in every epoch and iteration, averaged over some draws of it."""
    module.eval()
    total = 0.0
    with torch.no_grad():
        for repeat in range(_REPEATS):
            seed_everything(number("validation", repeat))
            for batch in batches(data, size, list(range(len(data)))):
                total += float(loss_of(module, batch.to(module.device))) * len(batch)
    return total / (_REPEATS * len(data))
