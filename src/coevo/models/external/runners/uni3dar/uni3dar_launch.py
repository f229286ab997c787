"""Starts a program of the user's checkouts as its own command line would, with stand-ins for what is missing.

``python uni3dar_launch.py TASK SETTINGS.json ARGUMENTS...``: the arguments are those of the checkout's own program,
``unicore_cli/train.py`` of Uni-Core or ``uni3dar/inference.py`` of Uni-3DAR. Nothing of the checkouts is changed, and nothing is
written into them.
"""

from __future__ import annotations

import importlib
import json
import runpy
import sys
import types
from pathlib import Path
from typing import Any

from coevo_runner import end_with_parent

sys.dont_write_bytecode = True


def stand_ins() -> dict[str, str]:
    """Install what stands in for packages that are not here, and say for which."""
    import uni3dar_attention

    found = {}
    if uni3dar_attention.install():
        found["flash_attn"] = "torch's scaled_dot_product_attention, sequence by sequence"
    try:
        import tokenizers  # noqa: F401 - the real one is there
    except ImportError:
        module = types.ModuleType("tokenizers")
        module.BertWordPieceTokenizer = None  # type: ignore[attr-defined]
        sys.modules["tokenizers"] = module
        found["tokenizers"] = "an empty module: only texts need it"
    return found


def without_gpu() -> dict[str, str]:
    """Let a model stay where it is and in single precision, if there is no GPU: inference.py moves it in any case."""
    import torch

    if torch.cuda.is_available():
        return {}
    torch.nn.Module.cuda = lambda self, *_, **__: self  # type: ignore[assignment,method-assign]
    torch.nn.Module.bfloat16 = lambda self: self  # type: ignore[assignment,method-assign]
    return {"torch.nn.Module.cuda": "leaves the model on the CPU, in single precision"}


def main() -> None:
    """Do one task in this process."""
    end_with_parent()
    task, settings_file, *arguments = sys.argv[1:]
    settings: dict[str, Any] = json.loads(Path(settings_file).read_text(encoding="utf-8"))
    core, family = settings["checkouts"]
    sys.path[:0] = [core, family]
    if task != "data":
        import torch

        torch.use_deterministic_algorithms(True, warn_only=True)
    for name, what in {**stand_ins(), **without_gpu()}.items():
        print(f"{name}: {what}")
    if task == "data":
        import uni3dar_data

        uni3dar_data.write_sets(settings["sets"])
    elif task in {"train", "measure"}:
        sys.argv = [str(Path(core, "unicore_cli", "train.py")), *arguments]
        import uni3dar_watch

        uni3dar_watch.watch_training(settings, measure=task == "measure")
        importlib.import_module("unicore_cli.train").cli_main()
    elif task == "inference":
        script = Path(family, "uni3dar", "inference.py")
        sys.argv = [str(script), *arguments]
        # As Python does for a script: it imports its neighbours by their bare names.
        sys.path.insert(0, str(script.parent))
        import uni3dar_watch

        uni3dar_watch.watch_sampling(settings)
        runpy.run_path(str(script), run_name="__main__")
    elif task == "create":
        sys.argv = ["create", *arguments]
        create(Path(settings["weights"]))
    else:
        raise SystemExit(f"no task {task!r}")


def create(path: Path) -> None:
    """Write the weights of an untrained network, built by Uni-3DAR's own classes from its own arguments."""
    import torch
    from unicore import options, tasks

    args = options.parse_args_and_arch(options.get_training_parser())
    torch.manual_seed(args.seed)
    model = tasks.setup_task(args).build_model(args)
    torch.save({name: tensor.detach().clone() for name, tensor in model.state_dict().items()}, path)


if __name__ == "__main__":
    main()
