"""Which frames are labelled: those that were selected and, as long as the offsets cannot be fitted, references to fit them on.

Or all references, each once (``labelling.references: all``): then the residuals of the offsets are told of every one of them.

A frame that has a label of the same settings is not computed again: the same numbers, or the same rejection, would come out. One
that *failed* has neither; it is tried again when it is wanted again. The offsets between the energy scales of the labels and of
the force field ask for the frozen offset of each element, or for an admitted label of a reference of it alone
(:func:`coevo.analysis.hull.energy_scale.why_no_offsets`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from coevo.makers.labels.imported import ANCHORS
from coevo.makers.labels.training_set import elements_of
from coevo.makers.populations.population import members
from coevo.node_store.canonical import structure_document, structure_id

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from coevo.configs.tree import NodeSection
    from coevo.makers.populations.population import Member
    from coevo.node_store.views import StateView

    Record = dict[str, Any]
    Label = dict[str, Any]

ON_HULL = 1e-8
"""eV/atom; references up to this are on the hull of the references."""


@dataclass
class WantedFrames:
    """What is to be labelled.

    Attributes
    ----------
    new : list of dict
        Frames without a label of these settings: ``{id, structure, family, kind, how}``.
    again : list of dict
        Frames whose label failed, with ``after``: the state that they are tried again after. So each state is one more attempt,
        and an attempt that is resumed is the same one.
    notes : list of str
        What people should know of the references that the offsets are fitted on.
    """

    new: list[Record] = field(default_factory=list)
    again: list[Record] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def wanted_frames(
    view: StateView, node: NodeSection, settings_id: str, selected: Sequence[Record], *, all_references: bool = False
) -> WantedFrames:
    """Return what is to be labelled of the selected frames and of the references that the offsets need, or of all references.

    Parameters
    ----------
    view : StateView
        The parent state, with the labels that are there.
    node : NodeSection
    settings_id : str
        Digest of the settings of the labels.
    selected : sequence of dict
        Frames.
    all_references : bool
        Label every reference once, at the geometry that it has then (``labelling.references: all``).
    """
    labelled = [label for label in view.labels() if label["settings_digest"] == settings_id]
    done = {label["frame"] for label in labelled if label["status"] != "failed"}
    failed = {label["frame"] for label in labelled} - done
    lacking = elements_without_offset(view, node, settings_id, labelled)
    references, notes = _anchors(members(view, "reference"), lacking, labelled, failed) if lacking else ([], [])
    if all_references:
        references = _with_the_others(references, members(view, "reference"), labelled)
    frames = {frame["id"]: frame for frame in [*references, *selected]}
    frames |= {frame["id"]: frame for frame in references}  # also selected or not: only a reference is an anchor
    wanted = WantedFrames(notes=notes)
    for identifier, frame in frames.items():
        if identifier in failed:
            wanted.again.append({**frame, "after": view.id})
        elif identifier not in done:
            wanted.new.append(frame)
    return wanted


def elements_without_offset(view: StateView, node: NodeSection, settings_id: str, labelled: Iterable[Label]) -> set[str]:
    """Elements of the node that have neither a frozen offset for these settings nor an admitted label of a reference alone."""
    frozen = view.manifest["offsets"].get(settings_id, {}).get("elements", [])
    anchors = [label for label in labelled if label["status"] == "admitted" and label["how"] in ANCHORS]
    alone = [elements for label in anchors if len(elements := elements_of([label])) == 1]
    return set(node.elements).difference(frozen, *alone)


def _anchors(
    references: Sequence[Member], lacking: Collection[str], labelled: Sequence[Label], failed: Collection[str]
) -> tuple[list[Record], list[str]]:
    """Return the references on the hull with elements that lack an offset, others of an element where those will not do."""
    rejected = {label["frame"]: label["reason"] for label in labelled if label["status"] == "rejected"}
    stable = [m for m in references if m.document["energy_above_reference_hull"] <= ON_HULL]
    chosen = [m for m in stable if set(lacking) & set(m.document["elements"])]
    notes = []
    for symbol in sorted(lacking):
        alone = [m for m in references if m.document["elements"] == [symbol]]
        alone.sort(key=lambda m: (m.document["energy_above_reference_hull"], m.id))
        refused = [m for m in alone if structure_id(m.structure) in rejected]
        usable = [m for m in alone if m not in refused]
        # a failure may be of the hour or for good: beside the one that is tried again, the next one is tried
        failures = [m for m in usable if structure_id(m.structure) in failed]
        wanted = usable[: len(failures) + 1]
        chosen += [m for m in wanted if m not in chosen]
        if refused or failures:
            notes.append(_note(symbol, refused, failures, wanted, rejected))
    return [_frame(m) for m in chosen], notes


def _with_the_others(chosen: Sequence[Record], references: Sequence[Member], labelled: Sequence[Label]) -> list[Record]:
    """Add the references that have no label of their own; one whose geometry a later force field moved has it all the same."""
    settled = {label.get("family") for label in labelled if label["status"] != "failed" and label["how"] == "reference"}
    there = {frame["family"] for frame in chosen}
    return [*chosen, *(_frame(m) for m in references if m.id not in settled | there)]


def _note(
    symbol: str, refused: Sequence[Member], failures: Sequence[Member], wanted: Sequence[Member], rejected: dict[str, str]
) -> str:
    reasons = [f"{_name(m)} was rejected ({rejected[structure_id(m.structure)]})" for m in refused]
    reasons += [f"{_name(m)} failed and is tried again" for m in failures]
    others = [_name(m) for m in wanted if m not in failures]
    todo = f"{', '.join(others)} is labelled" if others else ""
    if not wanted:
        todo = f"no other reference of {symbol} alone is there, so nothing can be trained: add one (coevo add --as references)"
    return f"{symbol}: {', '.join(reasons)}" + (f"; {todo}" if todo else "")


def _name(m: Member) -> str:
    return f"{m.document['formula']} {m.id[:8]}"


def _frame(m: Member) -> Record:
    return {
        "id": structure_id(m.structure),
        "structure": structure_document(m.structure),
        "family": m.id,
        "kind": "relaxed",
        "how": "reference",
    }
