"""Fits: Uni-3DAR's own trainer continues the parent's weights, and the best epoch's moving average is kept if it is better."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import uni3dar_arguments as arguments
from coevo_fitting import parts
from coevo_runner import OUTPUT, TaskError, advance, read_records
from uni3dar_data import fault_of_example, write_set
from uni3dar_model import read_trained, write_checkpoint, write_model
from uni3dar_parent import opened, state_of, uses_gpu
from uni3dar_program import checkouts_of, run_program

_RECORD, _MEASURED = Path("losses.jsonl"), Path("measured.jsonl")
_KEPT = "kept.pt"


def fit(request: dict[str, Any]) -> dict[str, Any]:
    """Fine-tune on all examples from the parent's weights; the validation part alone decides which weights are kept."""
    options, document = request["options"], dict(request["document"])
    examples = read_records(request["examples"])
    architecture, checkpoint = opened(request)
    faults: dict[str, int] = {}
    usable = []
    for example in examples:
        high = example["energy_above_hull"] > options["fit_max_e_hull"]
        fault = "above_fit_max_e_hull" if high else fault_of_example(example, architecture)
        if fault:
            faults[fault] = faults.get(fault, 0) + 1
        else:
            usable.append(example)
    training, validation = parts(usable, options["validation_fraction"])
    report: dict[str, Any] = {"examples": len(examples), "training": len(training), "validation": len(validation)}
    report["left_out"] = faults
    state = state_of(checkpoint)
    if len(training) < 2 or not validation:
        reason = f"{len(training)} examples for training, {len(validation)} for validation; needs 2 and 1"
        report.update(fitted=False, reason=reason)
    else:
        better, told = train(request, architecture, checkpoint, training, validation, gpu=uses_gpu(request))
        report.update(told, fitted=True)
        if better is not None:
            if {n: t.shape for n, t in better.items()} != {n: t.shape for n, t in state.items()}:
                raise TaskError("program", "the trainer wrote weights of another network than it was given")
            state = better
    document["training_set"] = hashlib.sha256(Path(request["examples"]).read_bytes()).hexdigest()
    write_model(OUTPUT / "model", architecture, state)
    return {"model": "model", "document": document, "report": report}


def train(
    request: dict[str, Any],
    architecture: dict[str, Any],
    checkpoint: str,
    training: list[dict[str, Any]],
    validation: list[dict[str, Any]],
    *,
    gpu: bool,
) -> tuple[Any, dict[str, Any]]:
    """Run the trainer; returns the weights of its best epoch, or None if none was better than the parent, and the losses."""
    options, family = request["options"], checkouts_of(request)[1]
    data, kept = Path("data"), Path("checkpoints")
    data.mkdir()
    for name, examples in (("train", training), ("valid", validation)):
        write_set(data / f"{name}.jsonl", examples)
    sets = {str(data / f"{name}.lmdb"): str(data / f"{name}.jsonl") for name in ("train", "valid")}
    run_program(request, "data", {"sets": sets}, [])
    updates = options["epochs"] * math.ceil(len(training) / options["train_batch_size"])
    told = {
        "data": str(data),
        "checkpoint": checkpoint,
        "save_dir": str(kept),
        "temporary": "unfinished",
        "epochs": options["epochs"],
        "patience": options["patience"],
        "batch_size": options["train_batch_size"],
        "learning_rate": options["learning_rate"],
        "ema_decay": arguments.decay(options["ema_decay"], updates),
        "augmentation": options["augmentation"],
        # Its validation is turned and shifted by this seed too, so that losses of fits with other seeds differ a little.
        "seed": request["seed"] % 2**31,
    }
    printed = run_program(request, "train", {"record": str(_RECORD)}, arguments.training(family, architecture, told, gpu=gpu))
    if "Error in loading model state" in printed:
        raise TaskError("no_weights", "the trainer could not read all weights: they are of another network")
    losses = losses_of(_RECORD, 2)
    advance(len(losses) - 1)
    state, after = None, losses[0]
    if min(losses) < losses[0]:
        file = kept / "checkpoint_best.pt"
        # The trainer copies its files in a thread that tells of no failure.
        if not file.is_file():
            raise TaskError("program", f"the trainer's loss fell to {min(losses):g}, and it left no {file}")
        state = read_trained(file)
        # Measured as the next fit will measure it: in the process that trained, the loss of the same weights differs a little.
        write_checkpoint(Path(_KEPT), state)
        measuring = arguments.training(family, architecture, {**told, "checkpoint": _KEPT}, gpu=gpu)
        run_program(request, "measure", {"record": str(_MEASURED)}, measuring)
        after = losses_of(_MEASURED, 1)[0]
        if after >= losses[0]:
            state, after = None, losses[0]
    return state, {
        "epochs_run": len(losses) - 1,
        "loss_before": losses[0],
        "loss_after": after,
        "history": losses,
        "ema_decay": told["ema_decay"],
    }


def losses_of(path: Path, least: int) -> list[float]:
    """Validation losses: of the weights that a program begins with, and after each epoch.

    Raises
    ------
    TaskError
        If there are too few, or the first one is not finite.
    """
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    losses = [float(json.loads(line)["loss"]) for line in lines]
    if len(losses) < least:
        raise TaskError("program", "the trainer ended before its first epoch")
    finite = [loss if math.isfinite(loss) else 1e9 for loss in losses]
    if finite[0] == 1e9:
        raise TaskError("program", "the loss of the weights that the fit begins with is not finite")
    return finite
