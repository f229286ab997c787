"""Lightning's trainer as DiffCSP's ``run.py`` calls it, on today's Lightning; imported after the stand-ins.

``run.py`` builds its trainer with arguments of Lightning 1.3. The one here takes them, and adds what a node needs: it begins with
the parent's weights, gives the validation the same noise each time, keeps the best weights, and stops before the test.
"""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as lightning
import torch
from coevo_drawing import number
from coevo_runner import TaskError

STAND_INS = {
    "pytorch_lightning.Trainer(gpus, progress_bar_refresh_rate, resume_from_checkpoint)": "accelerator and devices of today; "
    "begins with the parent's weights and a new optimiser",
    "torch.load": "reads the caches that the same run wrote",
}


class Keeping(lightning.Callback):
    """Validation at noise that is the same each time, and the weights with which its loss was smallest.

    Attributes
    ----------
    before : float or None
        Loss of the weights that the fit begins with.
    history : list of float
        Loss after each epoch.
    smallest : float
    best : dict
        Weights.
    """

    def __init__(self, progress: Path):
        self.before: float | None = None
        self.history: list[float] = []
        self.smallest = math.inf
        self.best: dict[str, torch.Tensor] = {}
        self._progress = progress
        self._sum, self._crystals = 0.0, 0
        self._states: tuple[Any, ...] = ()

    def on_validation_start(self, _trainer: Any, _module: Any) -> None:
        """Put the random numbers of the training aside."""
        cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
        self._states = (torch.get_rng_state(), cuda, np.random.get_state(), random.getstate())  # noqa: NPY002
        self._sum, self._crystals = 0.0, 0

    def on_validation_batch_start(self, _trainer: Any, _module: Any, _batch: Any, index: int, *_loader: int) -> None:
        """Noise by the number of the batch alone."""
        seed = number("validation", index)
        torch.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002 - DiffCSP draws noise levels from it

    def on_validation_batch_end(self, _trainer: Any, _module: Any, outputs: Any, batch: Any, *_index: int) -> None:
        """A crystal counts as much as another."""
        self._sum += float(outputs) * batch.num_graphs
        self._crystals += batch.num_graphs

    def on_validation_end(self, trainer: Any, module: Any) -> None:
        """Keep the weights if they are the best so far."""
        torch.set_rng_state(self._states[0])
        if self._states[1]:
            torch.cuda.set_rng_state_all(self._states[1])
        np.random.set_state(self._states[2])  # noqa: NPY002
        random.setstate(self._states[3])
        loss = self._sum / self._crystals if self._crystals else math.nan
        if trainer.sanity_checking:
            if not math.isfinite(loss):
                raise TaskError("diverged", "the validation loss is not finite before the fit")
            self.before = loss
        else:
            # a loss that is not finite stands in no JSON, and is no better than any
            self.history.append(loss if math.isfinite(loss) else 1e30)
            print(f"epoch {len(self.history)}: validation loss {loss:.5f}")
            with self._progress.open("a", encoding="utf-8") as file:
                file.write("1\n")
        if loss < self.smallest:
            self.smallest = loss
            self.best = {name: tensor.detach().cpu().clone() for name, tensor in module.state_dict().items()}


def install(request: dict[str, Any], work: Path) -> Keeping:
    """Put the trainer in its place; return what it keeps."""
    keeping = Keeping(Path(request["progress"]))
    base: Any = lightning.Trainer
    read = torch.load

    class Trainer(base):  # type: ignore[misc]
        """Takes the arguments that DiffCSP's ``run.py`` gives."""

        def __init__(
            self,
            *,
            gpus: Any = 0,
            progress_bar_refresh_rate: Any = 0,
            resume_from_checkpoint: Any = None,
            callbacks: Any = (),
            **named: Any,
        ):
            del gpus, progress_bar_refresh_rate
            assert resume_from_checkpoint is None, "each run has a directory of its own"
            accelerator = "gpu" if request["device"] == "cuda" else "cpu"
            super().__init__(
                accelerator=accelerator,
                devices=1,
                callbacks=[*callbacks, keeping],
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
                **named,
            )

        def fit(self, model: Any, datamodule: Any) -> None:
            """Train, from the parent's weights where there are some."""
            if request["start"]:
                model.load_state_dict(read(request["start"], map_location="cpu", weights_only=True))
            super().fit(model, datamodule=datamodule)

        def test(self, *_args: Any, **_named: Any) -> list[Any]:
            """Nothing: the node measures what becomes of the draws."""
            return []

    def load(file: Any, *args: Any, **named: Any) -> Any:
        # The caches are arrays in a pickle that this process wrote a moment ago, in a directory that was empty before.
        if work in Path(str(file)).parents:
            named["weights_only"] = False
        return read(file, *args, **named)

    lightning.Trainer = Trainer
    vars(torch)["load"] = load
    return keeping
