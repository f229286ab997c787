"""Which entries are in doubt: without a label, and like one that a label found to be a false minimum."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from coevo.configs.tree import NodeSection
    from coevo.makers.populations.hull_members import Standing
    from coevo.makers.populations.population import Member

    Record = dict[str, Any]


def in_doubt(
    documents: Sequence[Record],
    references: Sequence[Member],
    entries: Sequence[Member],
    standing: Standing,
    node: NodeSection,
    workers: int,
) -> frozenset[str]:
    """Return ids of entries in doubt.

    They have no label, are stable and no duplicates, and either have the reduced formula of a false minimum, or are nearer to one
    in their local environments than to any reference and any entry that its label confirms
    (:func:`coevo.analysis.environments.nearness.nearest_of`). Nothing is computed where no label found a false minimum.

    Parameters
    ----------
    documents : sequence of dict
        Evaluations on the hull of labelled phases.
    references, entries : sequence of Member
    standing : Standing
    node : NodeSection
        Its descriptor.
    workers : int
    """
    from coevo.analysis.environments.nearness import nearest_of

    if not standing.false_minima:
        return frozenset()
    of = {document["structure_id"]: document for document in documents}
    asked = [m for m in entries if m.id not in standing.labelled and of[m.id]["is_stable"] and of[m.id]["duplicate_of"] is None]
    formulas = {of[identifier]["formula"] for identifier in standing.false_minima}
    doubted = {m.id for m in asked if of[m.id]["formula"] in formulas}
    rest = [m for m in asked if m.id not in doubted]
    false = [m.structure for m in entries if m.id in standing.false_minima]
    confirmed = [m for m in entries if m.id in standing.labelled and m.id not in standing.refuted]
    known = [m.structure for m in (*references, *confirmed)]
    k, cutoff = node.descriptor.neighbours, node.descriptor.cutoff
    distances = nearest_of([m.structure for m in rest], [false, known], node.elements, k, cutoff, workers=workers)
    doubted |= {m.id for m, (to_false, to_known) in zip(rest, distances.tolist(), strict=True) if to_false < to_known}
    return frozenset(doubted)
