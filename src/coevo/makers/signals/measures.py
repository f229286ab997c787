"""The environments' numbers of a state: entropies by both descriptors, and how much of what is new in it is new.

Also here, rows of the ruler: what the samples of all iterations are by one force field, on one hull.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coevo.node_store.seeds import seed_for
from coevo.output.progress import task

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from numpy.typing import NDArray
    from pymatgen.core import Structure

    from coevo.analysis.comparison.matching import Matching
    from coevo.analysis.hull.hull import Hull
    from coevo.configs.tree import MaturityConfig, NodeSection
    from coevo.makers.populations.population import Member


Record = dict[str, Any]


def environment_metrics(
    evaluations: Sequence[Record],
    geometries: Mapping[str, Record],
    node: NodeSection,
    maturity: MaturityConfig,
    iteration: int,
    *,
    workers: int,
) -> Record:
    """Measure the local environments of a state's entries.

    Parameters
    ----------
    evaluations : sequence of dict
        Evaluation documents of its entries and references; duplicates do not count.
    geometries : mapping of str to dict
        Present geometry of each, by its id, as a structure document.
    node : NodeSection
    maturity : MaturityConfig
    iteration : int
        Of the state: part of the seeds, and what makes an entry a new one.
    workers : int

    Returns
    -------
    dict
        ``entropy`` and ``entropy_multicomponent`` (see :func:`coevo.analysis.environments.signal.entropy_document`), and
        ``new_environments``; each None where there is no signal.
    """
    from coevo.analysis.environments.descriptors import descriptors_of
    from coevo.analysis.environments.entropy import sampled_entropies
    from coevo.analysis.environments.signal import entropy_document, multicomponent_entropies
    from coevo.node_store.canonical import structure_from_document

    alive = {d["structure_id"]: d for d in evaluations if d["kind"] == "reference" or d["duplicate_of"] is None}
    ids = {kind: sorted(i for i, d in alive.items() if d["kind"] == kind) for kind in ("entry", "reference")}
    entries, references = ([structure_from_document(geometries[i]) for i in ids[kind]] for kind in ("entry", "reference"))
    k, cutoff = node.descriptor.neighbours, node.descriptor.cutoff
    with task("measuring environments", len(entries), "structures") as advance:
        X, _ = descriptors_of(entries, k, cutoff, workers=workers, progress=advance)
    known, _ = descriptors_of(references, k, cutoff, workers=workers)
    sampling: dict[str, Any] = {
        "bandwidth": node.descriptor.bandwidth,
        "subsamples": maturity.subsamples,
        "seed": seed_for(node, iteration, "entropy"),
        "elements": node.elements,
    }
    plain = sampled_entropies(X, _centres(entries), maturity.environments, **sampling)
    with task("environments by species", len(entries), "structures") as advance:
        seeing = multicomponent_entropies(
            entries, maturity.environments, neighbours=k, cutoff=cutoff, workers=workers, progress=advance, **sampling
        )
    since = [alive[i]["iteration_added"] for i in ids["entry"]]
    return {
        "entropy": entropy_document(plain, len(X)),
        "entropy_multicomponent": entropy_document(seeing, len(X)),
        "new_environments": _new(
            X, known, entries, references, [value == iteration for value in since], node, maturity, iteration
        ),
    }


def _new(
    X: NDArray[Any],
    of_references: NDArray[Any],
    entries: Sequence[Structure],
    references: Sequence[Structure],
    is_new: Sequence[bool],
    node: NodeSection,
    maturity: MaturityConfig,
    iteration: int,
) -> Record | None:
    """Share of the newest entries' environments that are like none of the older entries' and the references'."""
    import numpy as np

    from coevo.analysis.environments.signal import new_environments

    added = np.repeat(np.array(is_new, dtype=bool), [len(structure) for structure in entries])
    species = np.array(_centres(entries), dtype=str)
    return new_environments(
        X[added],
        species[added].tolist(),
        np.concatenate([X[~added], of_references]),
        [*species[~added].tolist(), *_centres(references)],
        elements=node.elements,
        limit=maturity.environments,
        bandwidth=node.descriptor.bandwidth,
        seed=seed_for(node, iteration, "new-environments"),
    ).to_dict()


def _centres(structures: Sequence[Structure]) -> list[str]:
    """Species of the atoms of all structures, in order."""
    return [site.specie.symbol for structure in structures for site in structure]


def ruler_rows(
    members: Sequence[Member],
    hull: Hull,
    elements: Sequence[str],
    matching: Matching,
    stable_threshold: float,
    workers: int,
    withheld: Collection[str] = (),
) -> list[dict[str, Any]]:
    """Describe the sampled candidates.

    Parameters
    ----------
    members : sequence of Member
        Of all iterations; those of one are compared with each other. What is a refuted entry of the state has its label's
        energy, as there.
    hull : Hull
    elements : sequence of str
    matching : Matching
    stable_threshold : float
        eV/atom.
    workers : int
    withheld : collection of str
        Ids of entries that are refuted or in doubt: a sample that is one of them is not S.U.N.

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
            # only where it is so: samples of states whose hull all makes stay as they were
            **({"sun_withheld": True} if m.id in withheld else {}),
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
