"""Chemeleon-DNG through its own classes: draws of given compositions, and what its environment has; fits are in …_training."""

from __future__ import annotations

import math
import traceback
from typing import Any

import torch
from chemeleon_dng.dataset.num_atom_distributions import NUM_ATOM_DISTRIBUTIONS
from chemeleon_dng_cells import fault_of
from chemeleon_dng_files import PUBLISHED, published_place
from chemeleon_dng_model import number, open_model, seed_everything
from chemeleon_dng_training import fit
from coevo_compositions import Compositions
from coevo_network import device_of, examination
from coevo_runner import TaskError, advance, run, versions, write_candidates

FAMILY = "chemeleon-dng"


def check(request: dict[str, Any]) -> dict[str, Any]:
    """Versions, device and published weights that are here; downloads nothing."""
    found = versions("chemeleon_dng", "torch", "torch_geometric", "pytorch_lightning", "numpy", "pymatgen", "ase")
    return examination(device_of(request), found, PUBLISHED, published_place)


def sample(request: dict[str, Any]) -> dict[str, Any]:
    """Draw candidates in batches; what a batch loses is counted, and drawn again as far as ``oversampling`` allows."""
    device, options, n = device_of(request), request["options"], request["n"]
    model = open_model(request, device)
    compositions = Compositions(
        request["conditions"],
        model.settings.get("compositions"),
        new_share=options["new_compositions"],
        atoms=NUM_ATOM_DISTRIBUTIONS["mp-20"],
    )
    if not compositions.possible:
        return {"candidates": write_candidates([]), "rejected": {"no_composition": n}}
    most, size, done = math.ceil(n * options["oversampling"]), options["batch_size"], 0
    candidates: list[dict[str, Any]] = []
    rejected: dict[str, int] = {}
    while done < most and len(candidates) < n:
        places = range(done, min(done + min(size, n - len(candidates)), most))
        draws = [compositions.draw(request["seed"], place) for place in places]
        # The package has no seed of its own: every generator is seeded here, by the batch.
        seed_everything(number("sample", request["seed"], done))
        try:
            drawn = model.draw(draws, bounded=options["bounded_cells"])
        except Exception as err:  # noqa: BLE001 - an unstable model fails in many ways, each of which costs its batch only
            if out_of_memory(err):
                size = halved(len(draws), device)
                continue
            traceback.print_exc()
            rejected["crashed_batch"] = rejected.get("crashed_batch", 0) + len(draws)
            drawn = []
        for place, draw, candidate in zip(places, draws, drawn):  # noqa: B905 - Python 3.8
            reason = fault_of(candidate)
            if reason:
                rejected[reason] = rejected.get(reason, 0) + 1
                continue
            origin = {"operator": FAMILY, "draw": place, "formula": draw.formula, "composition": draw.source}
            candidates.append(dict(candidate, origin=origin))
            advance(1)
        done += len(draws)
        print(f"{done} drawn, {len(candidates)} kept, rejected {rejected}", flush=True)
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


if __name__ == "__main__":
    run(FAMILY, {"check": check, "sample": sample, "fit": fit})
