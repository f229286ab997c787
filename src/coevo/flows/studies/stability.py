"""The Flow of a study of stability at temperature and pressure: phonons, free energies over the volume, and what they make."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from jobflow import Flow

from coevo.errors import ConfigError
from coevo.flows.studies.inputs import StudyEstimate
from coevo.flows.studies.phonons import (
    PACKET,
    RELAXATION,
    cost_line,
    displaced,
    is_measured,
    phonon_jobs,
    phonon_settings,
    seconds,
    size_line,
)
from coevo.makers.populations.population import matching_of
from coevo.makers.studies.free_energies import FreeEnergyMaker
from coevo.makers.studies.stability import StabilityResultMaker

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pymatgen.core import Structure

    from coevo.configs.studies.stability import StabilityStudy
    from coevo.configs.tree import NodeConfig
    from coevo.flows.studies.inputs import StudyInputs

MOST_VALUES = 30_000
"""Phases times temperatures times pressures; each takes 210 bytes of a document, which has 8 MB at most."""


def make(config: NodeConfig, inputs: StudyInputs, settings: StabilityStudy) -> Flow:
    """Wire the study; raises ConfigError if phonopy is not here, or if the result would be too large to keep."""
    _require_size(len(inputs.phases), settings)
    phonons = phonon_jobs(inputs, phonon_settings(settings))
    jobs = []
    for number, packet in enumerate(phonons):
        maker = free_energy_maker(settings, inputs)  # one for each job, which is recorded under its Maker's name
        maker.name = f"{inputs.prefix}/free-energies/{number:04d}"
        jobs.append(maker.make(packet.output, inputs.force_field))
    result = StabilityResultMaker(
        f"{inputs.prefix}/stability-result",
        inputs.workers,
        phases=[dict(phase) for phase in inputs.phases],
        elements=list(config.node.elements),
        temperatures=list(settings.temperatures),
        pressures=list(settings.pressures),
        formula=settings.formula,
        matching=asdict(matching_of(config.curation)),
    ).make([job.output for job in jobs])
    return Flow([*phonons, *jobs, result], output=result.output, name=f"{inputs.prefix}/stability")


def _require_size(phases: int, settings: StabilityStudy) -> None:
    temperatures, pressures = len(settings.temperatures), len(settings.pressures)
    if phases * temperatures * pressures > MOST_VALUES:
        raise ConfigError(
            f"got {phases} phases at {temperatures} temperatures and {pressures} pressures, allowed: a product of {MOST_VALUES}; "
            "give fewer --temperatures or --pressures, a smaller --near, a filter or a --limit"
        )


def free_energy_maker(settings: StabilityStudy, inputs: StudyInputs) -> FreeEnergyMaker:
    """Return the Maker of free energies of a study."""
    return FreeEnergyMaker(
        workers=inputs.workers,
        settings=phonon_settings(settings),
        temperatures=list(settings.temperatures),
        pressure=max(settings.pressures),
        volumes=settings.volumes,
        compression=settings.compression,
        expansion=settings.expansion,
        mesh=settings.mesh,
        zero_point=settings.zero_point,
    )


def estimate(config: NodeConfig, structures: Sequence[Structure], settings: StabilityStudy) -> StudyEstimate:
    """Say what the study would cost; raises ConfigError if the result would be too large to keep."""
    _require_size(len(structures), settings)
    cells, atoms, largest = displaced(structures, settings)
    jobs = 2 * -(-len(structures) // PACKET) + 2
    lines = (
        size_line(cells, atoms, largest),
        f"and as many at each of {settings.volumes} volumes; more of them where a pressure asks for it",
        cost_line(config),
    )
    if not is_measured(config):
        return StudyEstimate(jobs, None, lines)
    return StudyEstimate(jobs, RELAXATION * (1 + settings.volumes) * seconds(config, atoms), lines)
