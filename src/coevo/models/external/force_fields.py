"""Force fields with an environment of their own that come with coevo: what a family says of itself, in a class each."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from coevo.families.built_in import DPA3_ENVIRONMENT, MACE_ENVIRONMENT, MATTERSIM_ENVIRONMENT, SEVENNET_ENVIRONMENT
from coevo.models.external.force_field import ExternalForceField

if TYPE_CHECKING:
    from coevo.families import ExternalFamily

UP_TO_PLUTONIUM = frozenset([*range(1, 84), *range(89, 95)])
"""Atomic numbers of the usual training data: those from Po to Ra have none."""


class Dpa3ForceField(ExternalForceField):
    """DPA-3 with published weights, or fine-tuned with DeePMD-kit's own model and loss.

    A graph network of DeePMD-kit (Zhang et al., arXiv:2506.01686). Published weights are of one network with a branch for each
    set of training data, and named with the branch, such as ``DPA-3.1-3M-omat24``; it stays through all fits.

    Notes
    -----
    A fitted checkpoint holds a checkpoint of DeePMD-kit's own form (``model.pt``) of this one branch, which its calculator and
    ``dp --pt`` read. It is read as tensors, numbers and texts only, and the network is built from plain settings, so that reading
    one runs no code of whoever wrote it.
    """

    family: ClassVar[str] = "dpa3"
    external: ClassVar[ExternalFamily] = DPA3_ENVIRONMENT
    atomic_numbers: ClassVar[frozenset[int]] = UP_TO_PLUTONIUM


class MaceForceField(ExternalForceField):
    """MACE with published weights or a file of the user's own, or fine-tuned by MACE's own training step.

    An equivariant network of many-body messages (Batatia et al., NeurIPS 35, 11423 (2022)). Published weights have the names of
    ``mace_mp(model=…)``; those of a model with several heads are named with the one that is asked for, such as
    ``mh-1-matpes-r2scan``.

    Notes
    -----
    MACE's own files are pickles, which run code when they are read. What a checkpoint holds is tensors and the plain settings
    that the network is built from, so that reading one runs no code of whoever wrote it.
    """

    family: ClassVar[str] = "mace"
    external: ClassVar[ExternalFamily] = MACE_ENVIRONMENT
    atomic_numbers: ClassVar[frozenset[int]] = UP_TO_PLUTONIUM


class MatterSimForceField(ExternalForceField):
    """MatterSim with published weights or a file of the user's own, or fine-tuned by MatterSim's own training loop.

    An M3GNet trained on many materials, temperatures and pressures (Yang et al., arXiv:2405.04967 (2024)).

    Notes
    -----
    A checkpoint holds one of MatterSim's own form (``checkpoint.pth``), which its calculator and its fine-tuning script read. It
    is read as tensors, numbers and texts only, and the network is built from a few numbers, so that reading one runs no code of
    whoever wrote it.
    """

    family: ClassVar[str] = "mattersim"
    external: ClassVar[ExternalFamily] = MATTERSIM_ENVIRONMENT
    atomic_numbers: ClassVar[frozenset[int]] = frozenset(range(1, 95))


class SevenNetForceField(ExternalForceField):
    """SevenNet with published weights, or fine-tuned by SevenNet's own trainer.

    An equivariant network (Park et al., J. Chem. Theory Comput. 20, 4857 (2024)). Weights of several fidelities are named with
    their modality, such as ``7net-mf-0-r2scan``; it stays through all fits.

    Notes
    -----
    A fitted checkpoint holds a checkpoint of SevenNet's own form (``checkpoint.pth``), which its calculator and its commands
    read. It is read as tensors, numbers and texts only, and the network is built from plain settings, so that reading one runs no
    code of whoever wrote it.
    """

    family: ClassVar[str] = "sevennet"
    external: ClassVar[ExternalFamily] = SEVENNET_ENVIRONMENT
    atomic_numbers: ClassVar[frozenset[int]] = UP_TO_PLUTONIUM
