"""Which known phases a state has found: its entries compared with phases that its references lack.

The comparison itself is :mod:`coevo.analysis.comparison.rediscovery`; here the state is read and, where it is wanted, the targets
are relaxed by its force field.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from coevo.analysis.comparison.rediscovery import (
    Carrier,
    Found,
    Rediscovery,
    StructureMatch,
    best_match,
    displacement,
    lowest,
    match_targets,
    motif_returns,
)
from coevo.configs.element_lists import ELEMENT_SYMBOLS
from coevo.configs.loading import config_from_dict
from coevo.configs.references import ReferenceStructure, load_references
from coevo.errors import ConfigError, ReferenceDataError
from coevo.node_store.current import current_store
from coevo.node_store.trust.arrivals import refuse_unagreed
from coevo.output.progress import task

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pymatgen.core import Structure

    from coevo.analysis.cell_reduction import Crystal
    from coevo.analysis.comparison.matching import Matching
    from coevo.analysis.comparison.uniqueness import Item
    from coevo.configs.tree import NodeConfig
    from coevo.makers.populations.population import Member
    from coevo.node_store.views import StateView

_CHUNK = 100
"""Structures that a process is given at a time."""
_FEW = 10
"""Chunks below which starting processes takes longer than the work."""


def withheld_targets(view: StateView) -> list[ReferenceStructure]:
    """Load the phases that the node withholds (``references.exclude``) from its own set or files.

    Raises
    ------
    ReferenceDataError
        If it withholds none, or the set cannot be read from here.
    """
    config = config_from_dict(view.document["config"], f"configuration of {view.node}@{view.id[:12]}")
    exclude = config.references.exclude
    if not exclude:
        raise ReferenceDataError(
            f"{view.node} withholds no phase (references.exclude is empty), so there is nothing to come back; give known phases "
            "with --targets (a bundled set or a file)"
        )
    try:
        # a file that a stranger's bundle names is not even opened
        refuse_unagreed(current_store(), view.node, {"node": {"references": config.node.references}})
        phases = load_references(config.node.references, config.node.elements, complete=False)
    except (ConfigError, ReferenceDataError) as err:
        raise ReferenceDataError(f"{err}; the withheld phases are read from there: give them with --targets") from err
    found = {phase.name: phase for phase in phases}
    missing = [name for name in exclude if name not in found]
    if missing:
        raise ReferenceDataError(
            f"{config.node.references}: no phase is called {', '.join(map(repr, missing))} any more; give the withheld phases "
            "with --targets"
        )
    return [found[name] for name in exclude]


def load_targets(
    spec: str | Path, elements: Sequence[str], names: Sequence[str] = ()
) -> tuple[list[ReferenceStructure], list[ReferenceStructure]]:
    """Load known phases to look for.

    Parameters
    ----------
    spec : str or Path
        A bundled set, or a file (CIF, extended XYZ, JSON).
    elements : sequence of str
        Of the node.
    names : sequence of str
        Only these phases; all if empty.

    Returns
    -------
    targets, foreign : list of ReferenceStructure
        Those within the elements, and the others.

    Raises
    ------
    ReferenceDataError
        If the file cannot be used, a name is not in it, or nothing is left.
    """
    phases = load_references(spec, sorted(ELEMENT_SYMBOLS), complete=False)
    unknown = [name for name in names if name not in {phase.name for phase in phases}]
    if unknown:
        raise ReferenceDataError(
            f"{spec}: no phase is called {', '.join(map(repr, unknown))}; allowed: "
            f"{', '.join(repr(phase.name) for phase in phases[:50])}"
        )
    wanted = [phase for phase in phases if not names or phase.name in names]
    allowed = set(elements)
    targets = [p for p in wanted if {element.symbol for element in p.structure.composition} <= allowed]
    if not targets:
        raise ReferenceDataError(
            f"{spec}: none of {len(wanted)} phases consists of {', '.join(elements)} alone; give phases of that system"
        )
    return targets, [phase for phase in wanted if phase not in targets]


def rediscover(
    view: StateView, targets: Sequence[ReferenceStructure], *, relax: bool = False, motifs: bool = True, workers: int = 1
) -> list[Rediscovery]:
    """Look for known phases among the entries of a state, with the tolerances of its node's curation.

    Parameters
    ----------
    view : StateView
    targets : sequence of ReferenceStructure
        Phases within the node's elements, whether the state was told of them or not: :attr:`Rediscovery.reference` says which
        reference one is.
    relax : bool
        Relax the targets by the state's own force field first, and give their E_hull on its hull. Otherwise they are compared as
        they are.
    motifs : bool
        Look for their motifs too, in entries of any composition.
    workers : int
        Processes; the answer does not depend on it.

    Returns
    -------
    list of Rediscovery
        One for each target, in their order.

    Raises
    ------
    CheckpointError
        With ``relax``: if the force field is not here, or came in a bundle and is not trusted.
    """
    from coevo.analysis.comparison.uniqueness import Item
    from coevo.makers.populations.fingerprints import fingerprint_table
    from coevo.makers.populations.population import matching_of, members

    config = config_from_dict(view.document["config"], f"configuration of {view.node}@{view.id[:12]}")
    matching = matching_of(config.curation)
    entries, references = members(view, "entry"), members(view, "reference")
    structures, notes = [target.structure for target in targets], [""] * len(targets)
    energies: list[float | None] = [None] * len(targets)
    if relax:
        structures, energies, notes = _relaxed(view, config, structures, workers)
    items = [Item(f"target {number}", structure, 0.0) for number, structure in enumerate(structures)]
    formulas = {structure.composition.reduced_formula for structure in structures}
    alike = [m.item for m in entries if m.document["formula"] in formulas]
    table = fingerprint_table([*items, *alike], [view.id], workers)
    found = match_targets(items, alike, matching, known=table, workers=workers)
    told = _references_that_are([target.structure for target in targets], structures, view, references, matching)
    by_id = {m.id: m for m in entries}
    returns = _motif_returns(structures, entries, workers) if motifs else [None] * len(targets)
    rows = []
    for number, (target, item) in enumerate(zip(targets, items, strict=True)):
        row = _compared(target, item, [by_id[entry] for entry in found[item.id]], entries, matching)
        rows.append(
            replace(row, reference=told[number], energy_above_hull=energies[number], note=notes[number], motifs=returns[number])
        )
    return rows


def _references_that_are(
    given: Sequence[Structure],
    relaxed: Sequence[Structure],
    view: StateView,
    references: Sequence[Member],
    matching: Matching,
) -> list[str | None]:
    """Id of the reference that each target is, if it is one.

    The state's force field may have moved a reference beyond the tolerances (the layers of black P), so references count as they
    were given too.
    """
    from coevo.analysis.comparison.uniqueness import Item, match_references
    from coevo.node_store.canonical import structure_from_document

    known = [Item(m.id, m.structure, m.energy_per_atom) for m in references]
    known += [Item(f"{d['_id']} as given", structure_from_document(d["structure"]), 0.0) for d in view.references()]
    looked = [
        Item(f"{kind} {n}", s, 0.0) for kind, group in (("given", given), ("relaxed", relaxed)) for n, s in enumerate(group)
    ]
    matched = match_references(looked, known, matching)
    names = [matched[f"relaxed {n}"] or matched[f"given {n}"] for n in range(len(given))]
    return [None if name is None else name.partition(" ")[0] for name in names]


def _compared(
    target: ReferenceStructure, item: Item, matches: Sequence[Member], entries: Sequence[Member], matching: Matching
) -> Rediscovery:
    """What became of a target by structure."""
    formula = item.structure.composition.reduced_formula
    same_formula = [_found(m) for m in entries if m.document["formula"] == formula]
    measured = [StructureMatch(_found(m), displacement(item.structure, m.structure, matching)) for m in matches]
    return Rediscovery(
        name=target.name,
        source=target.source,
        formula=formula,
        nsites=len(item.structure),
        reference=None,
        energy_above_hull=None,
        note="",
        matches=len(matches),
        first_iteration=min((match.entry.iteration for match in measured), default=None),
        best=best_match(measured),
        entries_of_formula=len(same_formula),
        nearest=None if matches else lowest(same_formula),
        motifs=None,
    )


def _found(member: Member) -> Found:
    document = member.document
    return Found(member.id, document["formula"], document["iteration_added"], document["energy_above_hull"])


def _relaxed(
    view: StateView, config: NodeConfig, structures: Sequence[Structure], workers: int
) -> tuple[list[Structure], list[float | None], list[str]]:
    """Targets relaxed by the state's force field, their energies above its hull, and notes on those that failed."""
    from coevo.analysis.composition import fractions
    from coevo.makers.checkpoints import load_force_field
    from coevo.makers.populations.hull_members import state_hull
    from coevo.makers.screen import relaxation_settings
    from coevo.models.contracts import Failure

    force_field = load_force_field(current_store(), view.document["checkpoints"]["force_field"])
    with task("relaxing known phases", len(structures), "structures") as advance:
        results = force_field.relax(structures, relaxation_settings(config.screening), workers=workers, progress=advance)
    elements = config.node.elements
    hull = state_hull(view, elements)
    geometries, notes = list(structures), [""] * len(structures)
    energies: list[float | None] = [None] * len(structures)
    for number, result in enumerate(results):
        if isinstance(result, Failure):
            notes[number] = f"compared as given: the relaxation failed ({result.reason}: {result.detail})"
            continue
        geometries[number] = result.structure
        above = hull.energy_above_hull(fractions([result.structure], elements), [result.prediction.energy])
        energies[number] = float(above[0])
    return geometries, energies, notes


def _motif_returns(structures: Sequence[Structure], entries: Sequence[Member], workers: int) -> list[Any]:
    """Motifs of each target among the entries; the whole population is looked at once."""
    from coevo.analysis import cell_reduction
    from coevo.processes import map_chunks

    crystals = [cell_reduction.Crystal.from_structure(structure) for structure in (*structures, *(m.structure for m in entries))]
    chunks = [crystals[start : start + _CHUNK] for start in range(0, len(crystals), _CHUNK)]
    with task("looking for motifs", len(crystals), "structures") as advance:
        few = workers == 1 or len(chunks) < _FEW
        parts = map_chunks(_motif_names, chunks, workers=1 if few else workers, progress=advance)
        names = [found for part in parts for found in part]
    targets = [Carrier(s.composition.reduced_formula, 0, found) for s, found in zip(structures, names, strict=False)]
    carriers = [
        Carrier(m.document["formula"], m.document["iteration_added"], found)
        for m, found in zip(entries, names[len(structures) :], strict=True)
    ]
    return [motif_returns(target, carriers) for target in targets]


def _motif_names(crystals: Sequence[Crystal]) -> list[dict[str, str]]:
    """Canonical label and name of the motifs of each crystal; for worker processes."""
    from coevo.analysis.motifs.motifs import motifs_of

    return [{motif.label: motif.name for motif in motifs_of(crystal)} for crystal in crystals]
