"""SevenNet (Park et al., J. Chem. Theory Comput. 20, 4857 (2024)): an equivariant network, served by a worker."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from coevo.families.built_in import SEVENNET_ENVIRONMENT
from coevo.models.external.force_field import ExternalForceField

if TYPE_CHECKING:
    from coevo.families import ExternalFamily


class SevenNetForceField(ExternalForceField):
    """SevenNet with published weights, or fine-tuned by SevenNet's own trainer.

    Weights of several fidelities are named with their modality, such as ``7net-mf-0-r2scan``; it stays through all fits.

    Notes
    -----
    A fitted checkpoint holds a checkpoint of SevenNet's own form (``checkpoint.pth``), which its calculator and its commands
    read. It is read as tensors, numbers and texts only, and the network is built from plain settings, so that reading one runs no
    code of whoever wrote it.
    """

    family: ClassVar[str] = "sevennet"
    external: ClassVar[ExternalFamily] = SEVENNET_ENVIRONMENT
    atomic_numbers: ClassVar[frozenset[int]] = frozenset([*range(1, 84), *range(89, 95)])
