"""Frames that teach a force field its stiffness, and where it went wrong: of phases that the parent state has labels of.

They are beside the label budget, and of families in the train and validation splits alone: a label of the test split teaches
nothing, and the errors on it stay those of the frames that everything has. They are made of a labelled relaxed frame, not of the
geometry that a later force field gives the phase, and a phase that has had its frames labelled is not asked again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from coevo.analysis.stiffness.training_frames import amplitude_frames, downhill
from coevo.makers.labels.stiffness import without_stiffness
from coevo.makers.populations.hull_members import IN_DOUBT, REFUTED
from coevo.makers.populations.population import members
from coevo.node_store.canonical import structure_document, structure_from_document, structure_id
from coevo.node_store.seeds import seed_for

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pymatgen.core import Structure

    from coevo.configs.tree import NodeSection, SelectionConfig
    from coevo.makers.populations.population import Member
    from coevo.node_store.views import StateView

    Record = dict[str, Any]
    Label = dict[str, Any]

STIFF, CORRECTED = "stiff", "corrected"
"""``how`` of frames of phases on the hull, and of entries that labels refute or that have an electron excess."""
DOWNHILL = "downhill"
"""``kind`` of a frame on the way down the labels' forces."""
WITHIN = 0.02
"""eV/atom; a phase up to this above the hull is on it, as for ``curation.hull_window``, where that does not say otherwise."""
LARGEST = 48
"""Atoms of a phase whose frames are labelled, at most."""
AT_REST = 0.02
"""eV/Å and, over a volume of 10 Å³ an atom, eV/Å³: the way down is at its end."""
FURTHEST, MOST_STRAIN = 0.1, 0.02
"""Of one step down: Å, and the largest component of the strain."""


@dataclass
class StiffFrames:
    """What is asked for beside the budget.

    Attributes
    ----------
    frames : list of dict
        ``{id, structure, family, kind, how}``.
    phases : dict of str to int
        Phases by ``how``, those among them that have all their frames included.
    """

    frames: list[Record] = field(default_factory=list)
    phases: dict[str, int] = field(default_factory=dict)


def stiff_frames(view: StateView, node: NodeSection, selection: SelectionConfig, window: float = WITHIN) -> StiffFrames:
    """Return the frames that are asked for of the labelled phases of a state.

    Parameters
    ----------
    view : StateView
        The parent state.
    node : NodeSection
        Its seed.
    selection : SelectionConfig
        ``stiff_frames``, ``stiff_strain``, ``stiff_displacement``, ``refuted_frames``, ``rattle_stdev``, ``label_path``.
    window : float
        Of the hull, eV/atom.
    """
    found = StiffFrames()
    if not (selection.stiff_frames or selection.refuted_frames or selection.label_path):
        return found
    labels: dict[str, list[Label]] = {}
    for label in sorted(without_stiffness(view.labels()), key=lambda label: label["_id"]):
        labels.setdefault(str(label["family"]), []).append(label)
    groups = {STIFF: _on_hull(view, labels, window), CORRECTED: _wrong(view, labels)}
    counts = {STIFF: selection.stiff_frames, CORRECTED: selection.refuted_frames}
    for how, phases in groups.items():
        if not (counts[how] or selection.label_path):
            continue
        found.phases[how] = len(phases)
        for family in phases:
            rows = labels[family]
            base = structure_from_document(_relaxed(rows)[0]["structure"])
            seed = seed_for(node, 0, f"{how} {family}")
            made = list(_amplitudes(base, selection, seed) if how == STIFF else _rattled(base, selection, seed))
            if sum(row["how"] == how and row["kind"] != DOWNHILL and row["status"] != "failed" for row in rows) < len(made):
                found.frames += [_record(structure, family, kind, how) for kind, structure in made]
            if selection.label_path and (step := _step_down(rows, selection.label_path)) is not None:
                found.frames.append(_record(step, family, DOWNHILL, how))
    return found


def _amplitudes(base: Structure, selection: SelectionConfig, seed: int) -> Iterator[tuple[str, Structure]]:
    made = amplitude_frames(
        base, selection.stiff_frames, strain=selection.stiff_strain, displacement=selection.stiff_displacement, seed=seed
    )
    for kind, structure in made:
        if kind == "strained" or len(base) > 1:  # an atom alone in its cell is not displaced
            yield kind, structure


def _rattled(base: Structure, selection: SelectionConfig, seed: int) -> Iterator[tuple[str, Structure]]:
    from coevo.analysis.selection import rattled

    for number in range(selection.refuted_frames):
        yield "rattled", rattled(base, selection.rattle_stdev, seed + number)


def _on_hull(view: StateView, labels: dict[str, list[Label]], window: float) -> list[str]:
    """Labelled phases on the hull, one of each reduced formula: a reference if there is one, else the lowest."""
    chosen: dict[str, str] = {}
    for m in (*_by_energy(members(view, "reference")), *_by_energy(members(view, "entry"))):
        document = m.document
        near = document["energy_above_hull"] <= window and document["duplicate_of"] is None
        believed = document.get("hull_status") not in {REFUTED, IN_DOUBT} and not (document.get("electron_excess") or 0.0) > 0.0
        if near and believed and _can_be_taught(m, labels):
            chosen.setdefault(document["formula"], m.id)
    return list(chosen.values())


def _wrong(view: StateView, labels: dict[str, list[Label]]) -> list[str]:
    """Labelled entries that the labels refute, or that have more electrons than their elements can take."""
    found = [
        m
        for m in _by_energy(members(view, "entry"))
        if m.document.get("hull_status") == REFUTED or (m.document.get("electron_excess") or 0.0) > 0.0
    ]
    return [m.id for m in found if _can_be_taught(m, labels)]


def _by_energy(population: Sequence[Member]) -> list[Member]:
    return sorted(population, key=lambda m: (m.document["energy_above_hull"], m.id))


def _can_be_taught(m: Member, labels: dict[str, list[Label]]) -> bool:
    rows = labels.get(m.id, [])
    return bool(_relaxed(rows)) and all(row["split"] != "test" for row in rows) and len(m.structure) <= LARGEST


def _relaxed(rows: Sequence[Label]) -> list[Label]:
    return [row for row in rows if row["kind"] == "relaxed" and row["status"] == "admitted"]


def _step_down(rows: Sequence[Label], most: int) -> Structure | None:
    """The next frame of the way down from the lowest label of it; None where that is at rest, or the way is long enough."""
    digest = _relaxed(rows)[0]["settings_digest"]
    way = [row for row in rows if row["settings_digest"] == digest and row["kind"] in {"relaxed", DOWNHILL}]
    if sum(row["kind"] == DOWNHILL and row["status"] != "failed" for row in way) >= most:
        return None
    last = min((row for row in way if row["status"] == "admitted"), key=lambda row: (row["energy_per_atom"], row["_id"]))
    structure = structure_from_document(last["structure"])
    force = max(sum(x * x for x in force) ** 0.5 for force in last["forces"])
    stress = max(abs(x) for row in last["stress"] for x in row) * structure.volume / len(structure)
    if max(force, stress) <= AT_REST:
        return None
    step = downhill(structure, last["forces"], last["stress"], furthest=FURTHEST, most_strain=MOST_STRAIN)
    return None if structure_id(step) in {row["frame"] for row in way} else step


def _record(structure: Structure, family: str, kind: str, how: str) -> Record:
    return {"id": structure_id(structure), "structure": structure_document(structure), "family": family, "kind": kind, "how": how}
