"""MatterGen through its own classes: sampling with conditions, fine-tuning, and what its environment has."""

from __future__ import annotations

import hashlib
import json
import math
import re
import traceback
from pathlib import Path
from typing import Any

import mattergen_shims
import numpy as np
import torch
from coevo_runner import OUTPUT, TaskError, advance, read_records, run, versions, write_candidates

mattergen_shims.install()

from mattergen_model import (  # noqa: E402 - MatterGen can be imported after the shims only
    Model,
    device_of,
    load_model,
    published_directory,
    published_place,
    sampler_of,
    small_configuration,
)

PUBLISHED = ("chemical_system_energy_above_hull", "mattergen_base", "chemical_system")
STRATA = (0.01, 0.05, 0.1, 0.2, 0.5)
"""Borders of the strata of energies above hull, eV/atom; each stratum is drawn by the square root of its size."""


def check(request: dict[str, Any]) -> dict[str, Any]:
    """Versions, device and published weights that are here; downloads nothing."""
    found = versions("mattergen", "torch", "torch_geometric", "hydra", "omegaconf", "numpy", "pymatgen", "huggingface_hub")
    device = device_of(request)
    name = f"cuda: {torch.cuda.get_device_name(device)}" if device.type == "cuda" else "cpu"
    return {"versions": found, "device": name, "weights": {weights: published_place(weights) for weights in PUBLISHED}}


def open_model(request: dict[str, Any], device: torch.device) -> Model:
    """The model of the request: the node's own, or what the node starts from."""
    options = request["options"]
    if request["model"]:
        return load_model(Path(request["model"]), device)
    if options["weights"] == "small":
        torch.manual_seed(0)
        return Model(small_configuration(options["hidden"], options["blocks"], options["steps"]), None, device)
    return load_model(published_directory(options["weights"]), device)


def number(*words: Any) -> int:
    """A seed made of words, the same on every machine."""
    return int.from_bytes(hashlib.sha256(json.dumps(words).encode()).digest()[:4], "big")


# --- sampling -------------------------------------------------------------------------------------------------------------------


def sample(request: dict[str, Any]) -> dict[str, Any]:
    """Draw candidates in batches; what a batch loses is counted, and drawn again as far as ``oversampling`` allows."""
    device, options = device_of(request), request["options"]
    model = open_model(request, device)
    wanted = draws_wanted(request)
    if not wanted:
        return {"candidates": write_candidates([]), "rejected": {"no_composition": request["n"]}}
    systems = {draw["system"] for draw in wanted}
    candidates: list[dict[str, Any]] = []
    rejected: dict[str, int] = {}
    size, done = options["batch_size"], 0
    while done < len(wanted) and len(candidates) < request["n"]:
        batch = wanted[done : done + min(size, max(request["n"] - len(candidates), 1))]
        try:
            drawn = draw_batch(model, batch, request, done)
        except Exception as err:  # noqa: BLE001 - an unstable model fails in many ways, each of which costs its batch only
            if out_of_memory(err):
                size = halved(size, device)
                continue
            traceback.print_exc()
            rejected["crashed_batch"] = rejected.get("crashed_batch", 0) + len(batch)
            drawn = []
        for candidate in drawn:
            reason = fault_of(candidate, systems)
            if reason:
                rejected[reason] = rejected.get(reason, 0) + 1
            else:
                candidates.append(candidate)
                advance(1)
        done += len(batch)
        print(f"{done} drawn, {len(candidates)} kept, rejected {rejected}")
    return {"candidates": write_candidates(candidates), "rejected": rejected, "report": {"batch_size": size, "drawn": done}}


def out_of_memory(err: BaseException) -> bool:
    """Whether an error speaks of memory, of the GPU or not."""
    return isinstance(err, (torch.cuda.OutOfMemoryError, MemoryError)) or "out of memory" in str(err).lower()


def halved(size: int, device: torch.device) -> int:
    """Half a batch; an error when it cannot be less."""
    if size == 1:
        raise TaskError("out_of_memory", "out of memory at a batch size of 1")
    if device.type == "cuda":
        torch.cuda.empty_cache()
    print(f"out of memory at batch size {size}; halved")
    return size // 2


def draws_wanted(request: dict[str, Any]) -> list[dict[str, Any]]:
    """System and number of atoms of each draw, those that take the place of rejected ones included."""
    conditions, options = request["conditions"], request["options"]
    formulas = [amounts(formula) for formula in conditions["compositions"]]
    weights = {name: w for name, w in conditions["chemical_systems"].items() if w > 0}
    if not weights:
        weights = {name_of(f): 1.0 for f in formulas} or {name_of(conditions["elements"]): 1.0}
    table = number_of_atoms(request["document"])
    choices = []
    for name, weight in sorted(weights.items()):
        symbols = sorted(name.split("-"))
        sizes = {n: p for n, p in table.items() if len(symbols) <= n <= conditions["max_atoms"]}
        if formulas:
            units = [sum(f.values()) for f in formulas if name_of(f) == name_of(symbols)]
            sizes = {n: p for n, p in sizes.items() if any(n % unit == 0 for unit in units)}
        if sizes and set(symbols) <= set(conditions["elements"]):
            choices.append((name_of(symbols), weight, sizes))
    if not choices:
        return []
    draws = []
    share = np.array([weight for _, weight, _ in choices])
    for index in range(math.ceil(request["n"] * options["oversampling"])):
        rng = np.random.default_rng([request["seed"], index])
        system, _, sizes = choices[rng.choice(len(choices), p=share / share.sum())]
        p = np.array(list(sizes.values()))
        draws.append({"system": system, "atoms": int(rng.choice(list(sizes), p=p / p.sum()))})
    return draws


def name_of(symbols: Any) -> str:
    """Chemical system of symbols."""
    return "-".join(sorted(symbols))


def amounts(formula: str) -> dict[str, int]:
    """Reduced amounts of a formula such as Li3PS4."""
    found: dict[str, int] = {}
    for symbol, count in re.findall(r"([A-Z][a-z]?)(\d*)", formula):
        found[symbol] = found.get(symbol, 0) + int(count or 1)
    divisor = 0
    for amount in found.values():
        divisor = math.gcd(divisor, amount)
    return {symbol: amount // divisor for symbol, amount in found.items()}


def number_of_atoms(document: dict[str, Any]) -> dict[int, float]:
    """Numbers of atoms and how often: those of the examples that a small model was trained on, else the published ones."""
    if document.get("atoms"):
        return {int(n): float(p) for n, p in sorted(document["atoms"].items(), key=lambda item: int(item[0]))}
    from mattergen.common.data.num_atoms_distribution import NUM_ATOMS_DISTRIBUTIONS

    return {int(n): float(p) for n, p in NUM_ATOMS_DISTRIBUTIONS["ALEX_MP_20"].items()}


def draw_batch(model: Model, draws: list[dict[str, Any]], request: dict[str, Any], first: int) -> list[dict[str, Any]]:
    """Denoise one batch. MatterGen has no seed of its own: every generator is seeded here, by the batch."""
    from mattergen.common.data.chemgraph import ChemGraph
    from mattergen.common.data.collate import collate

    seed_everything(number("sample", request["seed"], first))
    target = float(request["conditions"]["energy_above_hull"])
    graphs = [
        ChemGraph(
            pos=torch.full((draw["atoms"], 3), math.nan),
            cell=torch.full((1, 3, 3), math.nan),
            atomic_numbers=torch.full((draw["atoms"],), -1, dtype=torch.long),
            num_atoms=torch.tensor(draw["atoms"]),
            num_nodes=torch.tensor(draw["atoms"]),
            energy_above_hull=torch.tensor(target),
            chemical_system=draw["system"],
        )
        for draw in draws
    ]
    _, mean = sampler_of(model, request["options"]["guidance_factor"]).sample(collate(graphs), None)
    found = []
    for offset, (graph, draw) in enumerate(zip(mean.to_data_list(), draws)):  # noqa: B905 - Python 3.8
        numbers = graph.atomic_numbers.reshape(-1).tolist()
        origin = {"operator": "mattergen", "draw": first + offset, "system": draw["system"], "target": target}
        found.append(
            {
                "lattice": graph.cell.reshape(3, 3).double().cpu().tolist(),
                "species": [symbol_of(z) for z in numbers],
                "positions": (graph.pos.reshape(-1, 3).double().cpu() % 1.0).tolist(),
                "origin": origin,
            }
        )
    return found


def symbol_of(z: int) -> str:
    """Symbol of an atomic number; ``X`` for the mask, which a model may leave behind."""
    from pymatgen.core import Element

    return Element.from_Z(z).symbol if 1 <= z <= 100 else "X"


def fault_of(candidate: dict[str, Any], systems: set[str]) -> str:
    """Why a draw is dropped; empty if it is not."""
    numbers = np.array([*candidate["lattice"], *candidate["positions"]])
    if not np.isfinite(numbers).all():
        return "not_finite"
    if name_of(set(candidate["species"])) not in systems:
        return "off_system"
    if abs(np.linalg.det(candidate["lattice"])) < len(candidate["species"]):
        return "flat_cell"
    return ""


def seed_everything(seed: int) -> None:
    """Seed torch, its GPUs, numpy and random."""
    import random

    torch.manual_seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - MatterGen draws from it
    random.seed(seed)
    torch.use_deterministic_algorithms(True, warn_only=True)


# --- training -------------------------------------------------------------------------------------------------------------------


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


if __name__ == "__main__":
    run("mattergen", {"check": check, "sample": sample, "fit": fit})
