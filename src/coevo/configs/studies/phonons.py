"""Settings of the studies of phonons: what is displaced, how it is relaxed, and how far unstable modes are followed."""

from __future__ import annotations

from pydantic import Field

from coevo.configs.section import Section


class PhononSettings(Section):
    """How phonons are found; all of it enters the result."""

    length: float = Field(default=10.0, ge=3.0, le=50.0, description="shortest distance of images in a supercell, Å")
    displacement: float = Field(default=0.1, ge=0.005, le=0.3, description="of an atom, Å; smaller ones meet rough curvature")
    fmax: float = Field(default=0.005, gt=0.0, le=0.1, description="force at which a relaxation ends, eV/Å")
    max_steps: int = Field(default=500, ge=1, le=10_000, description="relaxation steps, at most")
    follow: int = Field(default=3, ge=0, le=10, description="unstable modes that are followed, one after the other; 0: none")
    amplitudes: tuple[float, ...] = Field(
        default=(0.1, 0.25, 0.5), min_length=1, max_length=10, description="displacements along an unstable mode, Å"
    )
    max_atoms: int = Field(default=200, ge=1, le=2000, description="atoms of a cell that an unstable mode may need")


class PhononStudy(PhononSettings):
    """A study of dynamical stability at the relaxed cell: an unstable phase is called so, and its modes are not followed."""

    follow: int = Field(default=0, ge=0, le=10, description="unstable modes that are followed, one after the other; 0: none")
