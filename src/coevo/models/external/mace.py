"""MACE (Batatia et al., NeurIPS 35, 11423 (2022)): an equivariant network of many-body messages, served by a worker."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from coevo.families.built_in import MACE_ENVIRONMENT
from coevo.models.external.force_field import ExternalForceField

if TYPE_CHECKING:
    from coevo.families import ExternalFamily


class MaceForceField(ExternalForceField):
    """MACE with published weights or a file of the user's own, or fine-tuned by MACE's own training step.

    Published weights have the names of ``mace_mp(model=…)``; those of a model with several heads are named with the one that is
    asked for, such as ``mh-1-matpes-r2scan``.

    Notes
    -----
    MACE's own files are pickles, which run code when they are read. What a checkpoint holds is tensors and the plain settings
    that the network is built from, so that reading one runs no code of whoever wrote it.
    """

    family: ClassVar[str] = "mace"
    external: ClassVar[ExternalFamily] = MACE_ENVIRONMENT
    atomic_numbers: ClassVar[frozenset[int]] = frozenset([*range(1, 84), *range(89, 95)])
