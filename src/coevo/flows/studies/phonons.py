"""The Flow of a study of dynamical stability: phonons of packets of phases at their relaxed cells, and the result."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jobflow import Flow

from coevo.configs.studies.phonons import PhononSettings
from coevo.flows.studies.inputs import StudyEstimate
from coevo.makers.studies.phonons import PhononMaker
from coevo.makers.studies.stability import PhononResultMaker

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pymatgen.core import Structure

    from coevo.configs.studies.phonons import PhononStudy
    from coevo.configs.tree import NodeConfig
    from coevo.flows.studies.inputs import StudyInputs

PACKET = 8
"""Phases of a job."""
SECONDS_PER_ATOM = 4e-4
"""CPU seconds of CHGNet for an atom of a displaced supercell (0.39 ms, Li3PS4 of 128 atoms, one thread of a server processor)."""
RELAXATION = 1.3
"""Time of phonons with the relaxation before them, over that of the displaced supercells alone."""
MEASURED_FAMILY = "chgnet"


def make(config: NodeConfig, inputs: StudyInputs, settings: PhononStudy) -> Flow:  # noqa: ARG001 - all kinds are handed the same
    """Wire the study; raises ConfigError if phonopy is not here."""
    jobs = phonon_jobs(inputs, phonon_settings(settings))
    result = PhononResultMaker(f"{inputs.prefix}/phonon-result", inputs.workers, phases=[dict(phase) for phase in inputs.phases])
    gathered = result.make([job.output for job in jobs])
    return Flow([*jobs, gathered], output=gathered.output, name=f"{inputs.prefix}/phonons")


def phonon_settings(settings: PhononSettings) -> PhononSettings:
    """Return what of the settings of a study phonons depend on, so that studies share the jobs that find them."""
    return PhononSettings(**{name: getattr(settings, name) for name in PhononSettings.model_fields})


def phonon_jobs(inputs: StudyInputs, settings: PhononSettings) -> list[Any]:
    """Return a job of phonons for each packet of phases."""
    from coevo.analysis.phonons.supercells import require_phonopy

    require_phonopy()
    jobs = []
    for number, first in enumerate(range(0, len(inputs.phases), PACKET)):
        maker = PhononMaker(f"{inputs.prefix}/phonons/{number:04d}", inputs.workers, settings)
        jobs.append(maker.make(inputs.structures, inputs.force_field, first, PACKET))
    return jobs


def estimate(config: NodeConfig, structures: Sequence[Structure], settings: PhononStudy) -> StudyEstimate:
    """Say what the study would cost."""
    cells, atoms, largest = displaced(structures, settings)
    jobs = -(-len(structures) // PACKET) + 2
    lines = (size_line(cells, atoms, largest), cost_line(config))
    return (
        StudyEstimate(jobs, RELAXATION * seconds(config, atoms), lines)
        if is_measured(config)
        else StudyEstimate(jobs, None, lines)
    )


def displaced(structures: Sequence[Structure], settings: PhononSettings) -> tuple[int, int, int]:
    """Number of displaced supercells of crystals as they are, of all their atoms, and atoms of the largest supercell."""
    from coevo.analysis.phonons.supercells import displaced_cells

    found = [displaced_cells(one, length=settings.length, displacement=settings.displacement).structures for one in structures]
    sizes = [(len(cells), len(cells[0])) for cells in found]
    return sum(n for n, _ in sizes), sum(n * size for n, size in sizes), max((size for _, size in sizes), default=0)


def size_line(cells: int, atoms: int, largest: int) -> str:
    """Say how much is to be evaluated."""
    return f"{cells} supercells of up to {largest} atoms at the relaxed cells, {atoms} atoms in all"


def is_measured(config: NodeConfig) -> bool:
    """Whether it is known how long the force field takes."""
    return config.screening.force_field.family == MEASURED_FAMILY


def seconds(config: NodeConfig, atoms: int) -> float:  # noqa: ARG001 - of one family
    """CPU seconds of so many atoms."""
    return SECONDS_PER_ATOM * atoms


def cost_line(config: NodeConfig) -> str:
    """Say by what the time was measured; followed modes and many steps of relaxation are not in it."""
    if not is_measured(config):
        return f"how long {config.screening.force_field.family} takes is not known"
    return "time by CHGNet on one core of a server processor; modes that are followed are not in it"
