"""ADiT through the classes of the user's checkout: sampling under conditions, and what its environment has."""

from __future__ import annotations

import os
import traceback
from collections import deque
from pathlib import Path
from typing import Any

import torch
from adit_crystals import candidates_of, draws_wanted, equal_batches
from adit_model import CHECKOUT, Model, checkout_of, device_of, number_of_atoms, open_model
from adit_reading import read
from adit_training import fit
from coevo_drawing import halved, number, out_of_memory, seed_everything
from coevo_runner import advance, run, versions, write_candidates

_MODULES = (
    "src.models.vae_module",
    "src.models.ldm_module",
    "src.models.encoders.transformer",
    "src.models.decoders.transformer",
    "src.models.denoisers.dit",
    "src.models.interpolants.flow_matching",
)
_PUBLISHED = "chaitjo/all-atom-diffusion-transformer"
"""Published weights on the hub of Hugging Face: an independent reproduction, says ADiT's README."""


def check(request: dict[str, Any]) -> dict[str, Any]:
    """Versions, device, the modules of the checkout, what is replaced, and published weights that are here; downloads nothing."""
    import adit_stand_ins

    found = versions("torch", "lightning", "torch_geometric", "torchmetrics", "omegaconf", "numpy", "spglib")
    replaced: dict[str, str] = {}
    try:
        replaced = adit_stand_ins.install(request["checkouts"][CHECKOUT])
        for module, told in versions(*_MODULES).items():
            if told.startswith("!"):
                found[module] = told
    except (KeyError, OSError) as err:
        found[CHECKOUT] = f"! {type(err).__name__}: {str(err)[:200]}"
    device = device_of(request)
    name = f"cuda: {torch.cuda.get_device_name(device)}" if device.type == "cuda" else "cpu"
    return {"versions": found, "device": name, "weights": {_PUBLISHED: published_place()}, "stand_ins": replaced}


def published_place() -> str | None:
    """Where published weights lie in the cache of huggingface_hub; None if they are not here."""
    home = Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")
    snapshots = Path(os.environ.get("HF_HUB_CACHE") or home / "hub") / f"models--{_PUBLISHED.replace('/', '--')}" / "snapshots"
    found = sorted(path.parent for path in snapshots.glob("*/**/*.ckpt"))
    return str(found[0]) if found else None


def sample(request: dict[str, Any]) -> dict[str, Any]:
    """Draw candidates in batches; what a batch loses is counted, and drawn again as far as ``oversampling`` allows."""
    device, options, conditions, n = device_of(request), request["options"], request["conditions"], request["n"]
    checkout = checkout_of(request)
    atoms = number_of_atoms(request, checkout)
    wanted = draws_wanted(conditions, n, request["seed"], options["oversampling"], atoms)
    if not wanted:
        return {"candidates": write_candidates([]), "rejected": {"no_composition": n}}
    model = open_model(request, device)
    drawn: list[dict[str, Any]] = []
    rejected: dict[str, int] = {}
    size, done = options["batch_size"], 0
    while done < len(wanted) and len(drawn) < n:
        part = wanted[done : done + n - len(drawn)]
        waiting = deque(equal_batches(part, size))
        while waiting:
            batch = waiting.popleft()
            if len(batch) > size:  # memory did not suffice for one before it
                waiting.extendleft(reversed(equal_batches(batch, size)))
                continue
            try:
                found = draw_batch(model, batch, request)
            except Exception as err:  # noqa: BLE001 - an unstable model fails in many ways, each of which costs its batch only
                if out_of_memory(err):
                    size = halved(len(batch))
                    waiting.appendleft(batch)
                    continue
                traceback.print_exc()
                found = ["crashed_batch"] * len(batch)
            for candidate in found:
                if isinstance(candidate, str):
                    rejected[candidate] = rejected.get(candidate, 0) + 1
                else:
                    drawn.append(candidate)
                    advance(1)
        done += len(part)
        print(f"{done} drawn, {len(drawn)} kept, rejected {rejected}")
    # batches are of equal numbers of atoms: in the order of the draws no size comes first
    drawn.sort(key=lambda candidate: candidate["origin"]["draw"])
    return {"candidates": write_candidates(drawn), "rejected": rejected, "report": {"batch_size": size, "drawn": done}}


def draw_batch(model: Model, batch: list[dict[str, Any]], request: dict[str, Any]) -> list[Any]:
    """Draw and decode one batch. ADiT has no seed of its own: every generator is seeded here, by the batch."""
    seed_everything(number("sample", request["seed"], batch[0]["draw"]))
    options = request["options"]
    out = model.decoded(batch[0]["atoms"], len(batch), options["guidance_factor"], options["steps"])
    return candidates_of(out, batch, request["conditions"])


if __name__ == "__main__":
    run("adit", {"check": check, "sample": sample, "fit": fit, "read": read})
