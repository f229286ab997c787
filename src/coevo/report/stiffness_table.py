"""The table of stiffness: bulk moduli and Γ-point frequencies of the simplest reference compounds, by the model and by labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from coevo.report.figures.plots import DataTable, formula_text
from coevo.report.tables import DASH, PageTable, number

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from coevo.report.gathering import ReportData

COLUMNS = ("compound", "by", "bulk modulus (GPa)", "volume (Å³/atom)", "frequencies at Γ (cm⁻¹)", "model over labels")
DATA_COLUMNS = (
    "reference",
    "formula",
    "by",
    "functional",
    "settings digest",
    "bulk modulus (GPa)",
    "volume (cubic angstrom/atom)",
    "frequencies (1/cm)",
)
_ABOUT = (
    "The simplest reference compounds in their primitive cells, strained and displaced: the model and the labels are of the same "
    "frames, which are never trained on. Atoms keep their fractional coordinates under strain; the splitting of longitudinal and "
    "transverse modes is not included. A negative frequency is imaginary."
)
SAME = 1.0
"""cm⁻¹; frequencies that are nearer to each other are one in the table."""


@dataclass(frozen=True)
class StiffnessSection:
    """What the page says of stiffness.

    Attributes
    ----------
    name : str
        Stem of the CSV.
    text : str
    table : PageTable
    data : DataTable
    """

    name: str
    text: str
    table: PageTable
    data: DataTable


def stiffness_section(data: ReportData) -> StiffnessSection | None:
    """Return the section, or None of a state that records no stiffness."""
    found = data.metrics.get("stiffness")
    if not found or not found["compounds"]:
        return None
    rows: list[list[Any]] = []
    csv: list[tuple[Any, ...]] = []
    for compound in found["compounds"]:
        label, model = compound["labels"], compound["model"]
        by = [("force field", model), *([(f"labels: {label['code']}, {label['functional']}", label)] if label else [])]
        for place, (name, numbers) in enumerate(by):
            rows.append(
                [
                    formula_text(compound["formula"]) if place == 0 else "",
                    name,
                    number(numbers["bulk_modulus_gpa"], 1),
                    number(numbers["volume_per_atom"], 2),
                    frequency_text(numbers["frequencies_cm1"]),
                    _quotient(model, label) if place == 0 else "",
                ]
            )
            where = (numbers.get("functional"), numbers.get("settings_digest"))
            frequencies = " ".join(f"{value:.3f}" for value in numbers["frequencies_cm1"] or ())
            csv.append(
                (
                    compound["id"],
                    compound["formula"],
                    "labels" if place else "force field",
                    *where,
                    numbers["bulk_modulus_gpa"],
                    numbers["volume_per_atom"],
                    frequencies,
                )
            )
    table = PageTable(COLUMNS, rows, frozenset({2, 3, 5}))
    return StiffnessSection("stiffness", _text(found), table, DataTable(DATA_COLUMNS, csv))


def frequency_text(frequencies: Sequence[float] | None) -> str:
    """Return frequencies with how many modes have each: ``246 ×3, 373 ×3``."""
    if frequencies is None:
        return DASH
    groups: list[list[float]] = []
    for value in sorted(frequencies):
        if groups and value - groups[-1][-1] <= SAME:
            groups[-1].append(value)
        else:
            groups.append([value])
    means = [(sum(group) / len(group), len(group)) for group in groups]
    return ", ".join(number(mean, 0) + (f" ×{count}" if count > 1 else "") for mean, count in means)


def _quotient(model: Mapping[str, Any], label: Mapping[str, Any] | None) -> str:
    if not label or not label["bulk_modulus_gpa"] or model["bulk_modulus_gpa"] is None:
        return DASH
    return number(model["bulk_modulus_gpa"] / label["bulk_modulus_gpa"], 2)


def _text(found: Mapping[str, Any]) -> str:
    compounds, slope = found["compounds"], found["frequency_ratio"]
    by = [numbers for row in compounds for numbers in (row["model"], row["labels"]) if numbers]
    parts = [_ABOUT]
    if slope is not None:
        parts.append(f"All frequencies together, the model over the labels: {slope:.2f}.")
    if not all(row["labels"] for row in compounds):
        parts.append("Without labels of its frames a compound has the model's own numbers.")
    notes = sorted({note for numbers in by for note in numbers.get("notes", ())})
    return " ".join([*parts, *(f"{note[:1].upper()}{note[1:]}." for note in notes)])
