"""Settings of a study of stability at temperature and pressure."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated

from pydantic import Field, model_validator

from coevo.configs.studies.phonons import PhononSettings

Temperature = Annotated[float, Field(ge=0.0, le=5000.0)]
Pressure = Annotated[float, Field(ge=0.0, le=100.0)]


class StabilityStudy(PhononSettings):
    """Where free energies are asked for, and over which volumes they are found; beside how phonons are."""

    temperatures: tuple[Temperature, ...] = Field(
        default=(0.0, 300.0, 600.0, 900.0), min_length=1, max_length=200, description="K, ascending"
    )
    pressures: tuple[Pressure, ...] = Field(default=(0.0,), min_length=1, max_length=50, description="GPa, ascending")
    near: float = Field(default=0.05, ge=0.0, le=10.0, description="phases up to so far above the hull are looked at, eV/atom")
    formula: str = Field(default="", max_length=100, description="polymorphs of this formula only, without a hull")
    volumes: int = Field(default=9, ge=5, le=30, description="volumes of the equation of state, at least")
    compression: float = Field(default=0.04, gt=0.0, le=0.3, description="of the smallest volume, before any pressure")
    expansion: float = Field(default=0.12, gt=0.0, le=0.5, description="of the largest volume")
    mesh: float = Field(default=60.0, ge=5.0, le=300.0, description="length of the mesh of q points, Å")
    zero_point: bool = Field(default=True, description="whether nuclei have their zero-point energy")

    @model_validator(mode="after")
    def _ascending(self) -> StabilityStudy:
        for name, values in (("temperatures", self.temperatures), ("pressures", self.pressures)):
            if any(one >= other for one, other in pairwise(values)):
                raise ValueError(
                    f"{name}: got {', '.join(f'{value:g}' for value in values)}, allowed: ascending values, each once"
                )
        return self
