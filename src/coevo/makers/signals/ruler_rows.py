"""Rows of the ruler: what the samples of all iterations are by one force field, on one hull."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from coevo.analysis.comparison.matching import Matching
    from coevo.analysis.hull.hull import Hull
    from coevo.makers.populations.population import Member


def ruler_rows(
    members: Sequence[Member], hull: Hull, elements: Sequence[str], matching: Matching, stable_threshold: float, workers: int
) -> list[dict[str, Any]]:
    """Describe the sampled candidates.

    Parameters
    ----------
    members : sequence of Member
        Of all iterations; those of one are compared with each other.
    hull : Hull
    elements : sequence of str
    matching : Matching
    stable_threshold : float
        eV/atom.
    workers : int

    Returns
    -------
    list of dict
        ``since`` (iteration) and the fields of :class:`coevo.analysis.signals.ruler.SampledCandidate`, in the order of the
        members.
    """
    from coevo.analysis.composition import fractions, reduced_formula
    from coevo.analysis.signals.diversity import space_group_number

    if not members:
        return []
    shares = fractions([m.structure for m in members], elements)
    above = [float(value) for value in hull.energy_above_hull(shares, [m.energy_per_atom for m in members])]
    groups = _groups(members, matching, workers)
    return [
        {
            "since": m.document["since"],
            "energy_above_hull": value,
            "is_stable": value <= stable_threshold,
            # samples of states of an older coevo have no record of these
            "is_unique": m.document.get("is_unique"),
            "is_novel": m.document.get("is_novel"),
            "formula": reduced_formula(m.structure),
            "space_group": space_group_number(m.structure),
            "group": groups[m.document["since"], m.id],
        }
        for m, value in zip(members, above, strict=True)
    ]


def summaries(rows: Iterable[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Summarise rows of :func:`ruler_rows` by iteration; see :func:`coevo.analysis.signals.ruler.summarise`."""
    from coevo.analysis.signals.ruler import SampledCandidate, summarise

    by_iteration: dict[str, list[SampledCandidate]] = {}
    for row in rows:
        candidate = SampledCandidate(**{key: value for key, value in row.items() if key != "since"})
        by_iteration.setdefault(str(row["since"]), []).append(candidate)
    return {since: summarise(sample) for since, sample in by_iteration.items()}


def _groups(members: Sequence[Member], matching: Matching, workers: int) -> dict[tuple[int, str], str]:
    """Representative of each sampled candidate among those of its iteration."""
    from coevo.analysis.comparison.uniqueness import find_representatives

    found = {}
    for since in sorted({m.document["since"] for m in members}):
        items = [m.item for m in members if m.document["since"] == since]
        representatives = find_representatives(items, [], matching, workers=workers)
        found.update({(since, name): representative for name, representative in representatives.items()})
    return found
