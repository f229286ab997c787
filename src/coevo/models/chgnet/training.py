"""Fine-tuning on labelled frames: energies, forces and stresses, with early stopping on validation frames."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from coevo.errors import ModelError
from coevo.models.chgnet.adam import Adam
from coevo.models.chgnet.architecture import ATOMIC_NUMBERS, COMPOSITION_KEY
from coevo.models.chgnet.graph import CandidatePairs
from coevo.models.chgnet.graph_tensors import GraphTensors, graph_tensors, scatter
from coevo.models.chgnet.network import Network
from coevo.models.chgnet.weights import Weights
from coevo.models.contracts import Failure
from coevo.models.early_stopping import EarlyStopping
from coevo.models.relaxing.crystal import Crystal, crystal_from_structure
from coevo.models.relaxing.pool import reproducible_torch
from coevo.models.relaxing.predictor import usable_pairs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from coevo.models.contracts import FitSettings, Progress, TrainingFrame
    from coevo.models.early_stopping import HullWatch
    from coevo.models.relaxing.neighbours import PairList

GPA = 160.21766208
"""GPa per eV/Å³, as in CHGNet's own training, where the stress loss is in GPa."""
HUBER_DELTA = 0.1
"""Where the loss turns from quadratic to linear: eV/atom, eV/Å, GPa (CHGNet's published training)."""
ENERGY_WEIGHT = 10.0
"""Weight of the energy loss: a frame has one energy and dozens of force components, and with a weight of 1, as in CHGNet's own
training, fine-tuning on some tens of frames made held-out energies worse while forces improved."""
GRADIENT_NORM = 1.0
"""Gradients are clipped to this norm: one frame far from equilibrium must not undo the pretraining."""
FINAL_RATE = 0.1
"""The learning rate falls to this share of its start along a cosine."""


@dataclass(frozen=True)
class _Frame:
    crystal: Crystal
    pairs: PairList
    energy: float
    forces: np.ndarray
    stress: np.ndarray


@dataclass(frozen=True)
class _Batch:
    graph: GraphTensors
    vectors: Tensor
    counts: Tensor
    volumes: Tensor
    energies: Tensor
    forces: Tensor
    stresses: Tensor


@dataclass(frozen=True)
class _Residuals:
    """Prediction minus label of a batch: eV/atom, eV/Å, GPa."""

    energy: Tensor
    forces: Tensor
    stress: Tensor


def fine_tune(
    weights: Weights,
    training: Sequence[TrainingFrame],
    validation: Sequence[TrainingFrame],
    settings: FitSettings,
    seed: int,
    *,
    device: str = "cpu",
    progress: Progress | None = None,
    watch: HullWatch | None = None,
) -> tuple[Weights, dict[str, Any]]:
    """Return the weights of the epoch with the lowest validation loss (epoch 0 is the start), and a report.

    Where a hull is watched, those of the epoch that :class:`coevo.models.early_stopping.EarlyStopping` finds best.

    The loss of a batch is ``10 H(ΔE) + force_weight · H(ΔF) + stress_weight · H(Δσ)`` with the mean Huber function H of energies
    in eV/atom, force components in eV/Å and stress components in GPa. All parameters are trained but CHGNet's energies of the
    elements (AtomRef). Adam, learning rate along a cosine. The same arguments give the same weights.

    Raises
    ------
    ModelError
        If no frame of either kind is usable, a label is not finite, or the loss stops being a number.
    """
    with reproducible_torch(torch.device(device).type):
        run = _FineTuning(weights, training, validation, settings, seed, torch.device(device), watch)
        return run.run(progress)


class _FineTuning:
    def __init__(
        self,
        weights: Weights,
        training: Sequence[TrainingFrame],
        validation: Sequence[TrainingFrame],
        settings: FitSettings,
        seed: int,
        device: torch.device,
        watch: HullWatch | None,
    ) -> None:
        self.start = weights
        self.settings = settings
        self.device = device
        self.rng = np.random.default_rng(seed)
        self.element_energies = weights.parameters[COMPOSITION_KEY][0].numpy().astype(np.float64)
        self.training, unusable = self._prepare(training, "training")
        held_out, unusable_validation = self._prepare(validation, "validation")
        self.unusable = unusable + unusable_validation
        size = settings.batch_size
        self.validation = [self._batch(held_out[i : i + size]) for i in range(0, len(held_out), size)]
        self.n_validation = len(held_out)
        self.watch, self.watched = self._watched(watch) if watch is not None else (None, [])
        self.trained = {
            name: tensor.to(device).clone().requires_grad_(True)
            for name, tensor in weights.parameters.items()
            if name != COMPOSITION_KEY
        }

    def run(self, progress: Progress | None) -> tuple[Weights, dict[str, Any]]:
        """Train until the epochs or the patience end."""
        settings = self.settings
        final_rate = FINAL_RATE * settings.learning_rate
        optimiser = Adam(list(self.trained.values()), settings.learning_rate, final_rate, settings.epochs)
        loss, before = self._validate()
        stopping = EarlyStopping(settings.patience, loss, self._spread())
        best, after = self._copy(), before
        history: list[dict[str, float]] = [{"epoch": 0, "validation_loss": loss, **stopping.said()}]
        for epoch in range(1, settings.epochs + 1):
            training_loss = self._epoch(optimiser)
            optimiser.end_epoch()
            loss, errors = self._validate()
            is_best = stopping.is_best(epoch, loss, self._spread())
            history.append({"epoch": epoch, "training_loss": training_loss, "validation_loss": loss, **stopping.said()})
            if progress is not None:
                progress(1)
            if is_best:
                best, after = self._copy(), errors
            elif stopping.is_over(epoch):
                break
        report = {
            "frames": {"training": len(self.training), "validation": self.n_validation, "unusable": self.unusable},
            "epochs": history,
            "best_epoch": stopping.best_epoch,
            "validation_before": before,
            "validation_after": after,
            **({"watched": len(self.watch.energies)} if self.watch is not None else {}),
        }
        return Weights(self.start.architecture, best), report

    def _prepare(self, frames: Sequence[TrainingFrame], kind: str) -> tuple[list[_Frame], int]:
        usable = []
        for index, frame in enumerate(frames):
            values = (frame.energy, frame.forces, frame.stress)
            if not all(np.isfinite(value).all() for value in values):
                raise ModelError(f"{kind} frame {index} ({frame.structure.formula}) has a label that is not finite; leave it out")
            crystal = crystal_from_structure(frame.structure, ATOMIC_NUMBERS, "chgnet")
            if isinstance(crystal, Failure):
                continue
            if np.shape(frame.forces) != (len(crystal), 3) or np.shape(frame.stress) != (3, 3):
                raise ModelError(
                    f"{kind} frame {index} has forces {np.shape(frame.forces)} and stress {np.shape(frame.stress)}; "
                    f"expected ({len(crystal)}, 3) and (3, 3)"
                )
            pairs = usable_pairs(crystal.positions, crystal.cell, self.start.architecture.atom_graph_cutoff)
            if isinstance(pairs, Failure):
                continue
            usable.append(_Frame(crystal, pairs, float(frame.energy), np.asarray(frame.forces), np.asarray(frame.stress)))
        if not usable:
            raise ModelError(f"none of the {len(frames)} {kind} frames can be used; a fit needs training and validation frames")
        return usable, len(frames) - len(usable)

    def _watched(self, watch: HullWatch) -> tuple[HullWatch | None, list[_Batch]]:
        """What can be watched, and its structures in batches, whose labels are zero and are not asked for."""
        crystals = [crystal_from_structure(structure, ATOMIC_NUMBERS, "chgnet") for structure in watch.structures]
        found: list[_Frame | None] = []
        for crystal in crystals:
            if isinstance(crystal, Failure):
                found.append(None)
                continue
            pairs = usable_pairs(crystal.positions, crystal.cell, self.start.architecture.atom_graph_cutoff)
            no_forces = np.zeros((len(crystal), 3))
            found.append(None if isinstance(pairs, Failure) else _Frame(crystal, pairs, 0.0, no_forces, np.zeros((3, 3))))
        kept, size = watch.among([frame is not None for frame in found]), self.settings.batch_size
        frames = [frame for frame in found if frame is not None] if kept is not None else []
        return kept, [self._batch(frames[i : i + size]) for i in range(0, len(frames), size)]

    def _spread(self) -> float | None:
        """Spread of the hull that is watched, by the parameters as they are now, eV/atom."""
        if self.watch is None:
            return None
        parameters = {name: tensor.detach() for name, tensor in self.trained.items()}
        network, energies = Network(self.start.architecture, parameters), []
        for batch in self.watched:
            found = network.energies(batch.graph, batch.vectors).detach().to(torch.float32) / batch.counts
            energies.append((found - batch.energies).cpu().numpy())  # minus the energies of the elements: labels are zero
        return self.watch.spread(np.concatenate(energies).astype(np.float64))

    def _batch(self, frames: Sequence[_Frame]) -> _Batch:
        architecture = self.start.architecture
        crystals = [frame.crystal for frame in frames]
        graph = CandidatePairs([c.numbers for c in crystals], [frame.pairs for frame in frames]).graph(
            np.concatenate([c.positions for c in crystals]),
            np.stack([c.cell for c in crystals]),
            architecture.atom_graph_cutoff,
            architecture.bond_graph_cutoff,
        )
        reference = [float(self.element_energies[c.numbers - 1].mean()) for c in crystals]
        energies = np.array([frame.energy for frame in frames]) - np.array(reference)

        def tensor(array: Any) -> Tensor:
            return torch.tensor(np.asarray(array), dtype=torch.float32, device=self.device)

        return _Batch(
            graph=graph_tensors(graph, self.device),
            vectors=tensor(graph.vectors).requires_grad_(True),
            counts=tensor(graph.counts),
            volumes=tensor([c.volume for c in crystals]),
            energies=tensor(energies),
            forces=tensor(np.concatenate([frame.forces for frame in frames])),
            stresses=tensor(np.stack([frame.stress for frame in frames]) * GPA),
        )

    def _residuals(self, batch: _Batch, *, train: bool) -> _Residuals:
        graph, vectors = batch.graph, batch.vectors
        parameters: Mapping[str, Tensor] = self.trained
        if not train:
            parameters = {name: tensor.detach() for name, tensor in self.trained.items()}
        energies = Network(self.start.architecture, parameters).energies(graph, vectors)
        (slope,) = torch.autograd.grad(energies.sum(), vectors, create_graph=train)
        forces = scatter(torch.cat([slope, -slope]), graph.centres)
        products = (vectors.detach()[:, :, None] * slope[:, None, :]).reshape(-1, 9)
        virials = products.new_zeros((graph.n_crystals, 9)).index_add(0, graph.bond_owner, products).reshape(-1, 3, 3)
        stresses = 0.5 * (virials + virials.transpose(1, 2)) * (GPA / batch.volumes)[:, None, None]
        return _Residuals(
            energy=energies.to(torch.float32) / batch.counts - batch.energies,
            forces=forces - batch.forces,
            stress=stresses - batch.stresses,
        )

    def _loss(self, residuals: _Residuals) -> Tensor:
        def huber(difference: Tensor) -> Tensor:
            return torch.nn.functional.huber_loss(difference, torch.zeros_like(difference), delta=HUBER_DELTA)

        loss = ENERGY_WEIGHT * huber(residuals.energy) + self.settings.force_weight * huber(residuals.forces)
        return loss + self.settings.stress_weight * huber(residuals.stress)

    def _epoch(self, optimiser: Adam) -> float:
        """One pass over the training frames in a random order; return the mean loss."""
        order = self.rng.permutation(len(self.training))
        total = 0.0
        for start in range(0, len(order), self.settings.batch_size):
            chosen = [self.training[i] for i in order[start : start + self.settings.batch_size]]
            loss = self._loss(self._residuals(self._batch(chosen), train=True))
            value = float(loss.detach())
            if not np.isfinite(value):
                raise ModelError(
                    f"the training loss became {value}; use a smaller learning_rate (now {self.settings.learning_rate:g}) "
                    "or look for frames with huge forces"
                )
            optimiser.zero_grad()
            loss.backward()
            norm = torch.nn.utils.clip_grad_norm_(list(self.trained.values()), GRADIENT_NORM)
            if not bool(torch.isfinite(norm)):
                raise ModelError(
                    f"a gradient became {float(norm)}; use a smaller learning_rate or look for frames with huge forces"
                )
            optimiser.step()
            total += value * len(chosen)
        return total / len(order)

    def _validate(self) -> tuple[float, dict[str, float]]:
        """Mean loss over the validation frames, and root-mean-square errors."""
        loss, squares, sizes = 0.0, np.zeros(3), np.zeros(3)
        for batch in self.validation:
            residuals = self._residuals(batch, train=False)
            loss += float(self._loss(residuals).detach()) * len(batch.counts)
            for k, part in enumerate((residuals.energy, residuals.forces, residuals.stress)):
                squares[k] += float((part.detach().to(torch.float64) ** 2).sum())
                sizes[k] += part.numel()
        loss /= self.n_validation
        if not np.isfinite(loss):
            raise ModelError(f"the validation loss became {loss}; use a smaller learning_rate")
        energy, force, stress = np.sqrt(squares / sizes)
        return loss, {
            "energy_rmse_mev_per_atom": 1e3 * float(energy),
            "force_rmse_mev_per_angstrom": 1e3 * float(force),
            "stress_rmse_gpa": float(stress),
        }

    def _copy(self) -> dict[str, Tensor]:
        copied = {name: tensor.detach().cpu().clone() for name, tensor in self.trained.items()}
        copied[COMPOSITION_KEY] = self.start.parameters[COMPOSITION_KEY].clone()
        return {name: copied[name] for name in sorted(copied)}
