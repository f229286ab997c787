"""What is added to the programs of the checkouts while they run: records of what they did, and walls, since they have none.

A sequence of Uni-3DAR may grow without end, and its loop goes on until enough crystals are written, if any ever are.
"""

from __future__ import annotations

import argparse
import importlib
import json
import math
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uni3dar_crystals
from coevo_drawing import out_of_memory, seed_everything

if TYPE_CHECKING:
    from collections.abc import Callable

OUT_OF_MEMORY = 64
"""Exit code of a program that ran out of memory."""


class TimeLimitError(Exception):
    """A batch took longer than it may."""


def kept_by_rank(crystals: int, ratio: float) -> int:
    """How many crystals of a batch are kept: at least one, if there is any."""
    return min(crystals, max(1, math.ceil(crystals * ratio - 1e-9)))


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
        ``nodes`` (of a sequence's octrees), ``seconds`` and ``size`` (of a batch, at most), ``draws`` and ``batches`` (at most),
        ``ratio`` (of crystals that are kept by rank), ``wanted`` (good crystals), ``seed``, ``record`` (file) and ``conditions``.
    sampler : module
        ``uni3dar.models.uni3dar_sampler``.
    clock : callable
        Seconds.
    """

    def __init__(self, settings: dict[str, Any], sampler: Any, clock: Callable[[], float] = time.monotonic):
        self.settings, self.sampler, self.clock = settings, sampler, clock
        self.model = sampler.Uni3DARSampler
        self.batch = self.drawn = self.good = self.too_long = self.drawn_as_crystals = 0
        self.rows: list[int] = []
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
            before, cut, rows = len(finished), count_vars["cut"].tolist(), count_vars["row"].tolist()
            at_end = [i for i, feat in enumerate(raw_feat) if len(feat) == 0]
            ended = [cut[i] for i in at_end]
            returned = pop(model, raw_feat, *others)
            # What ended because it was cut is no crystal, whatever it has so far.
            finished[before:] = [result for result, was_cut in zip(finished[before:], ended) if not was_cut]  # noqa: B905
            self.rows += [rows[i] for i in at_end if not cut[i]]
            self.too_long += sum(ended)
            return returned

        def results_from_predictions(data_type: str, level: int, finished: Any, ratio: float, **others: Any) -> Any:
            # The sampler's order is by score, and that of sequences that end by their length: who takes the first of either
            # takes a choice. Here they stay in the order of the batch's rows.
            in_order = [result for _, result in sorted(zip(self.rows, finished), key=lambda pair: pair[0])]  # noqa: B905
            found: list[Any] = []
            for result in in_order:
                found += zip(*results(data_type, level, [result], 1.0, **others))  # noqa: B905 - Python 3.8
            self.drawn_as_crystals = len(found)
            likeliest = sorted(range(len(found)), key=lambda place: found[place][1])[: kept_by_rank(len(found), ratio)]
            kept = [found[place] for place in sorted(likeliest)]
            return tuple([crystal[part] for crystal in kept] for part in range(3))

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
        if "row" not in count_vars:
            count_vars["row"] = torch.arange(len(raw_feat), device=device)
            count_vars["nodes"] = torch.zeros(len(raw_feat), dtype=torch.long, device=device)
        nodes = count_vars["nodes"] + made.to(device)
        count_vars["nodes"], count_vars["cut"] = nodes, nodes > self.settings["nodes"]
        return [feat[:0] if cut else feat for feat, cut in zip(raw_feat, count_vars["cut"].tolist())]  # noqa: B905

    def generated(self, model: Any, generate: Any) -> Any:
        """One batch, or the end of the program when there is enough."""
        settings = self.settings
        missing, left = settings["wanted"] - self.good, settings["draws"] - self.drawn
        if missing <= 0 or left <= 0 or self.batch == settings["batches"]:
            raise SystemExit(0)
        # As many as it takes by the share of draws that were good so far; at best all are that rank leaves.
        share = min(settings["ratio"], (self.good + 1) / (self.drawn + 1))
        size = model.args.batch_size = min(math.ceil(missing / share), left, settings["size"])
        # A batch depends on nothing that was drawn before it.
        seed_everything(settings["seed"] + self.batch)
        self.deadline = self.clock() + settings["seconds"]
        self.too_long = self.drawn_as_crystals = 0
        self.rows = []
        record: dict[str, Any] = {"batch": self.batch, "drawn": size}
        found: list[Any] = []
        scores: Any = []
        try:
            found, scores = generate(model)
        except TimeLimitError as err:
            print(err)
            record["lost"] = "time_limit"
        except Exception as err:  # noqa: BLE001 - an unstable model fails in many ways, each of which costs its batch only
            if out_of_memory(err):
                print("out of memory")
                append(settings["record"], {"batch": self.batch, "drawn": 0, "written": 0, "lost": "out_of_memory", "size": size})
                raise SystemExit(OUT_OF_MEMORY) from None
            traceback.print_exc()
            record["lost"] = "crashed_batch"
        self.batch += 1
        self.drawn += size
        faults = [uni3dar_crystals.fault_of(*uni3dar_crystals.of_atoms(atoms), settings["conditions"]) for atoms in found]
        self.good += sum(not fault for fault in faults)
        append(
            settings["record"],
            {**record, "crystals": self.drawn_as_crystals, "written": len(found), "too_long": self.too_long},
        )
        return found, scores
