"""Curate: hull over references, entries and candidates; uniqueness; novelty; which candidates become entries."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from coevo.configs.electrons import has_electron_excess
from coevo.configs.tree import CurationConfig, MaturityConfig, NodeSection
from coevo.makers.outputs import RELAXED, SCREENED, check_own
from coevo.makers.step import StepMaker, current_store, read_records, step, write_records
from coevo.node_store.seeds import seed_for
from coevo.output.progress import task

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from coevo.makers.generators import DrawnBy
    from coevo.makers.outputs import Checkpoint, Curated, Generated, Screened
    from coevo.makers.populations.hull_members import Standing
    from coevo.makers.populations.population import Member
    from coevo.makers.step import Record
    from coevo.node_store.views import StateView


NEAR_HULL = 0.1
"""eV/atom above the hull; relaxed candidates up to it are what the spread over formulas is told of."""


def _sum_reasons(outputs: Sequence[Generated] | Sequence[Screened]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for output in outputs:
        total.update(output["rejected"])
    return dict(sorted(total.items()))


def _shards_of(drawn_by: Sequence[DrawnBy]) -> dict[str, list[int]]:
    """Numbers of the shards of each family."""
    found: dict[str, list[int]] = {}
    for shard, each in enumerate(drawn_by):
        found.setdefault(each["family"], []).append(shard)
    return found


def _is_novel(row: Record) -> bool:
    return row["is_unique"] and row["matched_reference"] is None


@dataclass
class CurateMaker(StepMaker):
    """Curate one iteration's candidates against the parent state.

    Attributes
    ----------
    node : NodeSection
    curation : CurationConfig
    maturity : MaturityConfig
        Its ``ruler_size`` says how many candidates are kept as the sample that later states measure again.
    first_principles : bool
        Of a hull of labelled phases: labels of teachers do not count.
    formulas : bool
        Count the draws that raced, and say over how many formulas candidates and what is near the hull are spread.
    """

    name: str = "curate"
    node: NodeSection = field(kw_only=True)
    curation: CurationConfig = field(default_factory=CurationConfig)
    maturity: MaturityConfig = field(default_factory=MaturityConfig)
    first_principles: bool = False
    formulas: bool = False

    later: ClassVar[Mapping[str, Any]] = {"first_principles": False, "formulas": False, "drawn_by": None}
    # A result of an earlier version, found by its key, says nothing of electrons: no step depends on it, and tables leave it out.
    version: ClassVar[int] = 3
    packages: ClassVar[tuple[str, ...]] = ("numpy", "scipy", "pymatgen-core", "spglib")

    @step
    def make(
        self,
        generated: list[Generated],
        screened: list[Screened],
        checkpoint: Checkpoint,
        parent: str,
        iteration: int,
        drawn_by: Sequence[DrawnBy] | None = None,
    ) -> Curated:
        """Curate.

        Parameters
        ----------
        generated, screened : list of dict
            Outputs of the iteration's generate and screen jobs.
        checkpoint : dict
            Force-field checkpoint that screened them.
        parent : str
            Id of the parent state.
        iteration : int
            Of the state that is being made.
        drawn_by : sequence of dict, optional
            In a node of several generators, who drew each shard: what became of the candidates is counted for each.

        Returns
        -------
        dict
            ``screened``, ``admitted`` and ``sample`` (shard references), ``counts``.
        """
        from coevo.analysis.comparison.uniqueness import Item, find_representatives, match_references
        from coevo.analysis.composition import fractions
        from coevo.analysis.signals.ruler import quantiles
        from coevo.makers.populations.fingerprints import fingerprint_table
        from coevo.makers.populations.hull_members import LABELLED, counted
        from coevo.makers.populations.population import excess_of, hull_of, matching_of, members, open_state
        from coevo.node_store.canonical import structure_from_document

        for output in screened:
            check_own(output, SCREENED, "output of the screen step")
        store = current_store()
        view = open_state(store, self.node.name, parent)
        references, entries = members(view, "reference"), members(view, "entry")
        records: dict[str, Record] = {}
        shard_of: dict[str, int] = {}
        for shard, output in enumerate(screened):
            for record in read_records(store, output["relaxed"]):
                check_own(record, RELAXED, "structure that the screen step relaxed")
                records[record["id"]] = record
                shard_of[record["id"]] = shard
        items = [Item(i, structure_from_document(r["structure"]), r["energy_per_atom"]) for i, r in sorted(records.items())]
        known = counted(references, entries, self.curation, self._standing(view, references, entries))
        # a candidate has no label yet
        fresh = [] if self.curation.hull == LABELLED else [(item.structure, item.energy_per_atom) for item in items]
        hull = hull_of(self.node.elements, known + fresh)
        above: Any = (
            hull.energy_above_hull(
                fractions([item.structure for item in items], self.node.elements), [item.energy_per_atom for item in items]
            )
            if items
            else []
        )
        matching = matching_of(self.curation)
        workers = self.usable_workers()
        # The parent's rows are there already: the cost is that of the new candidates.
        table = fingerprint_table([*items, *(m.item for m in (*references, *entries))], [parent], workers)
        # A candidate that relaxed to the very bytes of a reference cannot be an entry (one id, one document), and one that
        # relaxed to those of an entry is that entry and nothing new.
        taken = {m.id for m in (*references, *entries)}
        with task("comparing", len(items), "structures") as advance:
            representatives = find_representatives(
                items, [m.item for m in entries], matching, known=table, workers=workers, progress=advance
            )
        unique = [item for item in items if representatives[item.id] == item.id and item.id not in taken]
        matched = match_references(unique, [m.item for m in references], matching, known=table, workers=workers)
        e_hull = {item.id: float(value) for item, value in zip(items, above, strict=True)}
        rows = []
        for item in items:
            is_unique = item.id in matched
            rows.append(
                {
                    **records[item.id],
                    "energy_above_hull": e_hull[item.id],
                    "representative": representatives[item.id],
                    "is_unique": is_unique,
                    "matched_reference": matched.get(item.id),
                    "electron_excess": excess_of(item.structure),
                }
            )
        admitted = [r for r in rows if self._is_admitted(r)]
        counts = self._counts(generated, screened, rows)
        if self.formulas:
            counts |= self._spread(generated, rows)
        if drawn_by is not None:
            counts["generators"] = {
                family: {
                    "asked": sum(each["asked"] for each in drawn_by if each["family"] == family),
                    **self._counts(
                        [generated[shard] for shard in shards],
                        [screened[shard] for shard in shards],
                        [row for row in rows if shard_of[row["id"]] in shards],
                    ),
                }
                for family, shards in _shards_of(drawn_by).items()
            }
        return {
            "screened": write_records(store, rows),
            "admitted": write_records(store, admitted),
            "sample": write_records(store, self._sample(rows, iteration)),
            "counts": counts,
            "model": checkpoint["sha256"],
            "energy_above_hull": quantiles(list(e_hull.values())),
        }

    def _is_admitted(self, row: Record) -> bool:
        return row["is_unique"] and row["energy_above_hull"] <= self.curation.max_e_hull

    def _counts(self, generated: Sequence[Generated], screened: Sequence[Screened], rows: Sequence[Record]) -> dict[str, Any]:
        """What became of candidates, from their draws on."""
        stable = [r for r in rows if r["energy_above_hull"] <= self.curation.stable_threshold]
        return {
            "candidates": sum(output["candidates"]["count"] for output in generated),
            "rejected_by_generator": _sum_reasons(generated),
            "rejected": _sum_reasons(screened),
            "relaxed": len(rows),
            "unique": sum(1 for r in rows if r["is_unique"]),
            "stable": len(stable),
            "novel": sum(map(_is_novel, rows)),
            "sun": sum(map(_is_novel, stable)),
            "admitted": sum(1 for r in rows if self._is_admitted(r)),
            "electron_excess": sum(has_electron_excess(r["electron_excess"]) for r in rows),
            "known": sum(1 for r in rows if r["matched_reference"] is not None),
            "relaxation_steps": sum(output["steps"] for output in screened),
        }

    def _spread(self, generated: Sequence[Generated], rows: Sequence[Record]) -> dict[str, Any]:
        """Draws that raced, and the effective numbers of formulas, exp of the entropy of their shares."""
        from coevo.analysis.signals.diversity import effective_number
        from coevo.node_store.canonical import structure_from_document

        def formulas(records: Iterable[Record]) -> Counter[str]:
            return Counter(structure_from_document(record["structure"]).composition.reduced_formula for record in records)

        drawn = read_records(current_store(), [output["candidates"] for output in generated])
        low = [row for row in rows if row["energy_above_hull"] <= NEAR_HULL]
        return {
            "drawn": sum(output.get("drawn", output["candidates"]["count"]) for output in generated),
            "formulas": {
                "near_hull": NEAR_HULL,
                "candidates": effective_number(formulas(drawn)),
                "relaxed_near_hull": effective_number(formulas(low)),
            },
        }

    def _standing(self, view: StateView, references: Sequence[Member], entries: Sequence[Member]) -> Standing | None:
        """What labels say of the entries of a parent that says nothing of it, as its hull was one of everything."""
        from coevo.makers.labels.standing import standing_of_state
        from coevo.makers.populations.hull_members import is_of_before

        if not is_of_before(entries, self.curation):
            return None
        scale, only = self.node.energy_scale, self.first_principles
        return standing_of_state(view, references, entries, self.curation, scale, first_principles=only)

    def _sample(self, rows: list[Record], iteration: int) -> list[dict[str, Any]]:
        """Draw the fixed-size random sample of this iteration's candidates (the ruler)."""
        import numpy as np

        rng = np.random.default_rng(seed_for(self.node, iteration, "sample"))
        size = min(self.maturity.ruler_size, len(rows))
        chosen = sorted(rng.choice(len(rows), size=size, replace=False).tolist()) if size else []
        keys = ("id", "structure", "energy_per_atom", "fmax", "is_unique")
        return [
            {
                **{key: row[key] for key in keys},
                "is_novel": _is_novel(row),
            }
            for row in (rows[index] for index in chosen)
        ]
