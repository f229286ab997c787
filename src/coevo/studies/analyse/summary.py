"""The analysis of a batch as one document: what ``summary.json`` holds and the tables show.

Also here: files that ``coevo analyse --output`` writes: the numbers as JSON, the structures as CSV.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from coevo.analysis.signals.diversity import duplicates
from coevo.analysis.signals.ruler import quantiles
from coevo.errors import AnalysisError
from coevo.output.files import check_directory, write_text
from coevo.output.plain_text import csv_text, json_text
from coevo.studies.analyse.comparison import compare, describe
from coevo.studies.analyse.energies import above_hull, check_references, evaluate
from coevo.studies.analyse.environments import environments_of, measure_entropy, measure_news

if TYPE_CHECKING:
    from pathlib import Path

    from coevo.analysis.comparison.matching import Matching
    from coevo.processes import Workers
    from coevo.studies.analyse.batch import Batch
    from coevo.studies.analyse.energies import ForceFieldWork, HullReport
    from coevo.studies.analyse.environments import Sampling


@dataclass(frozen=True)
class Plan:
    """How a batch is analysed.

    Attributes
    ----------
    matching : Matching
    sampling : Sampling
    stable_threshold : float
        eV/atom.
    force_field : ForceFieldWork or None
    """

    matching: Matching
    sampling: Sampling
    stable_threshold: float
    force_field: ForceFieldWork | None = None


@dataclass
class Analysis:
    """A batch that was analysed: the numbers, and the rows with what was found of each."""

    batch: Batch
    numbers: dict[str, Any] = field(default_factory=dict)


def analyse(batch: Batch, plan: Plan, workers: Workers, baseline: Batch | None = None) -> Analysis:
    """Analyse a batch: energies, hull, uniqueness, novelty, symmetry, environments.

    Parameters
    ----------
    batch : Batch
        Its rows are filled in.
    plan : Plan
    workers : Workers
    baseline : Batch or None
        A state whose environments the batch's are compared with.

    Raises
    ------
    AnalysisError
        If references cannot make a hull.
    ModelError
        If the force field fails as a whole.
    """
    if plan.force_field is not None:
        evaluate(batch, plan.force_field, workers.count)
    check_references(batch)
    hull = above_hull(batch)
    spread = compare(batch, plan.matching, workers.count, plan.sampling.seed)
    description = describe(batch, workers)
    sampling = plan.sampling
    environments = environments_of(batch, workers)
    entropy = measure_entropy(environments, batch.elements, batch.descriptor.bandwidth, sampling)
    news = None
    if baseline is not None and len(environments):
        known = environments_of(baseline, workers)
        news = measure_news(environments, known, batch.elements, batch.descriptor.bandwidth, sampling)
        news = {"baseline": baseline.source, **news}
    valid = batch.valid()
    numbers = {
        "source": batch.source,
        "elements": list(batch.elements),
        "read": len(batch.rows),
        "rejected": batch.rejected(),
        "valid": len(valid),
        "ignored_files": batch.ignored,
        "uniqueness": duplicates(row.representative for row in valid).to_dict(),
        "novelty": _novelty(batch),
        "spread": None if spread is None else spread.to_dict(),
        "hull": _hull(batch, hull, plan.stable_threshold),
        "sun": _sun(batch, hull, plan.stable_threshold),
        "environments": {"descriptor": batch.descriptor.model_dump(), **entropy},
        "new_environments": news,
        **description,
        "settings": {"matching": asdict(plan.matching), "stable_threshold": plan.stable_threshold, **asdict(sampling)},
        "stored": _stored(batch),
        "teacher": batch.teacher or None,
        "notes": batch.notes,
    }
    return Analysis(batch, numbers)


def _novelty(batch: Batch) -> dict[str, Any] | None:
    if not batch.references:
        return None
    unique = batch.unique()
    novel = sum(row.matched_reference is None for row in unique)
    return {
        "reference_set": batch.reference_set,
        "references": len(batch.references),
        "novel": novel,
        "known": len(unique) - novel,
        "references_found": sorted({row.matched_reference for row in unique if row.matched_reference is not None}),
    }


def _hull(batch: Batch, report: HullReport, threshold: float) -> dict[str, Any]:
    values = [row.energy_above_hull for row in batch.valid() if row.energy_above_hull is not None]
    return {
        **asdict(report),
        "with_energy": len(values),
        "quantiles": quantiles(values),
        "stable": sum(value <= threshold for value in values) if report.reason is None else None,
    }


def _sun(batch: Batch, report: HullReport, threshold: float) -> dict[str, Any] | None:
    """Rates of stable, unique and novel structures, against references and pile together, and against references alone.

    None where references have no part in the hull: stable against itself a pile always is. Entries of a state that are refuted or
    in doubt are not S.U.N., as in the state.
    """
    from coevo.analysis.signals.sun_summary import sun_summary
    from coevo.makers.populations.hull_members import sun_withheld

    if report.reason is not None or not report.of_references:
        return None
    valid = batch.valid()
    withheld = sun_withheld(batch.stored.values())
    options: dict[str, Any] = {
        "unique": np.array([row.is_unique for row in valid], dtype=bool),
        "matched": [row.matched_reference for row in valid],
        "valid": np.array([row.validity is not None and row.validity.structure_valid for row in valid], dtype=bool),
        "withheld": np.array([row.id in withheld for row in valid], dtype=bool),
        "generated": len(batch.rows),
        "reference_set": batch.reference_set,
        "reference_size": len(batch.references),
        "thresholds": sorted({0.0, threshold}),
    }
    energies = {
        "hull": [row.energy_above_hull for row in valid],
        "reference_hull": [row.energy_above_reference_hull for row in valid],
    }
    # None becomes NaN: a structure without an energy is not stable
    return {
        name: sun_summary(np.array(values, dtype=float), **options).to_dict()
        for name, values in energies.items()
        if any(value is not None for value in values)
    }


def _stored(batch: Batch) -> dict[str, Any] | None:
    """How the numbers of a state differ from those that it stores."""
    if not batch.stored:
        return None
    rows = [*batch.rows, *batch.references]
    apart = [abs((row.energy_above_hull or 0.0) - batch.stored[row.id]["energy_above_hull"]) for row in rows]
    entries = batch.rows
    groups = sum((batch.stored[row.id]["duplicate_of"] or row.id) != row.representative for row in entries)
    matches = sum(batch.stored[row.id]["matched_reference"] != row.matched_reference for row in entries)
    return {
        "compared": len(rows),
        "largest_e_hull_difference": max(apart, default=0.0),
        "other_representatives": groups,
        "other_references": matches,
    }


SUMMARY, STRUCTURES = "summary.json", "structures.csv"
COLUMNS = (
    "id",
    "reason",
    "detail",
    "content",
    "formula",
    "atoms",
    "space_group",
    "energy_per_atom",
    "energy_above_hull",
    "energy_above_reference_hull",
    "representative",
    "matched_reference",
)
MEASURED = ("shortest_distance", "shortest_ratio", "volume_per_atom", "structure_valid", "composition_valid")
"""Fields of :class:`coevo.analysis.validity.Validity` that are columns too."""
_HEADER = ",".join((*COLUMNS, *MEASURED))


def check_output(directory: Path, force: bool) -> bool:
    """Refuse a directory that has files of these names that are no analysis, before the work.

    Returns
    -------
    bool
        Whether files may be replaced: an earlier analysis may, anything else with ``force`` only.

    Raises
    ------
    StorageError
        As :func:`coevo.output.files.check_directory`.
    """
    replace = force or _is_analysis(directory)
    check_directory(directory, (SUMMARY, STRUCTURES), replace)
    return replace


def _is_analysis(directory: Path) -> bool:
    """Whether both files are there and look like those that are written here; links do not."""
    summary, structures = directory / SUMMARY, directory / STRUCTURES
    try:
        if summary.is_symlink() or structures.is_symlink():
            return False
        numbers = json.loads(summary.read_text(encoding="utf-8"))
        with structures.open(encoding="utf-8") as file:
            header = file.readline().rstrip("\n")
    except (OSError, ValueError):
        return False
    return isinstance(numbers, dict) and numbers.keys() >= {"source", "read", "rejected", "settings"} and header == _HEADER


def write_analysis(analysis: Analysis, directory: Path, *, force: bool = False) -> list[Path]:
    """Write ``summary.json`` and ``structures.csv``, each whole or not at all; rows are in the order of the pile.

    Raises
    ------
    AnalysisError
        If the directory cannot be made.
    StorageError
        If a file cannot be written, or is there already and ``force`` does not say that it may be replaced.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as err:
        raise AnalysisError(f"--output {directory}: {err.strerror}; choose another place") from None
    return [
        write_text(directory / SUMMARY, json_text(analysis.numbers), force=force),
        write_text(directory / STRUCTURES, _rows(analysis), force=force),
    ]


def _rows(analysis: Analysis) -> str:
    return csv_text(
        (*COLUMNS, *MEASURED),
        (
            [*(getattr(row, column) for column in COLUMNS), *(getattr(row.validity, column, None) for column in MEASURED)]
            for row in analysis.batch.rows
        ),
    )
