"""DiffCSP (Jiao et al., NeurIPS 2023) from a checkout of the user's: crystals of given compositions, and fits by its ``run.py``.

This side decides what is drawn and learned, and judges what comes back; what is DiffCSP's own runs in a process of its own
(diffcsp_launcher.py), of which nothing is believed but files.
"""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from coevo_compositions import Compositions, learned
from coevo_runner import OUTPUT, TaskError, advance, read_records, require_trust, run, versions, write_candidates
from diffcsp_data import MOST_ATOMS, PROPERTY, SYMBOLS, split, write_tables
from diffcsp_draws import fault_of
from diffcsp_network import COMPOSITIONS_FILE, NETWORK_FILE, WEIGHTS_FILE, new_network, overrides, read_network, require_size

CHECKOUT = "DiffCSP"
_LONGEST_LINE = 1_000_000
"""Bytes of a line that is read of a file of draws."""


def launch(mode: str, request: dict[str, Any], task: dict[str, Any], words: list[str]) -> dict[str, Any]:
    """Run DiffCSP from its checkout and return what the launcher tells.

    Raises
    ------
    TaskError
        If it fails; its reason where it has one.
    """
    work = Path("work").absolute()
    work.mkdir(exist_ok=True)
    path = Path(f"{mode}.json").absolute()
    task = {"work": str(work), "device": device_of(request), "progress": str(Path("progress").absolute()), **task}
    path.write_text(json.dumps(task, allow_nan=False), encoding="utf-8")
    command = [sys.executable, "-B", "diffcsp_launcher.py", mode, request["checkouts"][CHECKOUT], str(path), *words]
    print(f"DiffCSP is run: {' '.join(command[2:])}", flush=True)
    code = subprocess.run(command, check=False, stdin=subprocess.DEVNULL).returncode
    failed, done = Path(f"{path}.failed"), Path(f"{path}.done")
    if failed.is_file():
        told = _told(failed)
        raise TaskError(str(told.get("reason")), str(told.get("message")))
    if code != 0 or not done.is_file():
        return {"ended": f"DiffCSP ended with exit code {code} and without a result"}
    return _told(done)


def _told(path: Path) -> dict[str, Any]:
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as err:
        raise TaskError("launcher", f"{path.name} is half written: {err}") from None
    if not isinstance(told, dict):
        raise TaskError("launcher", f"{path.name} is no mapping")
    return told


def device_of(request: dict[str, Any]) -> str:
    """``cpu`` or ``cuda``; asking for a GPU that is not there is an error."""
    if request["device"] == "cpu":
        return "cpu"
    import torch

    if request["device"] == "cuda" and not torch.cuda.is_available():
        raise TaskError("no_gpu", "COEVO_DEVICE is cuda, and torch sees no GPU in this environment")
    return "cuda" if torch.cuda.is_available() else "cpu"


def check(request: dict[str, Any]) -> dict[str, Any]:
    """Versions and device, and whether the checkout can be imported with the stand-ins; downloads nothing."""
    names = ("torch", "torch_geometric", "pytorch_lightning", "hydra", "omegaconf", "einops", "numpy", "pymatgen")
    found = versions(*names)
    device = device_of(request)
    network = new_network({"hidden": 8, "layers": 1, "frequencies": 1, "steps": 2, "schedule": "cosine"})
    told = launch("check", request, {"network": network}, [])
    broken = [told["ended"]] if "ended" in told else [v for v in told["imports"].values() if v.startswith("!")]
    found["DiffCSP"] = f"! {broken[0].lstrip('! ')}" if broken else "checkout"
    return {"versions": found, "device": device, "weights": {}, "stand_ins": told.get("stand_ins", {})}


def read(request: dict[str, Any]) -> dict[str, Any]:
    """Turn a model directory of DiffCSP's, which the user's own configuration names, into numbers and tensors."""
    source = Path(require_trust(request))
    write_model({}, None)
    task = {
        "configuration": str((source / "hparams.yaml").absolute()),
        "checkpoint": str((source / "model.ckpt").absolute()),
        "best": str((OUTPUT / "model" / WEIGHTS_FILE).absolute()),
    }
    told = launch("read", request, task, [])
    if "ended" in told:
        raise TaskError("no_weights", told["ended"])
    write_network(told["network"])
    return {"model": "model", "document": {"parameters": told["parameters"]}}


def write_model(network: dict[str, Any], weights: str | None) -> None:
    """Write the model's directory below ``output``; without weights it is one that nobody has trained."""
    (OUTPUT / "model").mkdir(exist_ok=True)
    if network:
        write_network(network)
    if weights is not None:
        shutil.copyfile(weights, OUTPUT / "model" / WEIGHTS_FILE)


def write_network(network: dict[str, Any]) -> None:
    """Write the numbers beside the weights."""
    text = json.dumps(network, sort_keys=True, indent=1) + "\n"
    (OUTPUT / "model" / NETWORK_FILE).write_text(text, encoding="utf-8")


def opened(request: dict[str, Any]) -> tuple[dict[str, Any], str | None]:
    """The numbers of the request's network, and the file of its weights: None if nobody has trained it.

    Nothing here can run code: numbers are read as JSON, weights as tensors only (``weights_only``).
    """
    if not request["model"]:
        return new_network(request["options"]), None
    path = Path(request["model"], WEIGHTS_FILE).absolute()
    network, weights = read_network(request["model"]), path if path.is_file() else None
    require_size(network, weights)
    return network, str(weights) if weights else None


def sample(request: dict[str, Any]) -> dict[str, Any]:
    """Draw crystals of compositions that are drawn first; what is none is counted, and drawn again within ``oversampling``."""
    options = request["options"]
    found = Compositions(request["conditions"], request["document"].get("compositions"), new_share=options["new_compositions"])
    if not found.possible:
        return {"candidates": write_candidates([]), "rejected": {"no_composition": request["n"]}}
    network, weights = opened(request)
    draws = [found.draw(request["seed"], index) for index in range(math.ceil(request["n"] * options["oversampling"]))]
    unknown = {symbol for draw in draws for symbol in draw.amounts} - set(SYMBOLS[1 : network["elements"] + 1])
    if unknown:
        raise TaskError("unknown_element", f"DiffCSP knows nothing of {', '.join(sorted(unknown))}")
    contents = [[SYMBOLS.index(symbol) for symbol in draw.species()] for draw in draws]
    output = Path("draws.jsonl").absolute()
    task = {
        "network": network,
        "weights": weights,
        "draws": contents,
        "wanted": request["n"],
        "batch_size": options["batch_size"],
        "step_lr": options["step_lr"],
        "seed": request["seed"],
        "output": str(output),
    }
    told = launch("sample", request, task, [])
    candidates, rejected, lines = judged(output, draws, contents, request["n"])
    if "ended" in told:
        print(told["ended"])
        if not lines:
            raise TaskError("launcher", told["ended"])
    drawn = told.get("drawn", max(lines, request["n"]))  # of a process that was killed: what it was to draw, at least
    lost = min(drawn, len(draws)) - lines
    if lost > 0:
        rejected["crashed_batch"] = rejected.get("crashed_batch", 0) + lost
    print(f"{drawn} drawn, {len(candidates)} kept, rejected {rejected}")
    return {"candidates": write_candidates(candidates), "rejected": rejected, "report": {"drawn": drawn}}


def judged(output: Path, draws: Any, contents: list[list[int]], wanted: int) -> tuple[list[dict[str, Any]], dict[str, int], int]:
    """Candidates in a file of draws, counts of what is none, and the number of lines.

    A line that cannot be read (the last one of a process that was killed is half a line) is counted like any other fault.
    """
    candidates: list[dict[str, Any]] = []
    rejected: dict[str, int] = {}
    seen: set[int] = set()
    lines = 0
    with output.open("rb") if output.is_file() else open("/dev/null", "rb") as file:  # noqa: PTH123
        while line := file.readline(_LONGEST_LINE):
            lines += 1
            index, drawn = _line(line, len(draws))
            if index is None or index in seen:
                reason = "malformed"
            else:
                seen.add(index)
                reason = fault_of(drawn, contents[index])
            if not reason and len(candidates) == wanted:
                reason = "beyond_number"
            if reason:
                rejected[reason] = rejected.get(reason, 0) + 1
                continue
            assert index is not None
            draw = draws[index]
            origin = {"operator": "diffcsp", "draw": index, "formula": draw.formula, "composition": draw.source}
            positions = [[x % 1.0 for x in row] for row in drawn["positions"]]
            candidates.append({"lattice": drawn["lattice"], "species": draw.species(), "positions": positions, "origin": origin})
            advance(1)
    return candidates, rejected, lines


def _line(line: bytes, most: int) -> tuple[int | None, Any]:
    try:
        drawn = json.loads(line)
    except (ValueError, RecursionError):
        return None, None
    index = drawn.get("draw") if isinstance(drawn, dict) else None
    return (index, drawn) if type(index) is int and 0 <= index < most else (None, None)


def fit(request: dict[str, Any]) -> dict[str, Any]:
    """Train on all examples from the parent's weights by DiffCSP's ``run.py``; the weights of the best epoch stay."""
    options, document = request["options"], dict(request["document"])
    examples = read_records(request["examples"])
    usable = [e for e in examples if e[PROPERTY] <= options["fit_max_e_hull"]]
    small = [e for e in usable if len(e["species"]) <= MOST_ATOMS]
    training, validation = split(small, options["validation_fraction"])
    network, weights = opened(request)
    report: dict[str, Any] = {"examples": len(examples), "training": len(training), "validation": len(validation)}
    if len(small) < len(usable):
        report["left_out"] = {"too_many_atoms": len(usable) - len(small)}
    if len(training) < 2 or not validation:
        reason = f"{len(training)} examples for training, {len(validation)} for validation; needs 2 and 1"
        report.update(fitted=False, reason=reason)
        write_model(network, weights)
    else:
        report.update(train(request, training, validation, network, weights))
    document["compositions"] = learned(usable)
    table = json.dumps(document["compositions"], sort_keys=True) + "\n"
    (OUTPUT / "model" / COMPOSITIONS_FILE).write_text(table, encoding="utf-8")
    document["training_set"] = hashlib.sha256(Path(request["examples"]).read_bytes()).hexdigest()
    return {"model": "model", "document": document, "report": report}


def train(
    request: dict[str, Any],
    training: list[dict[str, Any]],
    validation: list[dict[str, Any]],
    network: dict[str, Any],
    weights: str | None,
) -> dict[str, Any]:
    """Run ``run.py`` and take its best weights."""
    tables = Path("work", "data").absolute()
    write_tables(tables, training, validation)
    best = Path("best.pt").absolute()
    task = {"start": weights, "tables": str(tables), "best": str(best)}
    told = launch("train", request, task, [*overrides(network), *training_overrides(request, tables)])
    losses, smallest = told.get("losses"), told.get("best")
    if "ended" in told or not isinstance(losses, list) or len(losses) < 1 or not best.is_file():
        raise TaskError("no_training", told.get("ended", "DiffCSP's run.py left no losses or no weights"))
    write_model(network, str(best))
    report = {
        "fitted": True,
        "improved": smallest < losses[0],
        "epochs_run": len(losses) - 1,
        "loss_before": losses[0],
        "loss_after": smallest,
        "history": losses,
    }
    unreadable = told.get("unreadable") or {}
    if any(unreadable.values()):
        report.update(
            unreadable=sum(unreadable.values()),
            training=len(training) - unreadable["train"],
            validation=len(validation) - unreadable["val"],
        )
    return report


def training_overrides(request: dict[str, Any], tables: Path) -> list[str]:
    """Words for DiffCSP's configuration that describe the training; texts of paths are quoted as hydra wants them."""
    options, work = request["options"], tables.parent
    size = options["train_batch_size"]
    return [
        "data=mp_20",
        f"data.root_path={_quoted(tables)}",
        f"data.prop={PROPERTY}",
        "data.graph_method=none",  # all atoms are joined to all others; the graph of neighbours is not used
        "data.preprocess_workers=1",
        f"data.train_max_epochs={options['epochs']}",
        f"data.datamodule.batch_size.train={size}",
        f"data.datamodule.batch_size.val={size}",
        f"optim.optimizer.lr={options['learning_rate']!r}",
        f"train.random_seed={request['seed'] % 2**32}",
        "train.deterministic=warn",
        f"train.early_stopping.patience={options['patience']}",
        "~train.model_checkpoints",  # the best weights are kept by the launcher, as tensors
        "train.pl_trainer.num_sanity_val_steps=-1",  # the loss of the parent's weights
        "train.pl_trainer.profiler=null",
        "logging.val_check_interval=1",  # the scheduler of the learning rate asks for a loss each epoch
        "~logging.wandb",
        "~logging.lr_monitor",
        f"hydra.run.dir={_quoted(work)}",
        "expname=coevo",
    ]


def _quoted(path: Path) -> str:
    text = str(path).replace("\\", "\\\\").replace("'", "\\'")
    return f"'{text}'"


if __name__ == "__main__":
    run("diffcsp", {"check": check, "read": read, "sample": sample, "fit": fit})
