"""MatterGen through its own classes: sampling with conditions, and what its environment has; fits are in mattergen_training."""

from __future__ import annotations

import math
import re
import traceback
from typing import Any

import mattergen_shims
import numpy as np
import torch
from coevo_runner import TaskError, advance, run, versions, write_candidates

mattergen_shims.install()

from mattergen_model import (  # noqa: E402 - MatterGen can be imported after the shims only
    Model,
    device_of,
    number,
    open_model,
    published_place,
    sampler_of,
    seed_everything,
)
from mattergen_training import fit  # noqa: E402

PUBLISHED = ("chemical_system_energy_above_hull", "mattergen_base", "chemical_system")


def check(request: dict[str, Any]) -> dict[str, Any]:
    """Versions, device and published weights that are here; downloads nothing."""
    found = versions("mattergen", "torch", "torch_geometric", "hydra", "omegaconf", "numpy", "pymatgen", "huggingface_hub")
    device = device_of(request)
    name = f"cuda: {torch.cuda.get_device_name(device)}" if device.type == "cuda" else "cpu"
    return {"versions": found, "device": name, "weights": {weights: published_place(weights) for weights in PUBLISHED}}


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


if __name__ == "__main__":
    run("mattergen", {"check": check, "sample": sample, "fit": fit})
