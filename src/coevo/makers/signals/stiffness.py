"""Stiffness of a state: bulk moduli and Γ-point frequencies of its simplest reference compounds, by its model and its labels."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from coevo.errors import AnalysisError
from coevo.makers.labels.stiffness import simplest_compounds

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from coevo.analysis.stiffness.frames import StiffnessFrames
    from coevo.makers.labels.stiffness import SimpleCompound
    from coevo.models.contracts import ForceField

    Label = dict[str, Any]
    Document = dict[str, Any]


def stiffness_metrics(
    references: Iterable[Document], labels: Iterable[Label], force_field: ForceField, count: int, workers: int
) -> Document:
    """Return what a state records of the stiffness of its model.

    Parameters
    ----------
    references : iterable of dict
        Reference documents of the state.
    labels : iterable of dict
        Its label documents.
    force_field : ForceField
    count : int
        Compounds, at most.
    workers : int

    Returns
    -------
    dict
        ``compounds``: of each ``id``, ``formula``, ``atoms`` of the primitive cell, and the numbers of the ``model`` and, where
        all its frames have labels of one digest, of the ``labels``, with digest, code and functional. The numbers are
        ``bulk_modulus_gpa``, ``volume_per_atom`` (Å³), ``frequencies_cm1`` (ascending) and ``notes``; None with a note where
        there is none. ``bulk_modulus_ratio`` and ``frequency_ratio``: model over labels; None without labels.
    """
    from coevo.models.contracts import Prediction

    compounds = simplest_compounds(references, count)
    structures = [structure for compound in compounds for structure in compound.frames.all]
    found = iter(force_field.evaluate(structures, workers=workers) if structures else ())
    by_frame: dict[str, list[Label]] = {}
    for label in labels:
        if label["status"] == "admitted":
            by_frame.setdefault(label["frame"], []).append(label)
    rows = []
    for compound in compounds:
        predictions = [next(found) for _ in compound.frames.all]
        calculated = [(p.energy, p.forces) if isinstance(p, Prediction) else None for p in predictions]
        rows.append(
            {
                "id": compound.document["_id"],
                "formula": compound.frames.cell.composition.reduced_formula,
                "atoms": len(compound.frames.cell),
                "model": _numbers(compound.frames, calculated),
                "labels": _by_labels(compound, by_frame),
            }
        )
    return {"compounds": rows, **ratios(rows)}


def ratios(compounds: Sequence[Document]) -> Document:
    """Return model over labels: the mean ratio of bulk moduli, and the slope of all frequencies through the origin.

    The slope is that of least squares, as is the softening scale of Deng et al., npj Comput. Mater. 11, 9 (2025).
    """
    both = [(row["model"], row["labels"]) for row in compounds if row["labels"]]
    moduli = [
        model["bulk_modulus_gpa"] / label["bulk_modulus_gpa"]
        for model, label in both
        if model["bulk_modulus_gpa"] is not None and label["bulk_modulus_gpa"]
    ]
    pairs = [
        pair
        for model, label in both
        if model["frequencies_cm1"] is not None and label["frequencies_cm1"] is not None
        for pair in zip(model["frequencies_cm1"], label["frequencies_cm1"], strict=True)
    ]
    squares = sum(label * label for _, label in pairs)
    return {
        "bulk_modulus_ratio": sum(moduli) / len(moduli) if moduli else None,
        "frequency_ratio": sum(model * label for model, label in pairs) / squares if squares else None,
    }


def _by_labels(compound: SimpleCompound, by_frame: Mapping[str, Sequence[Label]]) -> Document | None:
    """Numbers of the labels of one digest, the one that most frames have; None if a frame has none of it."""
    frames = [record["id"] for record in compound.records]
    digests = Counter(label["settings_digest"] for frame in frames for label in by_frame.get(frame, ()))
    if not digests:
        return None
    chosen = min(digests, key=lambda name: (-digests[name], name))
    own = [next((x for x in by_frame.get(frame, ()) if x["settings_digest"] == chosen), None) for frame in frames]
    if None in own:
        return None
    labels = [label for label in own if label is not None]
    numbers = _numbers(compound.frames, [(label["energy_per_atom"], label["forces"]) for label in labels])
    return {**{name: labels[0][name] for name in ("settings_digest", "code", "functional")}, **numbers}


def _numbers(frames: StiffnessFrames, calculated: Sequence[tuple[float, Any] | None]) -> Document:
    """Bulk modulus and frequencies from energy (eV/atom) and forces (eV/Å) of each frame; None of one that has none."""
    import numpy as np

    from coevo.analysis.stiffness.moduli import equation_of_state
    from coevo.analysis.stiffness.vibrations import force_constants, gamma_frequencies

    strained, displaced = calculated[: len(frames.strained)], calculated[len(frames.strained) :]
    found: Document = {"bulk_modulus_gpa": None, "volume_per_atom": None, "frequencies_cm1": None, "notes": []}
    try:
        if None in strained:
            raise AnalysisError("a strained frame has no energy")
        volumes = [structure.volume / len(structure) for structure in frames.strained]
        state = equation_of_state(volumes, [row[0] for row in strained if row is not None])
        found |= {"bulk_modulus_gpa": state.bulk_modulus, "volume_per_atom": state.volume}
    except AnalysisError as error:
        found["notes"].append(f"bulk modulus: {error}")
    if any(row is None for row in displaced):
        found["notes"].append("frequencies: a displaced frame has no forces")
    else:
        forces = [np.array(row[1], dtype=float) for row in displaced if row is not None]
        constants = force_constants(frames.cell, frames.displacements, forces)
        found["frequencies_cm1"] = gamma_frequencies(frames.cell, constants)
    return found
