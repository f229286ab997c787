"""Runs DiffCSP from its checkout, in a process of its own: ``python diffcsp_launcher.py MODE CHECKOUT TASK.json [OVERRIDES]``.

``train`` runs the checkout's own ``diffcsp/run.py`` with those overrides of its configuration. ``sample`` draws with the sampler
of its model class: its ``scripts/sample.py`` takes one formula a process, and loads its model by a call that Lightning refuses.
``read`` turns a model directory that DiffCSP wrote into numbers and tensors, and ``check`` imports all of it. The task says by
absolute paths where results go: DiffCSP changes the working directory to its checkout, in which nothing is written.
"""

from __future__ import annotations

import json
import os
import runpy
import sys
import traceback
from pathlib import Path
from typing import Any

import diffcsp_stand_ins
import torch
from coevo_drawing import number, out_of_memory, seed_everything
from coevo_runner import TaskError, end_with_parent
from diffcsp_data import PROPERTY
from diffcsp_draws import fault_of
from diffcsp_network import network_of, overrides


def main() -> None:
    """Do what the command line says; what fails is told in ``TASK.json.failed``."""
    end_with_parent()
    mode, checkout, task = sys.argv[1], Path(sys.argv[2]).absolute(), Path(sys.argv[3]).absolute()
    words = sys.argv[4:]
    request = json.loads(task.read_text(encoding="utf-8"))
    try:
        told = {"train": train, "sample": sample, "read": read, "check": check}[mode](checkout, request, words)
    except TaskError as err:
        traceback.print_exc()
        _write(Path(f"{task}.failed"), {"reason": err.reason, "message": str(err)})
        raise SystemExit(1) from None
    _write(Path(f"{task}.done"), told)


def _write(path: Path, document: dict[str, Any]) -> None:
    partial = Path(f"{path}.partial")
    partial.write_text(json.dumps(document, allow_nan=False), encoding="utf-8")
    partial.replace(path)


def enter(checkout: Path, work: Path) -> dict[str, str]:
    """Make the checkout's package importable, with the stand-ins in place; return what they are."""
    sys.dont_write_bytecode = True
    os.environ.update(
        PROJECT_ROOT=str(checkout), HYDRA_JOBS=str(work), WABDB_DIR=str(work), TQDM_DISABLE="1", HYDRA_FULL_ERROR="1"
    )
    sys.path.insert(0, str(checkout))
    return diffcsp_stand_ins.install()


def train(checkout: Path, request: dict[str, Any], words: list[str]) -> dict[str, Any]:
    """Run ``diffcsp/run.py``."""
    work = Path(request["work"])
    enter(checkout, work)
    import diffcsp_trainer

    unreadable = prepare(Path(request["tables"]))
    keeping = diffcsp_trainer.install(request, work)
    sys.argv = [str(checkout / "diffcsp" / "run.py"), *words]
    runpy.run_path(sys.argv[0], run_name="__main__")
    if keeping.before is None:
        raise TaskError("no_training", "DiffCSP's run.py ended without a validation")
    torch.save(keeping.best, request["best"])
    history = [keeping.before, *keeping.history]
    return {"losses": history, "best": keeping.smallest, "unreadable": unreadable}


def prepare(tables: Path) -> dict[str, int]:
    """Read the tables' crystals by DiffCSP's own function into the caches that its data sets look for.

    Its own loop ends with the first crystal whose cell cannot be reduced; here such a one is left out, and counted once for
    its table, which may have several rows of it.
    """
    import pandas as pd
    from diffcsp.common.data_utils import process_one

    unreadable: dict[str, int] = {}
    for name in ("train", "val"):
        found: list[Any] = []
        lost: set[str] = set()
        for _, row in pd.read_csv(tables / f"{name}.csv").iterrows():
            try:
                found.append(process_one(row, niggli=True, primitive=False, graph_method="none", prop_list=[PROPERTY]))
            except Exception as err:  # noqa: BLE001 - parsers and reductions fail in many ways, each of which costs its crystal
                print(f"crystal {row['material_id']} cannot be read: {type(err).__name__}: {err}")
                lost.add(str(row["material_id"]).rpartition("/")[0])
        unreadable[name] = len(lost)
        if not found:
            raise TaskError("no_training", f"DiffCSP can read none of the crystals of {name}.csv")
        torch.save(found, tables / f"{name}_ori.pt")
    return unreadable


def composed(checkout: Path, words: list[str]) -> Any:
    """DiffCSP's configuration with overrides."""
    from hydra import compose, initialize_config_dir

    with initialize_config_dir(str(checkout / "conf"), version_base="1.1"):
        return compose("default", overrides=["data=mp_20", *words])


def build(checkout: Path, network: dict[str, Any]) -> Any:
    """An untrained model of DiffCSP's, as its ``run.py`` builds it."""
    from hydra.utils import instantiate

    found = composed(checkout, overrides(network))
    return instantiate(found.model, optim=found.optim, data=found.data, logging=found.logging, _recursive_=False)


def load(path: str) -> Any:
    """Tensors by name; no other thing can be read."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as err:  # noqa: BLE001 - what is no file of tensors fails in many ways
        raise TaskError("no_weights", f"the weights are no file of tensors: {type(err).__name__}: {str(err)[:200]}") from None


def sample(checkout: Path, request: dict[str, Any], _words: list[str]) -> dict[str, Any]:
    """Draw crystals of the contents that the task lists, until as many as wanted are sound, and write each as a line."""
    enter(checkout, Path(request["work"]))
    device = torch.device(request["device"])
    seed_everything(0)
    model = build(checkout, request["network"])
    if request["weights"]:
        fill(model, load(request["weights"]))
    model = model.to(device).eval()
    contents: list[list[int]] = request["draws"]
    size, done, kept = request["batch_size"], 0, 0
    with Path(request["output"]).open("w", encoding="utf-8") as file:
        while done < len(contents) and kept < request["wanted"]:
            batch = contents[done : done + min(size, request["wanted"] - kept)]
            try:
                drawn = draw(model, batch, request, done, device)
            except Exception as err:  # noqa: BLE001 - an unstable model fails in many ways, each of which costs its batch only
                if out_of_memory(err) and size > 1:
                    size = size // 2
                    print(f"out of memory; batches of {size}")
                    continue
                traceback.print_exc()
                drawn = []
            for line in drawn:
                file.write(json.dumps(line) + "\n")
                kept += not fault_of(line, contents[line["draw"]])
            file.flush()
            done += len(batch)
            print(f"{done} drawn, {kept} sound")
    return {"drawn": done, "batch_size": size}


def fill(model: Any, state: Any) -> None:
    """Put weights into a model that was built from the numbers beside them."""
    try:
        model.load_state_dict(state)
    except (RuntimeError, TypeError, AttributeError) as err:
        raise TaskError("no_weights", f"the weights are not those of the network beside them: {str(err)[:300]}") from None


def draw(
    model: Any, contents: list[list[int]], request: dict[str, Any], first: int, device: torch.device
) -> list[dict[str, Any]]:
    """Denoise one batch. DiffCSP has no seed for sampling: every generator is seeded here, by the batch."""
    from torch_geometric.data import Batch, Data

    seed_everything(number("sample", request["seed"], first))
    items = [Data(atom_types=torch.tensor(z), num_atoms=len(z), num_nodes=len(z)) for z in contents]
    found, _ = model.sample(Batch.from_data_list(items).to(device), step_lr=request["step_lr"])
    sizes = [len(z) for z in contents]
    lattices = found["lattices"].double().cpu().tolist()
    positions = torch.split(found["frac_coords"].double().cpu(), sizes)
    kinds = torch.split(found["atom_types"].cpu(), sizes)
    return [
        {"draw": first + k, "lattice": lattices[k], "positions": positions[k].tolist(), "numbers": kinds[k].tolist()}
        for k in range(len(contents))
    ]


def read(checkout: Path, request: dict[str, Any], _words: list[str]) -> dict[str, Any]:
    """Numbers and tensors of a model directory that the user's own configuration names; its checkpoint is a pickle."""
    import yaml

    enter(checkout, Path(request["work"]))
    network = network_of(yaml.safe_load(Path(request["configuration"]).read_text(encoding="utf-8")))
    found = torch.load(request["checkpoint"], map_location="cpu", weights_only=False)
    state = found.get("state_dict") if isinstance(found, dict) else None
    if not isinstance(state, dict):
        raise TaskError("no_weights", "the checkpoint has no state_dict")
    model = build(checkout, network)
    fill(model, state)
    torch.save(model.state_dict(), request["best"])
    return {"network": network, "parameters": sum(p.numel() for p in model.parameters())}


def check(checkout: Path, request: dict[str, Any], _words: list[str]) -> dict[str, Any]:
    """Import what training and sampling need, and say what stands in."""
    stand_ins = dict(enter(checkout, Path(request["work"])))
    import diffcsp_trainer

    stand_ins.update(diffcsp_trainer.STAND_INS)
    from coevo_runner import versions

    found = versions("diffcsp.pl_modules.diffusion", "diffcsp.pl_data.datamodule")
    composed(checkout, overrides(request["network"]))
    return {"stand_ins": stand_ins, "imports": found}


if __name__ == "__main__":
    main()
