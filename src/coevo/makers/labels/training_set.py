"""The training set of a state: its labels of one settings digest, mapped to the force field's energy scale, split by family."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from coevo.makers.labels.imported import ANCHORS
from coevo.makers.labels.stiffness import is_stiffness, without_stiffness

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from coevo.analysis.hull.energy_scale import Offsets
    from coevo.configs.tree import TrainingConfig
    from coevo.models.contracts import ForceField, TrainingFrame

    Label = dict[str, Any]


@dataclass(frozen=True)
class Scale:
    """How the labels of one settings digest are mapped to the force field's energies.

    Attributes
    ----------
    offsets : Offsets or None
        None: energies cannot be compared, so nothing can be trained.
    warning : str
        Why the offsets are missing, or empty.
    energy_scale : str
        Of the force field.
    """

    offsets: Offsets | None
    warning: str
    energy_scale: str

    def frames(self, labels: Sequence[Label]) -> list[TrainingFrame]:
        """Return labels as training frames on the force field's energy scale; needs offsets."""
        assert self.offsets is not None
        return [frame_of(label, self.offsets, self.energy_scale) for label in labels]


def scale_for(
    labels: Sequence[Label],
    stored: dict[str, Any] | None,
    force_field: ForceField,
    elements: Sequence[str],
    *,
    workers: int,
    accept_mismatch: bool = False,
) -> Scale:
    """Return the frozen offsets of this settings digest, fitted on the labelled references the first time.

    Offsets are of the elements that the labels hold. Where further labels, a merge or an extension bring elements that the frozen
    offsets lack, only those are fitted. What is fitted is refused where it leaves more than
    :data:`coevo.analysis.hull.scale_mismatch.LIMIT` of the references; what is frozen stays. A reference with several labels, as
    of the geometries that force fields after one another gave it, is fitted by the last of them only.

    Parameters
    ----------
    labels : sequence of dict
        Admitted labels of one settings digest, in the order of the state, new ones last.
    stored : dict or None
        Offsets that the parent state has for this digest; they stay.
    force_field : ForceField
        The parent's, whose energies the offsets lead to.
    elements : sequence of str
        Of the node.
    workers : int
    accept_mismatch : bool
        Take the offsets whatever they leave.
    """
    from coevo.analysis.composition import fractions
    from coevo.analysis.hull.energy_scale import Offsets, fit_further_offsets, fit_offsets, joined_offsets
    from coevo.analysis.hull.scale_mismatch import is_mismatch, mismatch_words
    from coevo.models.contracts import Prediction
    from coevo.node_store.canonical import structure_from_document

    frozen = None if stored is None else Offsets.from_dict(stored)
    present = elements_of(labels)
    if frozen is not None and present <= set(frozen.elements):
        return Scale(frozen, "", force_field.energy_scale)
    elements = [symbol for symbol in elements if symbol in present or (frozen is not None and symbol in frozen.elements)]
    anchors = [label for label in labels if label["how"] in ANCHORS]
    structures = [structure_from_document(label["structure"]) for label in anchors]
    predictions = force_field.evaluate(structures, workers=workers)
    rows = _last_of_each(
        [(s, label, p) for s, label, p in zip(structures, anchors, predictions, strict=True) if isinstance(p, Prediction)]
    )
    if not rows:
        return Scale(None, "no reference has a label: the two energy scales cannot be joined", force_field.energy_scale)
    shares = fractions([s for s, _, _ in rows], elements)
    is_elemental = np.array([len(s.composition) == 1 for s, _, _ in rows])
    model_energies = np.array([p.energy for _, _, p in rows])
    label_energies = np.array([corrected_energy(label, s, force_field.energy_scale) for s, label, _ in rows])
    names = [(str(label["family"]), s.composition.reduced_formula) for s, label, _ in rows]
    points = (shares, model_energies, label_energies, elements, is_elemental, names)
    fitted, reason = fit_offsets(*points) if frozen is None else fit_further_offsets(frozen, *points)
    if fitted is None:
        return Scale(None, reason, force_field.energy_scale)
    if is_mismatch(fitted) and not accept_mismatch:
        return Scale(None, mismatch_words(fitted), force_field.energy_scale)
    offsets = fitted if frozen is None else joined_offsets(frozen, fitted, elements)
    return Scale(offsets, "", force_field.energy_scale)


def _last_of_each(rows: Sequence[tuple[Any, Label, Any]]) -> list[tuple[Any, Label, Any]]:
    """The last row of each reference; a reference is weighed once."""
    last = {label["family"]: place for place, (_, label, _) in enumerate(rows)}
    return [rows[place] for place in sorted(last.values())]


@dataclass(frozen=True)
class Scales:
    """The scales of all labels of one fit.

    Attributes
    ----------
    by_settings : dict
        Settings digest to scale; digests whose energies cannot be compared are not in it.
    warnings : tuple of str
        Why labels of a digest are left out.
    """

    by_settings: dict[str, Scale]
    warnings: tuple[str, ...]

    def frames(self, labels: Sequence[Label]) -> list[TrainingFrame]:
        """Return labels as training frames, each through the offsets of its own settings."""
        return [self.by_settings[label["settings_digest"]].frames([label])[0] for label in labels]

    def offsets(self) -> dict[str, dict[str, Any]]:
        """Offsets by settings digest, as a state stores them."""
        return {digest: scale.offsets.to_dict() for digest, scale in self.by_settings.items() if scale.offsets is not None}


def scales_for(
    labels: Sequence[Label],
    stored: dict[str, Any],
    force_field: ForceField,
    elements: Sequence[str],
    *,
    workers: int,
    accept_mismatch: bool = False,
) -> Scales:
    """Return the scale of each settings digest among the labels; see :func:`scale_for`."""
    found, warnings = {}, []
    for digest in sorted({label["settings_digest"] for label in labels}):
        rows = [label for label in labels if label["settings_digest"] == digest]
        scale = scale_for(rows, stored.get(digest), force_field, elements, workers=workers, accept_mismatch=accept_mismatch)
        left_out = "" if scale.offsets is not None else f"{len(rows)} labels of {rows[0]['code']}: "
        if scale.offsets is not None:
            found[digest] = scale
        if scale.warning:
            warnings.append(left_out + scale.warning)
    return Scales(found, tuple(warnings))


def elements_of(labels: Sequence[Label]) -> set[str]:
    """Elements in the frames of labels."""
    return {species["element"] for label in labels for site in label["structure"]["sites"] for species in site["species"]}


def corrected_energy(label: Label, structure: Any, energy_scale: str) -> float:
    """Energy of a label with the anion correction if the force field's scale has it, and without if that has not, eV/atom."""
    from coevo.analysis.hull.energy_scale import anion_correction, holds_foreign_correction, needs_anion_correction

    energy, functional = float(label["energy_per_atom"]), label["functional"]
    scales: dict[str, Any] = {"anion_corrected": label["anion_corrected"], "energy_scale": energy_scale}
    if needs_anion_correction(functional, **scales):
        return energy + anion_correction(structure)
    if holds_foreign_correction(functional, **scales):
        return energy - anion_correction(structure)
    return energy


def frame_of(label: Label, offsets: Offsets, energy_scale: str) -> TrainingFrame:
    """Return a label as a training frame on the force field's energy scale."""
    from coevo.models.contracts import TrainingFrame
    from coevo.node_store.canonical import structure_from_document

    structure = structure_from_document(label["structure"])
    energy = corrected_energy(label, structure, energy_scale)
    return TrainingFrame(
        structure=structure,
        energy=energy + offsets.of(structure),
        forces=np.array(label["forces"], dtype=float).reshape(-1, 3),
        stress=np.array(label["stress"], dtype=float),
    )


def splits_for(
    new: Sequence[Label],
    older: Sequence[Label],
    training: TrainingConfig,
    seed: int,
    same_as: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Return the split of each new label: that of older labels of its frame, family or crystal, else by the hash of the family.

    After a merge a family may be test although its hash says train, because it was test in the other parent. A family with a
    frame that fixes the offsets is trained on. Imported labels leave no split empty
    (:func:`coevo.makers.labels.imported.completed`). Labels of stiffness are test, and say nothing of their family's others.

    Parameters
    ----------
    new, older : sequences of dict
        Label documents; the older ones with their ``split``.
    training : TrainingConfig
    seed : int
    same_as : mapping of str to str, optional
        Of new families, the one that is the same crystal and decides for both (:mod:`coevo.makers.labels.same_crystals`).
    """
    from coevo.makers.labels.imported import completed

    same = same_as or {}
    known: dict[tuple[str, str | None], str] = {}
    for label in without_stiffness(older):
        for kind in ("family", "frame"):
            known[kind, label[kind]] = stricter(known.get((kind, label[kind])), label["split"])
    # the representative is whichever has the lowest energy: an anchor, or a family that has labels, may be any of a crystal's
    anchored = {label["family"] for label in new if label["how"] in ANCHORS}
    anchored |= {same.get(family, family) for family in anchored}
    names: dict[str, set[str]] = {}
    for label in without_stiffness(new):
        family = same.get(label["family"], label["family"])
        names.setdefault(family, {family}).add(label["family"])
    splits = {}
    for label in new:
        if is_stiffness(label):
            splits[label["_id"]] = "test"
            continue
        family = same.get(label["family"], label["family"])
        found = [known.get(("frame", label["frame"])), *(known.get(("family", name)) for name in sorted(names[family]))]
        own = "train" if family in anchored else split_for({**label, "family": family}, training, seed)
        splits[label["_id"]] = stricter(*found) if any(found) else own
    return completed(without_stiffness(new), without_stiffness(older), splits, anchored, training, seed, same)


def stricter(*splits: str | None) -> str:
    """Return the split of what is in several of them: test, else validation, else train."""
    return next(split for split in ("test", "validation", "train") if split in splits)


def split_for(label: Label, training: TrainingConfig, seed: int) -> str:
    """Return the split of a label; all frames of a family share it, and the references that fix the offsets are trained on."""
    from coevo.analysis.selection import split_of

    if label["how"] in ANCHORS:
        return "train"
    return split_of(
        label["family"], test_fraction=training.test_fraction, validation_fraction=training.validation_fraction, seed=seed
    )


def replayed(new: list[Label], old: list[Label], replay: int, seed: int) -> list[Label]:
    """Join new training labels with at most ``replay`` older ones drawn at random."""
    rng = np.random.default_rng(seed)
    if len(old) > replay:
        old = [old[i] for i in sorted(rng.choice(len(old), size=replay, replace=False).tolist())]
    return new + old
