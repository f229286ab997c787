"""Which families of labels are one crystal: the same phase may be generated, and labelled, more than once.

Frames of one crystal must not be on both sides of a split, or a test would be of what was trained on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from coevo.analysis.comparison.matching import Matching

    Label = dict[str, Any]

NO_ENERGY = 1e9
"""eV/atom; the energies only order the comparison, and a frame without one comes last."""
_FIRST = ("test", "validation", "train")


def same_crystals(
    labels: Iterable[Label], matching: Matching, older: Iterable[Label] = (), *, workers: int = 1
) -> dict[str, str]:
    """Return the representative of each family whose relaxed frame is among the labels: its own name if it is alone.

    Parameters
    ----------
    labels : iterable of dict
        Label documents.
    matching : Matching
        Tolerances of the uniqueness test.
    older : iterable of dict
        Labels that are there already, with their ``split``: their families stay representatives, and are not grouped. Of several
        that are one crystal a family of the test split comes first, then one of the validation split.
    workers : int
        Processes; the answer does not depend on it.
    """
    from coevo.analysis.comparison.uniqueness import Item, find_representatives
    from coevo.node_store.canonical import structure_from_document

    def items(families: dict[str, Label]) -> list[Item]:
        return [
            Item(
                family,
                structure_from_document(x["structure"]),
                NO_ENERGY if x["energy_per_atom"] is None else x["energy_per_atom"],
            )
            for family, x in families.items()
        ]

    new = dict(sorted(_relaxed(labels).items()))
    formulas = {_atoms(label) for label in new.values()}
    there = {family: label for family, label in _relaxed(older).items() if _atoms(label) in formulas}
    existing = sorted(there, key=lambda family: (_FIRST.index(there[family]["split"]), family))
    return find_representatives(items(new), items({name: there[name] for name in existing}), matching, workers=workers)


def _relaxed(labels: Iterable[Label]) -> dict[str, Label]:
    """The first label of a relaxed frame of each family, in the order of ids."""
    found: dict[str, Label] = {}
    for label in sorted(labels, key=lambda label: label["_id"]):
        if label.get("kind") == "relaxed" and label.get("structure") and label.get("family"):
            found.setdefault(label["family"], label)
    return found


def _atoms(label: Label) -> str:
    """Reduced formula of a frame."""
    from pymatgen.core import Composition

    counts: dict[str, float] = {}
    for site in label["structure"]["sites"]:
        for species in site["species"]:
            counts[species["element"]] = counts.get(species["element"], 0.0) + species["occu"]
    return Composition(counts).reduced_formula
