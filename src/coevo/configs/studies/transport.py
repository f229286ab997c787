"""Settings of a study of transport: temperatures and times, and how atoms move."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated

from pydantic import Field, model_validator

from coevo.configs.section import Section

Temperature = Annotated[float, Field(gt=0.0, le=5000.0)]


class TransportStudy(Section):
    """What moves, how hot and how long; all of it enters the result."""

    mobile: str = Field(default="Li", pattern=r"^[A-Z][a-z]?$", description="element that moves")
    charge: float = Field(default=1.0, ge=-4.0, le=4.0, description="of a mobile ion, elementary charges")
    temperatures: tuple[Temperature, ...] = Field(
        default=(600.0, 800.0, 1000.0), min_length=1, max_length=20, description="K, ascending"
    )
    time: float = Field(default=100.0, gt=0.0, le=1e6, description="of a run, ps")
    first_time: float = Field(
        default=20.0, gt=0.0, le=1e6, description="of the first run, at the highest temperature, which decides what goes on, ps"
    )
    replicas: int = Field(default=3, ge=1, le=100, description="independent runs at each temperature; one in the first run")
    length: float = Field(default=10.0, ge=3.0, le=100.0, description="shortest distance of images in a supercell, Å")
    max_atoms: int = Field(default=400, ge=1, le=10_000, description="of a supercell; a longer crystal is left out and named")
    timestep: float = Field(default=2.0, gt=0.0, le=10.0, description="fs")
    friction: float = Field(default=1.0, gt=0.0, le=100.0, description="of the Langevin thermostat, 1/ps")
    frame: float = Field(default=0.1, gt=0.0, le=10.0, description="from one stored frame to the next, ps")
    equilibration: float = Field(default=1.0, ge=0.0, le=1000.0, description="that is not analysed, at the start of each run, ps")
    chunk: float = Field(default=5.0, gt=0.0, le=1000.0, description="of a job, after which a killed run goes on, ps")
    batch_atoms: int = Field(default=256, ge=1, le=100_000, description="atoms that move together; more on a GPU")
    seed: int = Field(default=0, ge=0, description="of velocities and noise")
    extrapolate: float = Field(default=300.0, gt=0.0, le=5000.0, description="where the Arrhenius line is read, K")

    @model_validator(mode="after")
    def _consistent(self) -> TransportStudy:
        if any(one >= other for one, other in pairwise(self.temperatures)):
            raise ValueError(
                f"temperatures: got {', '.join(f'{t:g}' for t in self.temperatures)}, allowed: ascending values, each once"
            )
        if self.first_time > self.time:
            raise ValueError(f"first_time: got {self.first_time:g} ps, allowed: at most time, {self.time:g} ps")
        if self.frame * 1000.0 < self.timestep:
            raise ValueError(f"frame: got {self.frame:g} ps, allowed: at least a timestep, {self.timestep:g} fs")
        return self

    @property
    def every(self) -> int:
        """Steps from one frame to the next."""
        return max(1, round(self.frame * 1000.0 / self.timestep))

    def chunks(self, time: float) -> list[int]:
        """Steps of the jobs that a run of so many ps is cut into, each a whole number of frames."""
        frames = max(1, round(time * 1000.0 / (self.timestep * self.every)))
        each = max(1, round(self.chunk * 1000.0 / (self.timestep * self.every)))
        parts = [each] * (frames // each) + ([frames % each] if frames % each else [])
        return [part * self.every for part in parts]
