"""Sampling: a run of inference.py for each chemical system, and what became of each draw."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import uni3dar_arguments as arguments
from coevo_drawing import halved, number
from coevo_runner import TaskError, advance, write_candidates
from uni3dar_crystals import fault_of, read_cif, systems_of
from uni3dar_parent import opened, uses_gpu
from uni3dar_program import HUNG, start
from uni3dar_watch import OUT_OF_MEMORY

GRACE = 600.0
"""Seconds beyond those of all batches that a program has to import its packages, at most ten walls; then it is taken to hang."""


def sample(request: dict[str, Any]) -> dict[str, Any]:
    """Draw candidates; whatever is lost on the way is counted by its reason."""
    systems = systems_of(request["conditions"])
    if not systems:
        return {"candidates": write_candidates([]), "rejected": {"no_composition": request["n"]}}
    architecture, checkpoint = opened(request)
    draw = Draw(request, architecture, checkpoint, gpu=uses_gpu(request))
    for system, wanted in shares(systems, request["n"], request["seed"]).items():
        draw.system(system, wanted)
    return {
        "candidates": write_candidates(draw.candidates),
        "rejected": draw.rejected,
        "report": {"batch_size": draw.size, "drawn": draw.drawn},
    }


def shares(systems: dict[str, float], n: int, seed: int) -> dict[str, int]:
    """How many candidates of each system."""
    weights = np.array(list(systems.values()))
    drawn = np.random.default_rng([seed]).choice(len(weights), size=n, p=weights / weights.sum())
    counts = np.bincount(drawn, minlength=len(weights)).tolist()
    return {name: count for name, count in zip(systems, counts) if count}  # noqa: B905 - Python 3.8


class Draw:
    """Runs of inference.py with one model.

    Parameters
    ----------
    request : dict
    architecture : dict
    checkpoint : str
        File that inference.py reads.
    gpu : bool
    """

    def __init__(self, request: dict[str, Any], architecture: dict[str, Any], checkpoint: str, *, gpu: bool):
        self.request, self.architecture, self.checkpoint, self.gpu = request, architecture, checkpoint, gpu
        self.size = int(request["options"]["batch_size"])
        self.candidates: list[dict[str, Any]] = []
        self.rejected: dict[str, int] = {}
        self.drawn = 0

    def count(self, reason: str, how_many: int) -> None:
        """Count draws that are lost."""
        if how_many > 0:
            self.rejected[reason] = self.rejected.get(reason, 0) + how_many

    def system(self, system: str, wanted: int) -> None:
        """Draw in one chemical system, with smaller batches when memory runs out."""
        draws = math.ceil(wanted * self.request["options"]["oversampling"])
        found: list[dict[str, Any]] = []
        run = 0
        while draws > 0 and len(found) < wanted:
            drawn, code, lines = self.run(system, wanted - len(found), draws, run, found)
            draws -= drawn
            run += 1
            if code == OUT_OF_MEMORY:
                self.size = halved(self.size)
            elif code == HUNG:
                self.count("hang", draws)
                break
            elif code != 0:
                raise TaskError("program", f"inference.py ended with code {code}: {' | '.join(lines)}"[:900])
            elif drawn == 0:
                raise TaskError("program", f"inference.py ended without a draw: {' | '.join(lines)}"[:900])
        self.count("beyond_number", len(found) - wanted)
        self.candidates += found[:wanted]
        advance(len(found[:wanted]))

    def run(self, system: str, wanted: int, draws: int, run: int, found: list[dict[str, Any]]) -> tuple[int, int, list[str]]:
        """One run of the program; appends what is good, counts what is not, and says how many were drawn, and how it ended."""
        options, conditions = self.request["options"], self.request["conditions"]
        size = min(self.size, draws)
        # A batch may be smaller, when few are missing; what is missing then is drawn by another run.
        batches = math.ceil(draws / size) + draws.bit_length()
        record, file = Path(f"{system}-{run}.jsonl"), Path(f"{system}-{run}.cif")
        seed = number("sample", self.request["seed"], system, run) // 4  # room for one of each batch above it
        settings = {
            "nodes": arguments.most_nodes(self.architecture, conditions["max_atoms"]),
            "seconds": options["wall"],
            "size": size,
            "draws": draws,
            "batches": batches,
            "ratio": options["rank_ratio"],
            "wanted": wanted,
            "seed": seed,
            "record": str(record),
            "conditions": conditions,
        }
        told = {
            "checkpoint": self.checkpoint,
            "save_path": str(file),
            "elements": sorted(system.split("-")),
            "samples": draws,
            "batch_size": size,
            "seed": seed,
            "temperature": options["temperature"],
            "rank_ratio": options["rank_ratio"],
        }
        words = arguments.inference(self.request["checkouts"]["Uni-3DAR"], self.architecture, told, gpu=self.gpu)
        # A batch ends itself by its wall, unless it hangs where nobody asks for the time.
        code, lines = start(
            self.request, "inference", settings, words, seconds=batches * options["wall"] + min(GRACE, 10 * options["wall"])
        )
        done = records(record)
        drawn = sum(batch["drawn"] for batch in done)
        self.drawn += drawn
        # Of a batch for which memory did not suffice: it may have been smaller than the largest.
        self.size = min([self.size, *(batch["size"] for batch in done if batch.get("lost") == "out_of_memory")])
        for batch in done:
            self.count(batch.get("lost", ""), batch["drawn"] if batch.get("lost") else 0)
            if not batch.get("lost"):
                self.count("too_long", batch["too_long"])
                self.count("no_crystal", batch["drawn"] - batch["too_long"] - batch["crystals"])
                self.count("ranked_out", batch["crystals"] - batch["written"])
        crystals = read_cif(file.read_text(encoding="utf-8", errors="replace")) if file.is_file() else []
        self.count("half_written", sum(batch["written"] for batch in done) - len(crystals))
        for place, crystal in enumerate(crystals):
            reason = "half_written" if crystal is None else fault_of(*crystal, conditions)
            if reason:
                self.count(reason, 1)
                continue
            species, lattice, positions = crystal
            found.append(
                {
                    "lattice": lattice.tolist(),
                    "species": species,
                    "positions": (positions % 1.0).tolist(),
                    "origin": {"operator": "uni3dar", "system": system, "run": run, "draw": place},
                }
            )
        print(f"{system}: {drawn} drawn, {len(found)} kept, rejected so far {self.rejected}")
        return drawn, code, lines


def records(path: Path) -> list[dict[str, Any]]:
    """What the batches were, as far as their lines are whole: the last one may be cut short."""
    found = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        try:
            found.append(json.loads(line))
        except ValueError:
            break
    return found
