"""The Flow of a study of transport: short and hot first; what moves and stays whole goes on, longer and cooler."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobflow import Flow

from coevo.flows.studies.inputs import StudyEstimate
from coevo.makers.studies.transport import PACKET, FirstTransportMaker, repeats_of, shortest_time
from coevo.output.plain_text import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pymatgen.core import Structure

    from coevo.configs.studies.transport import TransportStudy
    from coevo.configs.tree import NodeConfig
    from coevo.flows.studies.inputs import StudyInputs

SECONDS_PER_ATOM_STEP = {"chgnet": 6.0e-4}
"""CPU seconds of an atom and step by family: 3.7e-4 to 4.5e-4 in benchmarks/results/transport.json, more beside other work."""


def make(config: NodeConfig, inputs: StudyInputs, settings: TransportStudy) -> Flow:  # noqa: ARG001 - all kinds are handed the same
    """Wire the study."""
    first = FirstTransportMaker(
        f"{inputs.prefix}/transport-first", inputs.workers, node=inputs.node, prefix=inputs.prefix, settings=settings
    ).make(inputs.structures, inputs.force_field)
    return Flow([first], output=first.output, name=f"{inputs.prefix}/transport")


def too_short(settings: TransportStudy) -> str:
    """Say that the first run is too short for a coefficient, so that nothing goes on; empty if it is not."""
    least = shortest_time(settings)
    if settings.first_time >= least - 1e-9:
        return ""
    return (
        f"a first run of {settings.first_time:g} ps is too short for a coefficient, so that every phase stops after it: "
        f"at least {least:g} ps are wanted"
    )


def estimate(config: NodeConfig, structures: Sequence[Structure], settings: TransportStudy) -> StudyEstimate:
    """Say what the study would cost if all goes on after the first run; the first runs alone, if these are too short for that."""
    sizes = []
    for structure in structures:
        a, b, c = repeats_of(structure, settings.length)
        size = a * b * c * len(structure)
        if size <= settings.max_atoms and settings.mobile in {site.specie.symbol for site in structure}:
            sizes.append(size)
    atoms, left = sum(sizes), len(structures) - len(sizes)
    runs = len(settings.temperatures) * settings.replicas
    first, whole = (sum(settings.chunks(time)) for time in (settings.first_time, settings.time))
    short = too_short(settings)
    rest = 0 if short else whole * runs - first
    packets = -(-len(sizes) // PACKET)
    cooler = -(-len(sizes) * (runs - 1) // PACKET)
    jobs = packets * len(settings.chunks(settings.first_time)) + 4
    remaining = settings.time - settings.first_time
    if not short:
        jobs += packets * (len(settings.chunks(remaining)) if remaining else 0) + cooler * len(settings.chunks(settings.time))
    family = config.screening.force_field.family
    rate = SECONDS_PER_ATOM_STEP.get(family)
    lines = [
        (
            f"{counted(len(sizes), 'supercells')}, {atoms} atoms; first {settings.first_time:g} ps at "
            f"{settings.temperatures[-1]:g} K, then up to {counted(runs, 'runs')} of {settings.time:g} ps for each that moves "
            "and stays whole"
        ),
        "a step at each temperature costs the same: time is atoms times steps",
    ]
    lines += filter(None, [short])
    if left:
        lines.append(f"{counted(left, 'phases')} left out: without {settings.mobile}, or more than {settings.max_atoms} atoms")
    if rate is None:
        return StudyEstimate(jobs, None, (*lines, f"how long {family} takes is not known"))
    lines.append(
        f"first runs alone {rate * atoms * first / 3600.0:.3g} CPU h; by {rate * 1000.0:.2g} CPU ms an atom and "
        f"step of {family} on one core of a server processor"
    )
    return StudyEstimate(jobs, rate * atoms * (first + rest), tuple(lines))
