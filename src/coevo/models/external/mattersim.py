"""MatterSim (Yang et al., arXiv:2405.04967 (2024)): an M3GNet trained on many materials, served by a worker."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from coevo.families.built_in import MATTERSIM_ENVIRONMENT
from coevo.models.external.force_field import ExternalForceField

if TYPE_CHECKING:
    from coevo.families import ExternalFamily


class MatterSimForceField(ExternalForceField):
    """MatterSim with published weights or a file of the user's own, or fine-tuned by MatterSim's own training loop.

    Notes
    -----
    A checkpoint holds one of MatterSim's own form (``checkpoint.pth``), which its calculator and its fine-tuning script read. It
    is read as tensors, numbers and texts only, and the network is built from a few numbers, so that reading one runs no code of
    whoever wrote it.
    """

    family: ClassVar[str] = "mattersim"
    external: ClassVar[ExternalFamily] = MATTERSIM_ENVIRONMENT
    atomic_numbers: ClassVar[frozenset[int]] = frozenset(range(1, 95))
