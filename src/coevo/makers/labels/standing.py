"""What the labels of a state say of its entries: which are labelled, and which of them the labels refute.

A label counts if it is of a relaxed frame, admitted, and by settings for which the state has offsets, so that its energy can be
brought to the scale of the node. Where the code of the node is a first-principles one, only such labels count; elsewhere they
come before a teacher's. Of several the one whose offsets leave least of the references counts, and of those of one digest the
lowest. It refutes the entry if it is further from what the force field says than ``curation.refuted_above`` and than twice the
residual of the offsets. It says nothing (more), neither for nor against, of an entry that has become another crystal since, which
is without a label until it gets one.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from coevo.makers.populations.hull_members import Standing
from coevo.makers.populations.population import matching_of, model_energy

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from coevo.configs.tree import CurationConfig, LabellingConfig
    from coevo.makers.populations.population import Member
    from coevo.node_store.views import StateView

    Record = dict[str, Any]

RESIDUALS = 2.0
"""Root-mean-square residuals of the fit of the offsets by which a label may miss the force field beside ``refuted_above``."""


@dataclass(frozen=True)
class LabelledFrame:
    """A label that says something of the energy of an entry or reference.

    Attributes
    ----------
    energy : float
        On the scale of the node, eV/atom.
    residual_rms : float
        Of the offsets that brought it there, eV/atom.
    first_principles : bool
    label : dict
        The label document.
    """

    energy: float
    residual_rms: float
    first_principles: bool
    label: Record = field(repr=False)

    def limit(self, refuted_above: float) -> float:
        """Difference to the force field up to which label and force field agree, eV/atom."""
        return limit_of(self.residual_rms, refuted_above)


def limit_of(residual_rms: float, refuted_above: float) -> float:
    """Difference up to which a force field and labels agree whose offsets leave ``residual_rms`` of the references, eV/atom."""
    return max(refuted_above, RESIDUALS * residual_rms)


def only_first_principles(labelling: LabellingConfig) -> bool:
    """Whether labels of a teacher say nothing: the node is labelled by a first-principles code."""
    from coevo.labelling.registry import makes_first_principles

    return makes_first_principles(labelling)


def says_energy(label: Record, offsets: Mapping[str, Record], *, first_principles: bool = False) -> bool:
    """Whether a label says the energy of its entry or reference on the scale of the node.

    Parameters
    ----------
    label : dict
        Label document.
    offsets : mapping of str to dict
        By digest of the settings, as a state stores them.
    first_principles : bool
        Labels of teachers do not count.
    """
    from coevo.labelling.registry import is_first_principles
    from coevo.makers.labels.training_set import elements_of

    if label["status"] != "admitted" or label["kind"] != "relaxed" or label["settings_digest"] not in offsets:
        return False
    if first_principles and not is_first_principles(label):
        return False
    return elements_of([label]) <= set(offsets[label["settings_digest"]]["elements"])


def labelled_frames(
    labels: Iterable[Record], offsets: Mapping[str, Record], energy_scale: str, *, first_principles: bool = False
) -> dict[str, list[LabelledFrame]]:
    """Return the labels that count by the entry or reference that they are of, the one that counts most first.

    Parameters
    ----------
    labels : iterable of dict
        Label documents.
    offsets : mapping of str to dict
        By digest of the settings, as a state stores them.
    energy_scale : str
        Of the node.
    first_principles : bool
        Labels of teachers do not count.
    """
    from coevo.analysis.hull.energy_scale import Offsets
    from coevo.labelling.registry import is_first_principles
    from coevo.makers.labels.training_set import corrected_energy
    from coevo.node_store.canonical import structure_from_document

    scales = {digest: Offsets.from_dict(stored) for digest, stored in offsets.items()}
    found: dict[str, list[LabelledFrame]] = {}
    for label in labels:
        if not says_energy(label, offsets, first_principles=first_principles):
            continue
        scale, structure = scales[label["settings_digest"]], structure_from_document(label["structure"])
        energy = corrected_energy(label, structure, energy_scale) + scale.of(structure)
        frame = LabelledFrame(energy, scale.residual_rms, is_first_principles(label), label)
        found.setdefault(label["family"], []).append(frame)
    for frames in found.values():
        frames.sort(key=lambda frame: (not frame.first_principles, frame.residual_rms, frame.energy, frame.label["_id"]))
    return found


def standing_of(
    references: Iterable[Member],
    entries: Iterable[Member],
    frames: Mapping[str, Sequence[LabelledFrame]],
    curation: CurationConfig,
) -> Standing:
    """Compare labels with the energies that the state's force field gives the entries, of labels that are of the same crystal.

    Parameters
    ----------
    references, entries : iterable of Member
        With energies of the force field.
    frames : mapping of str to sequence of LabelledFrame
        :func:`labelled_frames`.
    curation : CurationConfig
    """
    labelled = {reference.id for reference in references if reference.id in frames}
    refuted, false_minima = {}, set()
    for entry in entries:
        for frame in frames.get(entry.id, ()):
            if not _is_of(frame, entry, curation):  # also where it happens to agree
                continue
            difference = frame.energy - entry.energy_per_atom
            if abs(difference) > frame.limit(curation.refuted_above):
                refuted[entry.id] = frame.energy
                if difference > 0:
                    false_minima.add(entry.id)
            labelled.add(entry.id)
            break
    return Standing(frozenset(labelled), refuted, frozenset(false_minima))


def standing_of_state(
    view: StateView,
    references: Iterable[Member],
    entries: Iterable[Member],
    curation: CurationConfig,
    energy_scale: str,
    *,
    first_principles: bool = False,
) -> Standing:
    """Compare the labels of a state with the energies that its force field gives its entries.

    Parameters
    ----------
    view : StateView
    references, entries : iterable of Member
        Of the state.
    curation : CurationConfig
    energy_scale : str
        Of the node.
    first_principles : bool
        Labels of teachers do not count.
    """
    frames = labelled_frames(view.labels(), view.manifest["offsets"], energy_scale, first_principles=first_principles)
    known, judged = ([replace(m, energy_per_atom=model_energy(m.document)) for m in group] for group in (references, entries))
    return standing_of(known, judged, frames, curation)


def _is_of(frame: LabelledFrame, member: Member, curation: CurationConfig) -> bool:
    """Whether a label is of the crystal that an entry is now: a force field that has learned may have relaxed it to another."""
    from coevo.analysis.comparison.uniqueness import Item, match_references
    from coevo.node_store.canonical import structure_from_document, structure_id

    if frame.label["frame"] == structure_id(member.structure):
        return True
    labelled = Item("labelled", structure_from_document(frame.label["structure"]), frame.energy)
    return match_references([replace(member.item, id="now")], [labelled], matching_of(curation))["now"] is not None
