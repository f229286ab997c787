"""Splits of imported labels: a handful of crystals that a user brings is train, validation and test as well.

A family's split follows from its hash, which over many families gives the fractions that are asked for. Of three or five families
all are likely to be train, and then nothing can be fitted, because a fit could not be judged. So new families are moved until no
split is empty; families that have labels already never move.

Also here, labels that a later import of the same calculation replaced: a state that has the later ones counts them only.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from coevo.analysis.selection import position_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from coevo.configs.tree import TrainingConfig

    Label = dict[str, Any]

IMPORTED = "imported"
"""Code of labels from files that a user has already."""
ANCHORS = ("reference", "anchor")
"""How a frame was chosen on which the offsets between energy scales are fitted: a reference of the node, or an imported frame of
a pure element of which no reference is labelled."""


def without_superseded(labels: Iterable[Label]) -> list[Label]:
    """Return the labels that none of the others supersedes; of two that supersede each other the one of the lower id."""
    rows = list(labels)
    by_id = {label["_id"]: label for label in rows}
    gone = {
        old
        for label in rows
        for old in label.get("supersedes") or ()
        if old in by_id and not (label["_id"] in (by_id[old].get("supersedes") or ()) and label["_id"] > old)
    }
    return [label for label in rows if label["_id"] not in gone]


def superseded_by(older: Sequence[Label]) -> Callable[[Label], list[str]]:
    """Return what tells the ids of the older labels that a new one replaces.

    They are imported labels of the same frame under another digest that have the same forces and the same energy or stress: the
    same calculation, read again. So are rejected ones from before settings were told apart as they are now.
    """
    by_frame: dict[str, list[Label]] = {}
    for label in older:
        if label.get("code") == IMPORTED and label.get("frame"):
            by_frame.setdefault(label["frame"], []).append(label)

    def find(new: Label) -> list[str]:
        return sorted(
            label["_id"]
            for label in by_frame.get(new["frame"], ())
            if label["settings_digest"] != new["settings_digest"] and _is_same_calculation(new, label)
        )

    return find


def _is_same_calculation(new: Label, old: Label) -> bool:
    if old["status"] != "admitted":
        return "settings_base" not in old and old["status"] == "rejected"
    if new["status"] != "admitted":
        return False
    return bool(
        new["forces"] == old["forces"] and (new["energy_per_atom"] == old["energy_per_atom"] or new["stress"] == old["stress"])
    )


def completed(
    new: Sequence[Label],
    older: Sequence[Label],
    splits: Mapping[str, str],
    anchored: set[str],
    training: TrainingConfig,
    seed: int,
    same_as: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Return the splits with none of them empty for each settings digest of new imported labels, where there are families enough.

    Parameters
    ----------
    new, older : sequences of dict
        Label documents; the older ones with their ``split``.
    splits : mapping of str to str
        Of the new labels, by the hash of their family or inherited.
    anchored : set of str
        Families of the new labels on which offsets are fitted, and the crystals that they are: these never move.
    training : TrainingConfig
        A fraction of 0 leaves its split empty.
    seed : int
    same_as : mapping of str to str, optional
        Of new families, the one that is the same crystal. Families that are one crystal count once, and move together.

    Notes
    -----
    The family that moves is the one nearest to the split by its hash, of those in the split that has most. Families without
    older labels move first. After them those of which a reference was labelled with other settings to join the energy scales, and
    nothing else: they are train for this reason only. A crystal that has labels under another name never moves.
    """
    found = dict(splits)
    crystal = {label["family"]: label["family"] for label in (*new, *older)} | dict(same_as or {})
    names: dict[str, set[str]] = {}
    for label in new:
        names.setdefault(crystal[label["family"]], set()).add(label["family"])
    of_older: dict[str, list[Label]] = {}
    for label in older:
        of_older.setdefault(crystal[label["family"]], []).append(label)
    rows = [label for label in new if label.get("code") == IMPORTED and label["status"] == "admitted"]
    for digest in sorted({label["settings_digest"] for label in rows}):
        own = [label for label in rows if label["settings_digest"] == digest]
        families = {crystal[label["family"]]: found[label["_id"]] for label in own}
        families |= {
            crystal[label["family"]]: label["split"]
            for label in older
            if label["status"] == "admitted" and label["settings_digest"] == digest
        }
        free = {crystal[label["family"]] for label in own} - anchored
        movable = [
            sorted((family for family in free if is_free(family)), key=lambda family: (position_of(family, seed), family))
            for is_free in (
                lambda family: family not in of_older,
                lambda family, digest=digest: (  # type: ignore[misc]
                    names[family] == {family}
                    and all(x["how"] in ANCHORS and x["settings_digest"] != digest for x in of_older.get(family, ()))
                ),
            )
        ]
        shares = {"test": training.test_fraction, "validation": training.validation_fraction, "train": 1.0}
        for wanted, fraction in shares.items():
            if fraction <= 0.0 or wanted in families.values():
                continue
            counts = Counter(families.values())
            spares = [[family for family in group if counts[families[family]] > 1] for group in movable]
            spare = next((group for group in spares if group), [])
            if not spare:
                continue
            most = max(counts[families[family]] for family in spare)
            crowded = [family for family in spare if counts[families[family]] == most]
            moved = crowded[-1 if wanted == "train" else 0]
            families[moved] = wanted
            found |= {label["_id"]: wanted for label in new if crystal[label["family"]] == moved and label["_id"] in found}
    return found
