"""Command lines of the checkouts' own programs (scripts/train_mp20.sh and scripts/inference_mp20.sh of Uni-3DAR)."""

from __future__ import annotations

from typing import Any


def network(architecture: dict[str, Any]) -> list[str]:
    """What a network looks like: neither program takes it from a checkpoint."""
    return [word for name, value in sorted(architecture.items()) for word in (f"--{name.replace('_', '-')}", f"{value:g}")]


def _common(checkout: str, architecture: dict[str, Any], *, gpu: bool) -> list[str]:
    return [
        *("--user-dir", f"{checkout}/uni3dar"),
        *("--train-subset", "train", "--valid-subset", "valid"),
        *("--task", "uni3dar", "--loss", "ar", "--data-type", "crystal"),
        *("--atom-type-key", "atom_type", "--atom-pos-key", "atom_pos", "--lattice-matrix-key", "lattice_matrix", "--gzip"),
        *("--head-dropout", "0.1"),
        *network(architecture),
        # one process: several GPUs would be a torchrun of the user's own
        *("--distributed-world-size", "1"),
        *(("--bf16",) if gpu else ("--cpu",)),
    ]


def inference(checkout: str, architecture: dict[str, Any], request: dict[str, Any], *, gpu: bool) -> list[str]:
    """Of ``uni3dar/inference.py``.

    Parameters
    ----------
    checkout : str
        Of Uni-3DAR.
    architecture : dict
    request : dict
        ``checkpoint`` and ``save_path`` (files), ``elements``, ``samples``, ``batch_size``, ``seed``, ``temperature``,
        ``rank_ratio``.
    gpu : bool
    """
    return [
        "None",  # it reads no data
        *_common(checkout, architecture, gpu=gpu),
        *("--arch", "uni3dar_sampler", "--num-workers", "0"),
        *("--batch-size", str(request["batch_size"]), "--num-samples", str(request["samples"])),
        *("--seed", str(request["seed"])),
        *("--tree-temperature", "1.0", "--count-temperature", "1.0"),
        *("--atom-temperature", f"{request['temperature']:g}", "--xyz-temperature", f"{request['temperature']:g}"),
        *("--rank-ratio", f"{request['rank_ratio']:g}", "--rank-by", "atom+xyz"),
        *("--allow-atoms", ",".join(request["elements"])),
        *("--finetune-from-model", request["checkpoint"], "--save-path", request["save_path"]),
    ]


def training(checkout: str, architecture: dict[str, Any], request: dict[str, Any], *, gpu: bool) -> list[str]:
    """Of ``python -m unicore_cli.train``.

    Without ``--load-from-ema``: with it, the trainer leaves its moving average at the random weights that it began with. The file
    that it continues from has the same weights as the model's and as the average's.

    Parameters
    ----------
    checkout : str
        Of Uni-3DAR.
    architecture : dict
    request : dict
        ``data`` (directory), ``checkpoint`` (file), ``save_dir``, ``temporary``, ``epochs``, ``patience``, ``batch_size``,
        ``learning_rate``, ``ema_decay``, ``augmentation``, ``seed``.
    gpu : bool
    """
    return [
        request["data"],
        *_common(checkout, architecture, gpu=gpu),
        *("--arch", "uni3dar", "--num-workers", "4" if gpu else "0"),
        *("--batch-size", str(request["batch_size"]), "--batch-size-valid", str(request["batch_size"])),
        *("--data-buffer-size", "32", "--fixed-validation-seed", "11", "--seed", str(request["seed"])),
        *(
            "--optimizer",
            "adam",
            "--adam-betas",
            "(0.9, 0.99)",
            "--adam-eps",
            "1e-6",
            "--clip-norm",
            "1",
            "--weight-decay",
            "1e-4",
        ),
        *("--lr", f"{request['learning_rate']:g}", "--lr-scheduler", "fixed", "--update-freq", "1"),
        *("--max-epoch", str(request["epochs"]), "--patience", str(request["patience"])),
        *("--ema-decay", f"{request['ema_decay']:g}", "--validate-with-ema"),
        *("--loss-ratio-tree", "1.0", "--loss-ratio-atom", "0.1", "--loss-ratio-xyz", "0.1", "--loss-ratio-count", "1.0"),
        *("--tree-delete-start-layer", "1", "--tree-delete-ratio", "0.1", "--H-prob", "1.0"),
        *("--random-rotation-prob", f"{request['augmentation']:g}"),
        *("--crystal-random-shift-prob", f"{request['augmentation']:g}"),
        *("--log-interval", "100", "--log-format", "simple"),
        # each epoch is kept until the next: with --no-epoch-checkpoints a run that is ended by a time limit leaves nothing
        *("--save-dir", request["save_dir"], "--tmp-save-dir", request["temporary"]),
        *("--keep-last-epochs", "1", "--no-last-checkpoints", "--no-save-optimizer-state"),
        *("--finetune-from-model", request["checkpoint"]),
    ]


def creation(checkout: str, architecture: dict[str, Any], seed: int, *, gpu: bool) -> list[str]:
    """Of what builds an untrained network: arguments that Uni-3DAR's own parser reads."""
    return ["None", *_common(checkout, architecture, gpu=gpu), "--arch", "uni3dar", "--seed", str(seed)]


def most_nodes(architecture: dict[str, Any], max_atoms: int) -> int:
    """Nodes that the two octrees of a crystal can have: each corner or atom is in at most one node of each level."""
    return int(architecture["merge_level"] * (8 + max_atoms))


def decay(wanted: float, updates: int) -> float:
    """That of the moving average, shorter than a tenth of a fit: with the published one a short fit would change nothing.

    The trainer refuses one of zero.
    """
    return max(min(wanted, 1.0 - 10.0 / max(updates, 10)), 1e-3)
