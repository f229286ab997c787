"""Who makes the hull of a state, and with which energy: all of it, or its references and what has a label.

Steps and studies that make the hull of a state, or a hull of part of it, ask here who does (:func:`is_counted`, :func:`counted`,
:func:`state_hull`); a state that is being made is told by :class:`Standing`. Two hulls are others on purpose: that of what asks
for labels, which is the hull if all were believed (:mod:`coevo.makers.labels.hull_phases`), and that of what labels alone say
(:mod:`coevo.makers.labels.validation`). Of a hull of labelled phases (``curation.hull: labelled``):

- References make it, labelled or not, with the energy of the force field: they are known phases, and never refuted.
- An entry with a label makes it: with the energy of the force field, where that and the label agree, and else with the label's.
- An entry or candidate without a label does not make it, whatever the force field says. So none with an electron excess does.

Which labels count, and when they refute: :mod:`coevo.makers.labels.standing`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from coevo.makers.populations.population import hull_of, members, model_energy

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pymatgen.core import Structure

    from coevo.analysis.hull.hull import Hull
    from coevo.configs.tree import CurationConfig
    from coevo.makers.populations.population import Member
    from coevo.node_store.views import StateView

    Record = dict[str, Any]

LABELLED = "labelled"
"""``curation.hull`` of a hull of labelled phases."""
CONFIRMED, UNCONFIRMED, REFUTED, IN_DOUBT = STATUSES = ("confirmed", "unconfirmed", "refuted", "in_doubt")
"""Values of ``hull_status`` of an entry; None of an entry without a label above the hull, and of references."""
WITHHELD = frozenset({REFUTED, IN_DOUBT})
"""Of entries that are not S.U.N. however stable."""
ASKED = "hull"
"""``how`` of labels of phases that were asked for because they are on the hull or near it."""
DOUBT = "doubt"
"""``how`` of labels of entries that were asked for because they are in doubt, further above it."""
BELOW = 1e-8
"""eV/atom; what is above the hull by less is not above it."""


@dataclass(frozen=True)
class Standing:
    """What labels say of the entries of a state.

    Attributes
    ----------
    labelled : frozenset of str
        Ids of entries and references with a label that counts.
    refuted : dict of str to float
        Ids of entries that their label refutes, and its energy on the scale of the node, eV/atom.
    false_minima : frozenset of str
        Those of them whose label is above the force field.
    """

    labelled: frozenset[str]
    refuted: dict[str, float]
    false_minima: frozenset[str]

    def counts(self, entry: Member) -> bool:
        """Whether an entry makes the hull."""
        return entry.id in self.labelled

    def at_its_energy(self, entry: Member) -> Member:
        """An entry with the energy that it has in the state."""
        return replace(entry, energy_per_atom=self.refuted[entry.id]) if entry.id in self.refuted else entry


def is_counted(evaluation: Mapping[str, Any]) -> bool:
    """Whether an entry or reference makes the hull of its state, by its evaluation.

    States whose hull is of everything, as those of earlier versions, say nothing of a ``hull_status``.
    """
    if "hull_status" not in evaluation or evaluation["kind"] == "reference":
        return True
    return evaluation["hull_status"] in {CONFIRMED, REFUTED}


def counted(
    references: Sequence[Member],
    entries: Sequence[Member],
    curation: CurationConfig | None = None,
    standing: Standing | None = None,
) -> list[tuple[Structure, float]]:
    """Geometries of what makes the hull of a state, each with its energy there (eV/atom); references first.

    Parameters
    ----------
    references, entries : sequence of Member
        Of the state (:func:`coevo.makers.populations.population.members`).
    curation : CurationConfig, optional
        Of a step that goes on from the state; by default the state's hull is the one that it was made with.
    standing : Standing, optional
        What labels say of the entries of a state of before the node's hull became one of labelled phases
        (:func:`is_of_before`, :func:`coevo.makers.labels.standing.standing_of_state`).
    """
    if curation is not None and curation.hull != LABELLED:
        return [(m.structure, model_energy(m.document)) for m in (*references, *entries)]
    if standing is None:
        found = [m for m in entries if is_counted(m.document)]
    else:
        found = [standing.at_its_energy(m) for m in entries if standing.counts(m)]
    return [(m.structure, m.energy_per_atom) for m in (*references, *found)]


def is_of_before(entries: Iterable[Member], curation: CurationConfig) -> bool:
    """Whether labelled phases are to make the hull, and the state of these entries was made before they did."""
    return curation.hull == LABELLED and any("hull_status" not in m.document for m in entries)


def state_hull(view: StateView, elements: Sequence[str]) -> Hull:
    """Return the hull of a state, as it was made."""
    return hull_of(elements, counted(members(view, "reference"), members(view, "entry")))


def sun_withheld(evaluations: Iterable[Mapping[str, Any]]) -> frozenset[str]:
    """Ids of entries that are not S.U.N. whatever their energy above the hull: refuted ones, and those in doubt."""
    return frozenset(d["structure_id"] for d in evaluations if d.get("hull_status") in WITHHELD)


def with_status(
    documents: Iterable[Record], standing: Standing, doubted: frozenset[str], energies: Mapping[str, float]
) -> list[Record]:
    """Add ``hull_status`` and ``model_energy_per_atom`` to evaluations; what is refuted or in doubt is not S.U.N.

    Parameters
    ----------
    documents : iterable of dict
        Evaluations on the hull of labelled phases.
    standing : Standing
    doubted : frozenset of str
        Ids of entries in doubt.
    energies : mapping of str to float
        By the force field, eV/atom, of what is refuted.
    """
    rows = []
    for document in documents:
        status = _status(document, standing, doubted)
        rows.append(
            {
                **document,
                "is_sun": bool(document["is_sun"] and status not in WITHHELD),
                "hull_status": status,
                "model_energy_per_atom": energies[document["structure_id"]] if status == REFUTED else None,
            }
        )
    return rows


def _status(document: Record, standing: Standing, doubted: frozenset[str]) -> str | None:
    identifier = document["structure_id"]
    if document["kind"] == "reference":
        return None
    if identifier in standing.refuted:
        return REFUTED
    if identifier in standing.labelled:
        return CONFIRMED
    if identifier in doubted:
        return IN_DOUBT
    return UNCONFIRMED if document["energy_above_hull"] <= BELOW else None


def status_counts(documents: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """How many entries that are no duplicates have each status."""
    live = [d.get("hull_status") for d in documents if d["kind"] == "entry" and d["duplicate_of"] is None]
    return {status: live.count(status) for status in STATUSES}
