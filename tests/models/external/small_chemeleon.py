"""A Chemeleon-DNG model small enough for tests, and what a real run of it wrote, for tests without its environment.

``COEVO_ENVIRONMENTS=… python tests/models/external/small_chemeleon.py`` records anew what is in ``data/chemeleon-dng``.
"""

from __future__ import annotations

import json
import shutil
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parents[k]) for k in (0, 1, 2)]

from small_mattergen import strained_examples

from coevo.configs.tree import GeneratorConfig
from coevo.models.contracts import Conditions
from coevo.models.external import generator as module
from coevo.models.external.chemeleon import ChemeleonGenerator

if TYPE_CHECKING:
    from collections.abc import Iterator

RECORDED = Path(__file__).parent / "data" / "chemeleon-dng"
SMALL = {
    "hidden": 32,
    "layers": 2,
    "steps": 20,
    "epochs": 12,
    "learning_rate": 2e-3,
    "batch_size": 4,
    "train_batch_size": 8,
    "validation_fraction": 0.3,
}
TINY = SMALL | {"hidden": 8, "layers": 1, "steps": 10, "epochs": 2}
CONDITIONS = Conditions(("Li", "P", "S"), max_atoms=12, chemical_systems={"Li-P-S": 0.5, "Li-S": 0.5})
SEED, NUMBER = 5, 6


def settings(sizes: dict[str, Any] = SMALL, **changes: Any) -> GeneratorConfig:
    """A small model; what it learns is little."""
    return GeneratorConfig(family="chemeleon-dng", max_atoms=16, chemeleon_dng={**sizes, **changes})


def record() -> None:
    """Do what the tests replay, and keep the files."""
    original, names = module.run_task, ["fit", "sample", "huge"]
    for name in names:
        shutil.rmtree(RECORDED / name, ignore_errors=True)
    kept = iter(names)

    @contextmanager
    def keeping(*arguments: Any, **more: Any) -> Iterator[Any]:
        with original(*arguments, **more) as run:
            target = RECORDED / next(kept)
            shutil.copytree(run.directory / "output", target / "output")
            for name in ("request.json", "result.json"):
                document = json.loads((run.directory / name).read_text())
                (target / name).write_text(json.dumps(document, indent=1, sort_keys=True) + "\n")
            yield run

    module.run_task = keeping
    fitted, _ = ChemeleonGenerator.initial(settings(TINY)).fit(strained_examples(), SEED)
    fitted.sample(NUMBER, CONDITIONS, SEED)
    fitted.settings = settings(TINY, bounded_cells=False)
    fitted.sample(NUMBER, CONDITIONS, SEED)


if __name__ == "__main__":
    record()
