"""What is added to the programs of the checkouts while they run: records of what they did, and walls, since they have none.

A sequence of Uni-3DAR may grow without end, and its loop goes on until enough crystals are written, if any ever are.
"""

from __future__ import annotations

import argparse
import importlib
import json
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uni3dar_crystals

if TYPE_CHECKING:
    from collections.abc import Callable

OUT_OF_MEMORY = 64
"""Exit code of a program that ran out of memory."""


class TimeLimitError(Exception):
    """A batch took longer than it may."""


def append(path: str, record: dict[str, Any]) -> None:
    """Add a line of JSON to a file."""
    with Path(path).open("a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")


def watch_training(settings: dict[str, Any], *, measure: bool) -> None:
    """Validate the weights that a fit begins with as the trainer validates its epochs, and record each loss.

    The trainer is told that loss as its best so far: ``checkpoint_best.pt`` is written for better weights only. With
    ``measure`` the program ends when it has that loss.
    """
    program: Any = importlib.import_module("unicore_cli.train")
    checkpoints = importlib.import_module("unicore.checkpoint_utils")
    utils = importlib.import_module("unicore.utils")
    train, validate = program.train, program.validate
    begun: list[bool] = []

    def recorded(*arguments: Any) -> Any:
        losses = validate(*arguments)
        append(settings["record"], {"loss": float(losses[0])})
        return losses

    def after_the_first_loss(args: Any, trainer: Any, task: Any, epochs: Any, thread: Any) -> Any:
        if not begun:
            begun.append(True)
            with utils.validate_with_ema(trainer, ema=args.validate_with_ema):
                first = recorded(args, trainer, task, epochs, args.valid_subset.split(","))
            if measure:
                raise SystemExit(0)
            checkpoints.save_checkpoint.best = program.should_stop_early.best = first[0]
            program.should_stop_early.num_runs = 0
        return train(args, trainer, task, epochs, thread)

    program.validate, program.train = recorded, after_the_first_loss


def watch_sampling(settings: dict[str, Any]) -> None:
    """Bound the length of a sequence, the seconds of a batch and the number of batches; record what became of each batch."""
    utils = importlib.import_module("unicore.utils")
    # As the program does with its --user-dir: whoever imports it otherwise is refused.
    utils.import_user_module(argparse.Namespace(user_dir=str(Path(settings["checkouts"][1], "uni3dar"))))
    sampler = importlib.import_module("uni3dar.models.uni3dar_sampler")
    Watched(settings, sampler).install()


class Watched:
    """The sampler's methods with walls.

    Parameters
    ----------
    settings : dict
        ``nodes`` (of a sequence's octrees), ``seconds`` (of a batch), ``batches``, ``wanted`` (good crystals), ``seed``,
        ``record`` (file) and ``conditions``.
    sampler : module
        ``uni3dar.models.uni3dar_sampler``.
    clock : callable
        Seconds.
    """

    def __init__(self, settings: dict[str, Any], sampler: Any, clock: Callable[[], float] = time.monotonic):
        self.settings, self.sampler, self.clock = settings, sampler, clock
        self.model = sampler.Uni3DARSampler
        self.batch = self.good = self.too_long = self.drawn_as_crystals = 0
        self.deadline = 0.0

    def install(self) -> None:
        """Put the watched methods in the place of the sampler's."""
        generate, expand, pop = self.model.generate, self.model.tree_expand, self.model.pop_and_delete
        results = self.sampler.results_from_predictions

        def tree_expand(model: Any, raw_feat: Any, cur_type: Any, pred_type: Any, next_feat: Any, count_vars: Any) -> Any:
            queued = [len(feat) for feat in raw_feat]
            raw_feat, count_vars = expand(model, raw_feat, cur_type, pred_type, next_feat, count_vars)
            return self.cut_long(raw_feat, queued, count_vars), count_vars

        def pop_and_delete(model: Any, raw_feat: Any, *others: Any) -> Any:
            if self.clock() > self.deadline:
                raise TimeLimitError(f"a batch took more than {self.settings['seconds']} s")
            count_vars, finished = others[3], others[6]
            before, cut = len(finished), count_vars["cut"].tolist()
            ended = [cut[i] for i, feat in enumerate(raw_feat) if len(feat) == 0]
            returned = pop(model, raw_feat, *others)
            # What ended because it was cut is no crystal, whatever it has so far.
            finished[before:] = [result for result, was_cut in zip(finished[before:], ended) if not was_cut]  # noqa: B905
            self.too_long += sum(ended)
            return returned

        def results_from_predictions(data_type: str, level: int, finished: Any, ratio: float, **others: Any) -> Any:
            found, scores, lengths = results(data_type, level, finished, 1.0, **others)
            self.drawn_as_crystals = len(found)
            kept = int(len(found) * ratio)
            return found[:kept], scores[:kept], lengths[:kept]

        self.model.tree_expand, self.model.pop_and_delete = tree_expand, pop_and_delete
        self.sampler.results_from_predictions = results_from_predictions
        self.model.generate = lambda model, *_, **__: self.generated(model, generate)

    def cut_long(self, raw_feat: list[Any], queued: list[int], count_vars: dict[str, Any]) -> list[Any]:
        """Take the queue of each sequence with more nodes than the octrees of a crystal can have, so that it ends here."""
        import torch

        # two tokens a node
        made = torch.tensor([(len(feat) - before) // 2 for feat, before in zip(raw_feat, queued)])  # noqa: B905 - Python 3.8
        device = count_vars["acc_tokens"].device
        # The sampler drops the rows of ended sequences from whatever is in count_vars.
        nodes = count_vars.get("nodes", torch.zeros(len(raw_feat), dtype=torch.long, device=device)) + made.to(device)
        count_vars["nodes"], count_vars["cut"] = nodes, nodes > self.settings["nodes"]
        return [feat[:0] if cut else feat for feat, cut in zip(raw_feat, count_vars["cut"].tolist())]  # noqa: B905

    def generated(self, model: Any, generate: Any) -> Any:
        """One batch, or the end of the program when there is enough."""
        import torch

        if self.good >= self.settings["wanted"] or self.batch == self.settings["batches"]:
            raise SystemExit(0)
        # A batch depends on nothing that was drawn before it.
        torch.manual_seed(self.settings["seed"] + self.batch)
        self.deadline = self.clock() + self.settings["seconds"]
        self.too_long = self.drawn_as_crystals = 0
        record: dict[str, Any] = {"batch": self.batch, "drawn": model.args.batch_size}
        found: list[Any] = []
        try:
            found, scores = generate(model)
        except TimeLimitError as err:
            print(err)
            record["lost"] = "time_limit"
        except Exception as err:  # noqa: BLE001 - an unstable model fails in many ways, each of which costs its batch only
            if isinstance(err, (torch.cuda.OutOfMemoryError, MemoryError)) or "out of memory" in str(err).lower():
                print("out of memory")
                raise SystemExit(OUT_OF_MEMORY) from None
            traceback.print_exc()
            record["lost"] = "crashed_batch"
        self.batch += 1
        faults = [uni3dar_crystals.fault_of(*uni3dar_crystals.of_atoms(atoms), self.settings["conditions"]) for atoms in found]
        self.good += sum(not fault for fault in faults)
        append(
            self.settings["record"],
            {**record, "crystals": self.drawn_as_crystals, "written": len(found), "too_long": self.too_long},
        )
        return found, scores if found else []
