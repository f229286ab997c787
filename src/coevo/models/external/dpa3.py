"""DPA-3 (Zhang et al., arXiv:2506.01686): a graph network of DeePMD-kit, served by a worker."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from coevo.families.built_in import DPA3_ENVIRONMENT
from coevo.models.external.force_field import ExternalForceField

if TYPE_CHECKING:
    from coevo.families import ExternalFamily


class Dpa3ForceField(ExternalForceField):
    """DPA-3 with published weights, or fine-tuned with DeePMD-kit's own model and loss.

    Published weights are of one network with a branch for each set of training data, and named with the branch, such as
    ``DPA-3.1-3M-omat24``; it stays through all fits.

    Notes
    -----
    A fitted checkpoint holds a checkpoint of DeePMD-kit's own form (``model.pt``) of this one branch, which its calculator and
    ``dp --pt`` read. It is read as tensors, numbers and texts only, and the network is built from plain settings, so that reading
    one runs no code of whoever wrote it.
    """

    family: ClassVar[str] = "dpa3"
    external: ClassVar[ExternalFamily] = DPA3_ENVIRONMENT
    atomic_numbers: ClassVar[frozenset[int]] = frozenset([*range(1, 84), *range(89, 95)])
