"""What the tests of MatterGen share, made once in a run."""

from __future__ import annotations

from small_mattergen import crystals, small_model

__all__ = ["crystals", "small_model"]
