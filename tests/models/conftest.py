"""What the tests of MatterGen, ADiT and DiffCSP share, made once in a run."""

from __future__ import annotations

from small_adit import adit_environment, small_adit
from small_diffcsp import small_diffcsp
from small_mattergen import crystals, small_model

from coevo.processes import preload

# Whichever test starts the server of the workers: the workers of all tests are forked from one that has imported these.
preload("coevo.models.chgnet.inference", "coevo.models.relaxing.batch", "coevo.models.random_crystals.draws")

__all__ = ["adit_environment", "crystals", "small_adit", "small_diffcsp", "small_model"]
