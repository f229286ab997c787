"""Force fields of which coevo needs no more than predictions of batches: evaluation and relaxation behind the contract."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, cast

from coevo.errors import ConfigError
from coevo.models.contracts import Failure, Prediction, Progress, Relaxation, RelaxationSettings

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from ase.calculators.calculator import Calculator
    from pymatgen.core import Structure

    from coevo.models.contracts import ForceField
    from coevo.models.relaxing.predictor import Predictor, Recipe


class BatchForceField:
    """The part of a force field that is the same for all families: batches, worker processes, checks and optimizers.

    A family says what it knows (``atomic_numbers``), gives its :attr:`predictor` and the :meth:`recipe` by which worker processes
    make one, and adds ``published``, ``load``, ``save`` and ``fit``.

    Attributes
    ----------
    atomic_numbers : collection of int
        Elements that the family knows; a structure with another one is a failure, ``unsupported_element``.
    evaluation_batch : int
        Structures per single-point batch; part of a result's identity where batches change the last digits.
    """

    family: ClassVar[str]
    atomic_numbers: ClassVar[Collection[int]] = range(1, 119)
    evaluation_batch: ClassVar[int] = 32

    @property
    def predictor(self) -> Predictor:
        """The model on its device."""
        raise NotImplementedError

    def recipe(self) -> Recipe:
        """How a worker process makes the same predictor."""
        raise NotImplementedError

    def evaluate(
        self, structures: Sequence[Structure], *, workers: int = 1, progress: Progress | None = None
    ) -> list[Prediction | Failure]:
        """Single points, in order; see :class:`~coevo.models.contracts.ForceField`."""
        from coevo.models.relaxing.predictor import evaluate_batch

        return self._run(structures, evaluate_batch, (), self.evaluation_batch, workers, progress)

    def relax(
        self,
        structures: Sequence[Structure],
        settings: RelaxationSettings,
        *,
        workers: int = 1,
        progress: Progress | None = None,
    ) -> list[Relaxation | Failure]:
        """Relax, in order; see :class:`~coevo.models.contracts.ForceField` and :mod:`coevo.models.relaxing.batch`."""
        from coevo.models.relaxing.batch import OPTIMISERS, relax_batch
        from coevo.models.relaxing.crystal import structure_with_geometry

        if settings.optimiser not in OPTIMISERS:
            raise ConfigError(f"optimiser {settings.optimiser!r} is unknown; allowed: {', '.join(sorted(OPTIMISERS))}")
        results: list[Relaxation | Failure] = []
        found = self._run(structures, relax_batch, (settings,), settings.batch_size, workers, progress)
        for structure, result in zip(structures, found, strict=True):
            if isinstance(result, Failure):
                results.append(result)
                continue
            results.append(
                Relaxation(
                    structure=structure_with_geometry(structure, result.positions, result.cell),
                    prediction=result.prediction,
                    steps=result.steps,
                    path=[structure_with_geometry(structure, positions, cell) for positions, cell in result.path],
                )
            )
        return results

    def calculator(self) -> Calculator:
        """An ASE calculator of this model: energy (eV), forces (eV/Å), stress (eV/Å³, Voigt)."""
        from coevo.models.calculator import ForceFieldCalculator

        return ForceFieldCalculator(cast("ForceField", self))

    def _run(
        self,
        structures: Sequence[Structure],
        function: Any,
        arguments: tuple[Any, ...],
        batch_size: int,
        workers: int,
        progress: Progress | None,
    ) -> list[Any]:
        """Apply a batch function to the structures that the family can take and put all results in their places."""
        from coevo.models.relaxing.crystal import Crystal, crystal_from_structure
        from coevo.models.relaxing.pool import run_batches

        results: list[Any] = [crystal_from_structure(one, self.atomic_numbers, self.family) for one in structures]
        # Batches are consecutive structures of the whole list, so that neither workers nor failures elsewhere change them.
        chunks = [range(start, min(start + batch_size, len(results))) for start in range(0, len(results), batch_size)]
        places = [[place for place in chunk if isinstance(results[place], Crystal)] for chunk in chunks]
        rejected = sum(isinstance(result, Failure) for result in results)
        if progress is not None and rejected:
            progress(rejected)
        places = [chunk for chunk in places if chunk]
        batches = [[results[place] for place in chunk] for chunk in places]
        found = run_batches(self.recipe, self.predictor, function, batches, arguments, workers=workers, progress=progress)
        for chunk, batch in zip(places, found, strict=True):
            for place, result in zip(chunk, batch, strict=True):
                results[place] = result
        return results
