"""A worker as the predictor of evaluation and relaxation: batches that it dies of, or that are too large for it, are halved."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from coevo.errors import ModelError
from coevo.models.contracts import Failure
from coevo.models.external.worker import NotAskedError, RefusedBatchError, WorkerGoneError
from coevo.models.external.workers import worker_for
from coevo.models.relaxing.halved_batches import note_halved_batches
from coevo.models.relaxing.predictor import BatchPrediction

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from coevo.models.contracts import FloatArray
    from coevo.models.external.worker import Greeting, WorkerModel
    from coevo.models.relaxing.neighbours import PairList

REFUSALS = {"out_of_memory": "out_of_memory", "error": "calculation_failed"}
"""What a worker says of a batch, and the reason of the failure when that is one crystal."""


@dataclass
class _Batch:
    """The crystals of one question, and the answers that came so far."""

    numbers: NDArray[np.int64]
    counts: NDArray[np.int64]
    positions: FloatArray
    cells: FloatArray
    energies: FloatArray = field(init=False)
    forces: FloatArray = field(init=False)
    stresses: FloatArray = field(init=False)
    failures: dict[int, Failure] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n = len(self.counts)
        self.energies, self.forces, self.stresses = np.zeros(n), np.zeros((len(self.numbers), 3)), np.zeros((n, 3, 3))
        self.bounds = np.concatenate([[0], np.cumsum(self.counts)])


class RemotePredictor:
    """What a worker says of a model; see :class:`coevo.models.relaxing.predictor.Predictor`.

    The worker is started when something is asked of it, and again after it has ended. A batch that it dies of is asked once more
    of a new worker; if that dies too, the halves are asked, and so on down to single crystals, of which one that no worker
    survives is a failure, ``crashed``. A batch that is out of memory is halved likewise. Which batches there were is a matter of
    the last digits: where it was not those that were asked for, the log says so, and the job is told
    (:mod:`coevo.models.relaxing.halved_batches`).

    Parameters
    ----------
    model : WorkerModel
    """

    def __init__(self, model: WorkerModel):
        self.model = model
        self._greeting: Greeting | None = None
        self._element_energies: FloatArray | None = None
        self._answered = False
        self._story = ""

    @property
    def greeting(self) -> Greeting:
        """What the worker says of itself."""
        if self._greeting is None:
            self._greeting = worker_for(self.model).greeting
            known = self._greeting.element_energies
            self._element_energies = np.array([known.get(z, np.nan) for z in range(119)]) if known else None
        return self._greeting

    @property
    def cutoff(self) -> float:
        """Å."""
        return self.greeting.cutoff

    @property
    def device_type(self) -> str:
        """``cpu`` or ``cuda``."""
        return self.model.device.partition(":")[0]

    def predict(
        self,
        numbers: NDArray[np.int64],
        counts: NDArray[np.int64],
        positions: FloatArray,
        cells: FloatArray,
        *,
        pairs: Sequence[PairList] = (),  # noqa: ARG002 - families search for themselves
    ) -> BatchPrediction:
        """Predict a batch; see :class:`coevo.models.relaxing.predictor.Predictor`.

        Raises
        ------
        ModelError
            If no worker survives any crystal, nor a plain one: that is not a matter of these crystals.
        """
        batch = _Batch(numbers, counts, positions, cells)
        self._ask(batch, 0, len(counts), again=True)
        crashed = [failure for failure in batch.failures.values() if failure.reason == "crashed"]
        if not self._answered and len(crashed) == len(counts):
            self._ask_something_plain(len(counts), crashed[0].detail)
        virials = batch.stresses * np.abs(np.linalg.det(cells))[:, None, None]
        return BatchPrediction(batch.energies, batch.forces, virials, self._interaction(batch), batch.failures)

    def _ask_something_plain(self, count: int, detail: str) -> None:
        """Ask for one atom of the first element in a cube: a family that does not survive that is no family that works.

        Without it, whether crystals at which every worker dies are failures would depend on what this process was asked before.
        """
        edge = min(3.0, 0.8 * self.cutoff)
        plain = _Batch(np.array([min(self.greeting.elements)]), np.array([1]), np.zeros((1, 3)), edge * np.eye(3)[None])
        self._ask(plain, 0, 1, again=True)
        if not self._answered:
            raise ModelError(
                f"{self.model.family.name}: no worker survived any of {count} structures, nor one atom in a cube of {edge:g} Å: "
                f"{detail}{self._story}"
            )

    def _ask(self, batch: _Batch, first: int, last: int, *, again: bool, halved: str = "") -> None:
        """Fill in the answers of the crystals from ``first`` to before ``last``.

        ``again`` says whether no worker died of them yet, ``halved`` why they are only a part.
        """
        rows = slice(batch.bounds[first], batch.bounds[last])
        try:
            found = self._answer(batch.numbers[rows], batch.counts[first:last], batch.positions[rows], batch.cells[first:last])
        except WorkerGoneError as err:
            if again:
                self._ask(batch, first, last, again=False, halved=halved)
                return
            reason, detail, self._story = "crashed", str(err), err.story
        except RefusedBatchError as err:
            reason, detail = REFUSALS[err.reason], str(err)
            self._answered = True
        else:
            batch.energies[first:last], batch.forces[rows], batch.stresses[first:last] = found
            self._answered = True
            if halved:
                note_halved_batches({halved: last - first})
            return
        if last - first == 1:
            batch.failures[first] = Failure(reason, detail)
            return
        middle = (first + last) // 2
        self._ask(batch, first, middle, again=again, halved=reason)
        self._ask(batch, middle, last, again=again, halved=reason)

    def _answer(self, *question: Any) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Ask a worker that is there when it is asked: another thread may have ended the one that was there just now."""
        while True:
            with suppress(NotAskedError):
                return worker_for(self.model).predict(*question)

    def _interaction(self, batch: _Batch) -> FloatArray | None:
        """Energies beyond those of the elements, eV/atom, if the family knows them; zero where one of them is not known."""
        if self._element_energies is None:
            return None
        owner = np.repeat(np.arange(len(batch.counts)), batch.counts)
        elements = np.bincount(owner, self._element_energies[batch.numbers], minlength=len(batch.counts))
        interaction: FloatArray = np.nan_to_num((batch.energies - elements) / batch.counts)
        return interaction


def predictor_of(model: WorkerModel) -> RemotePredictor:
    """Make the predictor in a worker process of coevo."""
    return RemotePredictor(model)
