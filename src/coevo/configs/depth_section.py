"""The section ``generator.depth`` of a configuration: many draws of few formulas, beside the draws that explore."""

from __future__ import annotations

from pydantic import Field

from coevo.configs.section import Fraction, Section


class DepthConfig(Section):
    """Formulas in focus, of the embedded generator."""

    share: Fraction = Field(default=0.0, description="share of the embedded generator's draws for formulas in focus; 0: no focus")
    formulas: int = Field(default=30, ge=1, le=1000, description="formulas in focus at a time, at most")
    draws: int = Field(
        default=50, ge=1, le=100_000, description="draws of each formula in focus in an iteration; fewer formulas, if need be"
    )
    even_cells: bool = Field(
        default=False,
        description="draws that explore take small cells of a formula as often as large ones; false: large ones more often",
    )

    @property
    def in_use(self) -> bool:
        """Whether there is a focus at all."""
        return self.share > 0

    def number(self, candidates: int) -> int:
        """Formulas in focus, at most: as many as can have their draws, and one at least."""
        return max(1, min(self.formulas, int(self.share * candidates + 1e-9) // self.draws)) if self.in_use else 0
