"""A number of a state beside the same number computed again."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Comparison:
    """A number as the state has it and as it was found again.

    Attributes
    ----------
    name, unit : str
    stored, found : float or None
    tolerance : float
        In the unit.
    recorded : bool
        False of a number that states of that coevo do not have: it is told, and nothing is compared.
    """

    name: str
    unit: str
    stored: float | None
    found: float | None
    tolerance: float
    recorded: bool = True

    @property
    def agrees(self) -> bool:
        """Both unknown, or equal within the tolerance; or never recorded."""
        if not self.recorded:
            return True
        if self.stored is None or self.found is None:
            return self.stored is self.found
        return abs(self.stored - self.found) <= self.tolerance

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {**asdict(self), "agrees": self.agrees}
