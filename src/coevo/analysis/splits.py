"""Train, validation and test by family: all frames of one structure stay together, for ever."""

from __future__ import annotations

import hashlib
from typing import Literal

from coevo.errors import AnalysisError

Split = Literal["train", "validation", "test"]


def split_of(family: str, *, test_fraction: float, validation_fraction: float, seed: int) -> Split:
    """Split of a family, from the hash of its id alone.

    It does not depend on other families or on the iteration. Raising ``test_fraction`` only moves families into test.

    Parameters
    ----------
    family : str
        Id of the source structure of the frames.
    test_fraction, validation_fraction : float
        Expected shares.
    seed : int

    Raises
    ------
    AnalysisError
        If the shares are not within [0, 1] together.
    """
    if test_fraction < 0 or validation_fraction < 0 or not test_fraction + validation_fraction <= 1:
        raise AnalysisError(
            f"test_fraction {test_fraction} and validation_fraction {validation_fraction} must be >= 0 and sum to at most 1"
        )
    position = position_of(family, seed)
    if position < test_fraction:
        return "test"
    return "validation" if position < test_fraction + validation_fraction else "train"


def position_of(family: str, seed: int) -> float:
    """Place of a family in [0, 1), from the hash of its id: test first, then validation, then train."""
    digest = hashlib.sha256(f"coevo-split:{seed}:{family}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2.0**64
