"""First-principles labels against the force field: E_hull of labelled phases, and who is stable by whom."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from coevo.labelling.registry import is_first_principles

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    Document = dict[str, Any]


def with_label_hull(
    documents: Sequence[Document], labels: Iterable[Document], elements: Sequence[str], threshold: float
) -> tuple[list[Document], Document | None]:
    """Add ``energy_above_hull_dft`` and ``is_stable_dft`` to evaluation documents.

    Labels are compared with the force field, also of an entry that one refutes, whose energy in the state is the label's.

    Labels of one settings digest are used, the one that most phases have. Of several relaxed frames of a phase the lowest counts.
    Energies are put on the MP2020 scale where the functional asks for it, so that sulphides and elements compare.

    Parameters
    ----------
    documents : sequence of dict
        Evaluation documents of all references and entries.
    labels : iterable of dict
        Label documents of the state.
    elements : sequence of str
    threshold : float
        Stable means E_hull up to this, eV/atom.

    Returns
    -------
    documents : list of dict
        With both fields, None where labels do not suffice.
    summary : dict or None
        ``settings_digest``, ``code``, ``functional``, ``labelled``, ``compared`` and the confusion table of the entries; None
        without labels.
    """
    import numpy as np

    from coevo.analysis.audit.draw import model_energy_above_hull
    from coevo.analysis.hull.label_hull import confusion, label_hull
    from coevo.makers.labels.training_set import corrected_energy
    from coevo.makers.populations.population import model_energy
    from coevo.node_store.canonical import structure_from_document

    members = {document["structure_id"] for document in documents}
    relaxed = [label for label in labels if _is_usable(label, members)]
    chosen = _most_used(relaxed)
    rows = [label for label in relaxed if label["settings_digest"] == chosen]
    energies: dict[str, float] = {}
    for label in rows:
        energy = corrected_energy(label, structure_from_document(label["structure"]), "mp2020")
        energies[label["family"]] = min(energy, energies.get(label["family"], energy))
    labelled = np.array([energies.get(document["structure_id"], np.nan) for document in documents])
    shares = _fractions(documents, elements)
    values = label_hull(elements, shares, [model_energy(document) for document in documents], labelled)
    added = [
        {
            **document,
            "energy_above_hull_dft": float(value) if np.isfinite(value) else None,
            "is_stable_dft": bool(value <= threshold) if np.isfinite(value) else None,
        }
        for document, value in zip(documents, values, strict=True)
    ]
    if not rows:
        return added, None
    entries = [document for document in added if document["kind"] == "entry" and document["energy_above_hull_dft"] is not None]
    table = confusion(
        [model_energy_above_hull(document) for document in entries],
        [document["energy_above_hull_dft"] for document in entries],
        threshold,
    )
    return added, {
        "settings_digest": chosen,
        "code": rows[0]["code"],
        "functional": rows[0]["functional"],
        "labelled": len(energies),
        "compared": len(entries),
        **table.to_dict(),
    }


def _is_usable(label: Document, members: set[str]) -> bool:
    return (
        label["status"] == "admitted" and label["kind"] == "relaxed" and is_first_principles(label) and label["family"] in members
    )


def _most_used(labels: Sequence[Document]) -> str | None:
    """Settings digest of most phases; of equally many the first in order."""
    counts = Counter(digest for digest, _ in {(label["settings_digest"], label["family"]) for label in labels})
    return min(counts, key=lambda digest: (-counts[digest], digest)) if counts else None


def _fractions(documents: Sequence[Document], elements: Sequence[str]) -> Any:
    import numpy as np
    from pymatgen.core import Composition

    rows = [[Composition(document["formula"]).get_atomic_fraction(e) for e in elements] for document in documents]
    return np.array(rows, dtype=float).reshape(-1, len(elements))
