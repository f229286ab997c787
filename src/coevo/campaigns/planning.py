"""What a campaign will take, before it starts: jobs, their class and walltime, time, GPU-hours and disk."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import chain
from math import ceil
from typing import TYPE_CHECKING, Any

from coevo.analysis.environments.resolution import MOST_CRYSTALS
from coevo.campaigns.rates import measured_rates
from coevo.configs.audit_section import section_of
from coevo.configs.slurm_syntax import parse_walltime
from coevo.configs.step_classes import class_of_shards
from coevo.families import descriptor_of
from coevo.labelling.registry import seconds_of_frame
from coevo.makers.calibrate_environments import newest_calibration
from coevo.makers.labels.training_set import ANCHORS
from coevo.node_store.recorded import readable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from coevo.configs.loading import LoadedConfig
    from coevo.configs.site_tree import Site
    from coevo.configs.tree import NodeConfig
    from coevo.families import Family
    from coevo.node_store.views import StateView

DEFAULT_CORE_SECONDS = {
    "generate": 0.15,
    "race": 0.15,
    "screen": 0.6,
    "breed": 0.02,
    "train-force-field": 0.05,
    "re-evaluate": 0.2,
    "train-generator": 0.001,
    "assess": 0.005,
    "measure": 0.005,
    "train-member": 0.05,
    "re-evaluate-member": 0.03,
    "spread": 0.03,
    "calibrate": 0.03,
    "audit": 0.6,
    "judge-audit": 0.005,
    "calibrate-environments": 4.0,
}
"""Core-seconds per draw, draw, candidate, candidate of this iteration, frame and epoch, structure, example (and epoch),
structure, for cells of about 12 atoms on one core, and crystal that is shaken (docs/benchmarks.md); used until the node has an
iteration of its own to measure. Those of a frame are its labelling code's."""

BYTES_PER_STRUCTURE = 4_000

SHARD_OF_EVALUATION = 500
SERIAL = {
    "breed",
    "train-generator",
    "train-force-field",
    "train-member",
    "assess",
    "measure",
    "judge-audit",
    "calibrate-environments",
}
"""Steps that one process does, whatever the number of workers."""


@dataclass(frozen=True)
class PlannedStep:
    """One line of a plan.

    Attributes
    ----------
    iteration : int
    step : str
    jobs : int
    items : int
        Structures, frames, or examples times epochs.
    seconds : float
        Expected of all its jobs together, each on the workers at hand.
    gpu_seconds : float
        Of these, on a GPU that the step's model wants, or that the site's class of jobs holds.
    megabytes : float
        Expected to be written.
    resources : str
        Class of the jobs: gpu, screen, label or small.
    walltime : str or None
        Limit of a job, if the site has one.
    """

    iteration: int
    step: str
    jobs: int
    items: int
    seconds: float
    gpu_seconds: float
    megabytes: float
    resources: str
    walltime: str | None = None

    @property
    def too_long(self) -> bool:
        """Whether a job is expected to take longer than its walltime."""
        return self.walltime is not None and self.seconds / max(self.jobs, 1) > parse_walltime(self.walltime)


@dataclass(frozen=True)
class Start:
    """Where a planned campaign starts from.

    Attributes
    ----------
    iteration : int
    population : int
        Entries and references.
    labels : int
    admitted : float
        Share of candidates that become entries.
    rates : mapping of str to float or None
        Seconds per item of the last iteration; None if there was none.
    references : int
    unaudited : int
        References that no audit has looked at.
    unlabelled : int
        References that ``labelling.references: all`` has labelled, and that have no label.
    stiff : int
        Frames that ``selection`` asks of labelled phases of the state, beside the budget. How many later states ask is not known.
    calibrates_in : int or None
        Iteration that would calibrate environments; None where it was done.
    """

    iteration: int
    population: int
    labels: int = 0
    admitted: float = 0.5
    rates: Mapping[str, float] | None = None
    references: int = 0
    unaudited: int = 0
    unlabelled: int = 0
    calibrates_in: int | None = None
    stiff: int = 0


def start_from_state(head: StateView, config: NodeConfig | None = None) -> Start:
    """Start from a state of a node.

    Parameters
    ----------
    head : StateView
    config : NodeConfig, optional
        That it goes on with; says whether references without labels have to be counted.

    Raises
    ------
    CorruptArtifactError
        If its metrics are not those that this coevo writes.
    """
    with readable(head):
        metrics = head.document["metrics"]
        counts = metrics.get("iteration")
        population = metrics["population"]
        references = population["references"]
        audited = any(state.document["metrics"].get("audit") for state in chain([head], head.first_parents()))
        calibration = newest_calibration(head, head.document["elements"])
        every = config is not None and config.labelling.references == "all"
        return Start(
            head.iteration,
            population["entries"] + references,
            head.document["counts"].get("labels", 0),
            counts["admitted"] / counts["candidates"] if counts and counts["candidates"] else 0.5,
            measured_rates(head),
            references,
            0 if audited else references,
            max(0, references - _labelled_references(head)) if every else 0,
            None if calibration else head.iteration + 1,
            0 if config is None else _stiff_frames(head, config),
        )


def _labelled_references(head: StateView) -> int:
    return len({label["family"] for label in head.labels() if label["how"] in ANCHORS})


def _stiff_frames(head: StateView, config: NodeConfig) -> int:
    from coevo.makers.labels.stiff_frames import WITHIN, stiff_frames

    curation = config.curation.of_hull()
    window = WITHIN if curation is None else curation.hull_window
    return len(stiff_frames(head, config.node, config.selection, window).frames) if config.selection.structures else 0


def start_of_new(loaded: LoadedConfig) -> Start:
    """Start from a configuration whose node does not exist yet: from its references.

    Raises
    ------
    ConfigError
        If the references cannot be read.
    """
    from coevo.configs.references import load_references

    node = loaded.config.node
    references = load_references(node.references, node.elements, base=loaded.base, exclude=loaded.config.references.exclude)
    n, every = len(references), loaded.config.labelling.references == "all"
    return Start(0, n, references=n, unaudited=n, unlabelled=n if every else 0, calibrates_in=0)


def plan(config: NodeConfig, start: Start, iterations: int, workers: int, site: Site | None = None) -> list[PlannedStep]:
    """Plan a campaign.

    Parameters
    ----------
    config : NodeConfig
    start : Start
    iterations : int
    workers : int
        Of this machine; used where there is no site.
    site : Site, optional
        Whose classes say with how many workers and for how long a job may run.
    """
    rows: list[PlannedStep] = []
    population, labelled = start.population, start.labels
    selected = config.selection.structures * (1 + config.selection.rattled + config.selection.strained + config.selection.path)
    calibration = _calibration(config, start, site, workers)
    rows += [row for row in calibration if row.iteration == start.iteration]
    for number in range(iterations):
        iteration = start.iteration + 1 + number
        population += round(start.admitted * config.generator.candidates)
        frames = selected + (start.unlabelled + start.stiff if number == 0 else 0)
        training = min(labelled, config.training.replay) + frames
        labelled += frames
        amounts = _amounts(config, iteration, population, frames, training)
        amounts |= _audit(config, population, start.unaudited if number == 0 else 0)
        for step, (jobs, items, size) in amounts.items():
            rows.append(_row(config, start, site, workers, iteration, step, jobs, items, size))
        rows += [row for row in calibration if row.iteration == iteration]
    return rows


def _calibration(config: NodeConfig, start: Start, site: Site | None, workers: int) -> list[PlannedStep]:
    """The row of the dynamics that says at what distance environments differ: once for a node, where it is judged by them."""
    if config.maturity.environment_signal != "coverage" or start.calibrates_in is None:
        return []
    crystals = min(start.references, MOST_CRYSTALS)
    return [_row(config, start, site, workers, start.calibrates_in, "calibrate-environments", 1, crystals, 0.0)]


def _amounts(
    config: NodeConfig, iteration: int, population: int, frames: int, training: int
) -> dict[str, tuple[int, int, float]]:
    """Jobs, items and bytes of each step of an iteration."""
    candidates, size = config.generator.candidates, config.generator.shard_size
    shards = sum(_shards(share, size, config.generator.generations) for share in config.generator.shares().values())
    evaluated = population + config.maturity.ruler_size * iteration
    force_field = descriptor_of(config.screening.force_field.family, "force_field")
    fits = config.training.enabled and force_field.can("fit")
    return {
        **_drawing(config),
        **_racing(config, shards),
        "screen": (shards, candidates, candidates * BYTES_PER_STRUCTURE),
        "label": (ceil(frames / config.labelling.frames_per_job), frames, frames * BYTES_PER_STRUCTURE),
        "train-force-field": (1, training * config.training.epochs if fits else 0, force_field.checkpoint_bytes),
        "re-evaluate": (ceil(evaluated / SHARD_OF_EVALUATION), evaluated, evaluated * BYTES_PER_STRUCTURE),
        **_fitting(config, population),
        "assess": (4, population, 0.0),  # curate, select, assess, commit
        "measure": (1, population, 0.0),
        **_members(config, population, frames, training if fits else 0),
    }


def _shards(share: int, size: int, parts: int) -> int:
    """Jobs that draw a share of the candidates, in so many parts."""
    return sum(ceil((share * (part + 1) // parts - share * part // parts) / size) for part in range(parts))


def _racing(config: NodeConfig, shards: int) -> dict[str, tuple[int, int, float]]:
    """Jobs, items and bytes of a race and of the fits between generations; empty without."""
    section = config.generator
    found: dict[str, tuple[int, int, float]] = {}
    if section.racing > 1:
        found["race"] = (shards, section.candidates * section.racing, section.candidates * BYTES_PER_STRUCTURE / 4)
    if section.generations > 1:
        found["breed"] = (section.generations - 1, section.candidates * (section.generations - 1), 0.0)
    return found


def _of_families(config: NodeConfig, step: str) -> dict[str, str]:
    """A step of the generators: one for each family of a mixture, ``STEP/FAMILY``, to the family."""
    mixed = bool(config.generator.mixture)
    return {f"{step}/{family}" if mixed else step: family for family in config.generator.families}


def _drawing(config: NodeConfig) -> dict[str, tuple[int, int, float]]:
    """Jobs, items and bytes of the draws, of each family."""
    shares, section = config.generator.shares(), config.generator
    found: dict[str, tuple[int, int, float]] = {}
    for step, family in _of_families(config, "generate").items():
        draws = shares[family] * section.racing
        jobs = _shards(shares[family], section.shard_size, section.generations)
        found[step] = (jobs, draws, draws * BYTES_PER_STRUCTURE / 4)
    return found


def _fitting(config: NodeConfig, population: int) -> dict[str, tuple[int, int, float]]:
    """Jobs, items and bytes of the fits of the generators; one whose weight is 0 has none."""
    section = config.generator
    found: dict[str, tuple[int, int, float]] = {}
    for step, family in _of_families(config, "train-generator").items():
        if not section.mixture or section.mixture[family]:
            epochs = getattr(section.of_family(family).own_section, "epochs", 1)
            size = _generator(family).checkpoint_bytes if section.fit else 0
            found[step] = (1, population * epochs if section.fit else 0, float(size))
    return found


def _members(config: NodeConfig, population: int, frames: int, training: int) -> dict[str, tuple[int, int, float]]:
    """Jobs, items and bytes of the steps of a second opinion; empty without one."""
    wanted = config.uncertainty
    if not wanted.in_use:
        return {}
    members, shards = wanted.members + len(wanted.others), ceil(population / SHARD_OF_EVALUATION)
    size = descriptor_of(config.screening.force_field.family, "force_field").checkpoint_bytes * wanted.members
    found: dict[str, tuple[int, int, float]] = {}
    if config.selection.uncertainty_fraction:
        admitted = config.generator.candidates // 2
        found["spread"] = (members * ceil(admitted / SHARD_OF_EVALUATION), admitted * members, 100.0 * admitted * members)
    if wanted.members:
        found["train-member"] = (wanted.members, training * config.training.epochs * wanted.members, size)
    return {
        **found,
        "calibrate": (1, frames * (1 + members), 0.0),
        "re-evaluate-member": (1 + members * shards, population * members, 100.0 * population * members),
    }


def _audit(config: NodeConfig, population: int, references: int) -> dict[str, tuple[int, int, float]]:
    """Jobs, items and bytes of the steps of an audit; empty without one. References are looked at once, by the first."""
    audit = config.audit
    if not audit.in_use:
        return {}
    size = config.labelling.frames_per_job if audit.first_principles else SHARD_OF_EVALUATION
    jobs, looked = 1 + ceil(audit.structures / size) + ceil(references / size), audit.structures + references
    step = "audit-label" if audit.first_principles else "audit"
    return {step: (jobs, looked, looked * BYTES_PER_STRUCTURE / 4), "judge-audit": (1, population, 0.0)}


def _row(
    config: NodeConfig,
    start: Start,
    site: Site | None,
    workers: int,
    iteration: int,
    step: str,
    jobs: int,
    items: int,
    size: float,
) -> PlannedStep:
    base, _, member = step.partition("/")
    kind = class_of_shards(f"{config.node.name}/{iteration}/{step}")
    family = _generator(member or config.generator.family)
    resources = site.resources(kind) if site is not None else None
    if resources is not None:
        workers = resources.workers
    gpu = family.gpu_seconds.get(base)
    core_seconds = _seconds_of_frame(config, step) if step in {"label", "audit-label"} else DEFAULT_CORE_SECONDS[base]
    alone = base in SERIAL or (base == "generate" and not family.in_workers)
    rate = (start.rates or {}).get(step) or gpu or core_seconds / (1 if alone else workers)
    holds_gpu = resources is not None and "gpu" in (resources.gres or "")
    return PlannedStep(
        iteration,
        step,
        jobs,
        items,
        items * rate,
        items * rate if gpu or holds_gpu else 0.0,
        size / 1e6,
        kind,
        resources.walltime if resources is not None else None,
    )


def _seconds_of_frame(config: NodeConfig, step: str) -> float:
    if step == "label":
        return seconds_of_frame(config.labelling)
    # a relaxation: each step, the geometry that it begins with, and two single points at its end
    points = config.audit.code_steps + 3 if config.audit.code_steps else 1
    return points * seconds_of_frame(section_of(config.labelling, config.audit))


def _generator(family: str) -> Family:
    return descriptor_of(family, "generator")


def plan_json(rows: list[PlannedStep]) -> dict[str, Any]:
    """Return a plan as JSON."""
    return {
        "steps": [asdict(row) for row in rows],
        "jobs": sum(row.jobs for row in rows),
        "hours": sum(row.seconds for row in rows) / 3600,
        "gpu_hours": sum(row.gpu_seconds for row in rows) / 3600,
        "megabytes": sum(row.megabytes for row in rows),
    }
