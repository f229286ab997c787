"""Which kind of allocation each step of the loop gets."""

from __future__ import annotations

from types import MappingProxyType
from typing import Literal

from coevo.errors import CheckpointError, ConfigError
from coevo.families import descriptor_of

ClassName = Literal["gpu", "screen", "label", "small"]
CLASS_NAMES: tuple[ClassName, ...] = ("gpu", "screen", "label", "small")

STEP_CLASSES: MappingProxyType[str, ClassName] = MappingProxyType(
    {
        "generate": "gpu",
        "train-generator": "gpu",
        "train-force-field": "gpu",
        "train-member": "gpu",
        "race": "screen",
        "screen": "screen",
        "breed": "small",  # a fit of the embedded generator: it counts, and compares the candidates with the entries
        "re-evaluate": "screen",
        "re-evaluate-member": "screen",
        "spread": "screen",
        "calibrate": "screen",
        "evaluate-references": "screen",
        "calibrate-environments": "screen",
        "fit-offsets": "screen",  # energies of labelled structures; nothing is trained
        "label": "label",  # the job that cuts the packets as well: it asks the code for the digest of its settings
        "choose": "small",
        "curate": "small",
        "select": "small",
        "unite": "small",
        "assess": "small",
        "opinions": "small",
        "audit": "screen",  # and the job that draws and cuts, which writes the auditor's weights
        "audit-label": "label",  # the same with a first-principles code, as for label
        "judge-audit": "small",
        "measure": "small",  # of the force field it asks single points of at most 500 frames
        "commit": "small",
        "phonons": "screen",
        "free-energies": "screen",
        "phonon-result": "small",
        "stability-result": "small",
        "molecular-dynamics": "screen",  # by the force field, in batches; a site with GPUs may give it one
        "transport-first": "screen",
        "transport-continue": "screen",  # what moves on after the first runs; the job that cuts it is small
        "transport-result": "small",
        "commit-study": "small",
        "continue": "small",
        "store_inputs": "small",  # jobflow's own job, which collects the outputs of jobs that replaced one
    }
)
"""Class of the jobs of each step of the loop and of studies."""
CUTTING_STEPS = frozenset(
    {"re-evaluate", "evaluate-references", "re-evaluate-member", "spread", "transport-first", "transport-continue"}
)
"""Steps whose job ``NODE/ITERATION/STEP`` only cuts work into the shards ``…/0000``, which have the class of the step."""
WITHOUT_GPU: MappingProxyType[str, ClassName] = MappingProxyType({"generate": "screen", "train-generator": "small"})
"""Class of the jobs ``…/STEP/FAMILY`` of a node of several generators whose family draws in coevo's own worker processes."""


def class_of(job: str) -> ClassName:
    """Return the class of a job.

    Parameters
    ----------
    job : str
        Its name, ``NODE/ITERATION/STEP[/SHARD]``, or a step alone.

    Raises
    ------
    ConfigError
        If the step is not in :data:`STEP_CLASSES`: every step has its class on purpose.
    """
    parts = job.split("/")
    step = _step(parts)
    if step not in STEP_CLASSES:
        raise ConfigError(f"job {job!r}: no class for the step {step!r}; allowed: {', '.join(STEP_CLASSES)}")
    if step in CUTTING_STEPS and len(parts) == 3:
        return "small"
    return _class_of_work(step, parts)


def class_of_shards(job: str) -> ClassName:
    """Return the class of the jobs that a job returns in its place, as one that cuts work does; raises as :func:`class_of`."""
    class_of(job)
    parts = job.split("/")
    return _class_of_work(_step(parts), parts)


def _class_of_work(step: str, parts: list[str]) -> ClassName:
    family = parts[3] if step in WITHOUT_GPU and len(parts) > 3 and not parts[3].isdecimal() else ""
    try:
        if family and descriptor_of(family, "generator").in_workers:
            return WITHOUT_GPU[step]
    except CheckpointError:  # not known here: its job will say so
        pass
    return STEP_CLASSES[step]


def _step(parts: list[str]) -> str:
    return parts[2] if len(parts) > 2 else parts[0]
