"""What jobs take for granted of a state: complete labels and evaluations, offsets of a scale, and entries that are what they say.

Jobs read these without looking; a bundle is held to them before anything of it is stored.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

STATUSES = ("admitted", "rejected", "failed")
LABEL_FIELDS = ("frame", "structure", "family", "kind", "how", "code", "functional", "settings_digest")
"""What every label says, whatever became of it."""
NUMBERS = ("energy_per_atom", "forces", "stress")
"""What an admitted label has besides."""

EVALUATION_FIELDS = (
    "energy_per_atom",
    "formation_energy_per_atom",
    "energy_above_hull",
    "energy_above_reference_hull",
    "is_stable",
    "is_novel",
    "is_sun",
)
"""What every evaluation says."""


class Offsets(BaseModel):
    """Constants per element between the energy scales of labels and force field, as the analysis fits them."""

    model_config = ConfigDict(extra="forbid")

    elements: list[Annotated[str, Field(max_length=8)]] = Field(max_length=120)
    values: list[FiniteFloat] = Field(description="eV/atom")
    rank: int
    residual_rms: FiniteFloat = Field(description="eV/atom")
    n: int

    @model_validator(mode="after")
    def _one_each(self) -> Offsets:
        if len(self.values) != len(self.elements):
            raise ValueError(f"{len(self.values)} values for {len(self.elements)} elements")
        return self


def check_label(label: Mapping[str, Any]) -> None:
    """Refuse a label that jobs could not read: one that lacks something, or whose numbers are not those of its atoms.

    Parameters
    ----------
    label : mapping
        Valid for :class:`~coevo.node_store.documents.LabelDocument`.

    Raises
    ------
    ValueError
    """
    status = label.get("status")
    if status not in STATUSES:
        raise ValueError(f"status: got {str(status)[:40]!r}, allowed: {', '.join(STATUSES)}")
    wanted = (*LABEL_FIELDS, *NUMBERS) if status == "admitted" else LABEL_FIELDS
    if lacking := [name for name in wanted if label.get(name) is None]:
        raise ValueError(f"a label that is {status} must say {', '.join(lacking)}")
    atoms = len(label["structure"]["sites"])
    for name, rows in (("forces", atoms), ("stress", 3)):
        found = label.get(name)
        if found is not None and (len(found) != rows or any(len(row) != 3 for row in found)):
            raise ValueError(f"{name}: expected {rows} rows of 3 numbers for {atoms} atoms")


def check_evaluation(evaluation: Mapping[str, Any]) -> None:
    """Refuse an evaluation that lacks a number which every evaluation has; raises as :func:`check_label`."""
    if lacking := [name for name in EVALUATION_FIELDS if evaluation.get(name) is None]:
        raise ValueError(f"an evaluation must say {', '.join(lacking)}")


def check_described(document: Mapping[str, Any]) -> None:
    """Refuse a structure or reference whose number of atoms or elements are not those of its geometry.

    Parameters
    ----------
    document : mapping
        Valid for its model, with a geometry that is one.

    Raises
    ------
    ValueError
    """
    sites = document["structure"]["sites"]
    elements = sorted({species["element"] for site in sites for species in site["species"]})
    found = {"nsites": len(sites), "elements": elements, "chemsys": "-".join(elements)}
    for name, value in found.items():
        said = sorted(document[name]) if name == "elements" else document.get(name)
        if said is not None and said != value:
            raise ValueError(f"{name}: got {str(said)[:60]}, its geometry has {str(value)[:60]}")


CHECKS: dict[str, Callable[[Mapping[str, Any]], None]] = {
    "structures": check_described,
    "references": check_described,
    "labels": check_label,
    "evaluations": check_evaluation,
}
"""By the kind of a document."""
