"""How soft a force field is against labels, as every study says it: curvatures of energy are what studies are made of.

Universal force fields that were fitted to relaxations see little of what is far from minima, and their energy surfaces are too
soft there (Deng et al., npj Comput. Mater. 11, 9 (2025)). Bulk moduli and frequencies of compounds that have labels say how much.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

ALIKE = 0.05
"""Share by which model and labels may differ and still be called alike: about what two fits to the same labels differ by."""
MEASURES = "maturity.stiffness: 1 to 3, with labels by a first-principles code, measures it of as many reference compounds"
_MOST_COMPOUNDS = 20
_MOST_LETTERS = 100


def softness_of(metrics: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what the metrics of a state say of the stiffness of its force field, as a study keeps it.

    Parameters
    ----------
    metrics : mapping
        Of a state; what does not have the expected form, as in a document of a stranger, is left out.

    Returns
    -------
    dict or None
        ``compounds``: of each ``formula``, ``bulk_modulus_gpa`` by the force field and ``labels`` (``bulk_modulus_gpa``,
        ``code``, ``functional``) or None; ``bulk_modulus_ratio`` and ``frequency_ratio``, model over labels, or None. None where
        nothing was measured.
    """
    found = metrics.get("stiffness")
    if not isinstance(found, dict) or not isinstance(found.get("compounds"), list) or not found["compounds"]:
        return None
    compounds = [row for row in map(_compound, found["compounds"][:_MOST_COMPOUNDS]) if row is not None]
    ratios = {name: _positive(found.get(name)) for name in ("bulk_modulus_ratio", "frequency_ratio")}
    return {"compounds": compounds, **ratios} if compounds else None


def softness_lines(softness: Mapping[str, Any] | None) -> list[str]:
    """Say how soft a force field is: a line for each compound with labels, one of all frequencies; or that it is not known.

    Parameters
    ----------
    softness : mapping or None
        Of :func:`softness_of`; that of a study of a stranger is read with the same care.
    """
    found = softness_of({"stiffness": softness})
    if found is None:
        return [f"how soft this force field is, is not known: the state has measured no stiffness ({MEASURES})"]
    both = [(row, row["labels"]) for row in found["compounds"] if row["labels"] and row["bulk_modulus_gpa"] is not None]
    lines = [_line(row, labels) for row, labels in both]
    if found["frequency_ratio"] is not None:
        names = ", ".join(row["formula"] for row in found["compounds"] if row["labels"])
        times = f"{found['frequency_ratio']:.2f} times"
        lines.append(f"its frequencies at Γ of {names} are {times} those of the labels (slope through the origin)")
    if not lines:
        own = ", ".join(
            f"{row['formula']} {row['bulk_modulus_gpa']:.1f} GPa"
            for row in found["compounds"]
            if row["bulk_modulus_gpa"] is not None
        )
        measured = f"it has measured B0 by the force field alone ({own})" if own else "no bulk modulus could be measured"
        lines = [f"how soft this force field is, is not known: {measured}, and has no labels to compare with ({MEASURES})"]
    return lines


def _line(row: Mapping[str, Any], labels: Mapping[str, Any]) -> str:
    model, reference = row["bulk_modulus_gpa"], labels["bulk_modulus_gpa"]
    ratio = model / reference
    values = f"(B0 {model:.1f} against {reference:.1f} GPa of {labels['code']} labels, {labels['functional']})"
    if abs(ratio - 1.0) <= ALIKE:
        return f"this force field is as stiff as its labels in {row['formula']} {values}"
    share = round(100 * abs(ratio - 1.0))
    return f"this force field is {share} % too {'soft' if ratio < 1 else 'stiff'} in {row['formula']} {values}"


def _compound(row: Any) -> dict[str, Any] | None:
    if not isinstance(row, dict) or not isinstance(row.get("formula"), str):
        return None
    own = row.get("model")
    model = own if isinstance(own, dict) else row
    labels = row.get("labels")
    modulus = _positive(labels.get("bulk_modulus_gpa")) if isinstance(labels, dict) else None
    said: dict[str, Any] | None = None
    if isinstance(labels, dict) and modulus is not None:
        words = {name: str(labels.get(name) or "unnamed")[:_MOST_LETTERS] for name in ("code", "functional")}
        said = {"bulk_modulus_gpa": modulus, **words}
    return {
        "formula": row["formula"][:_MOST_LETTERS],
        "bulk_modulus_gpa": _positive(model.get("bulk_modulus_gpa")),
        "labels": said,
    }


def _positive(value: Any) -> float | None:
    """A positive finite number, or None."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value <= 0:
        return None
    return float(value)
