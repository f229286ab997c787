"""Assess: hull, E_hull, uniqueness, novelty and S.U.N. of the whole population on the energies of the state's force field."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from coevo.configs.electrons import has_electron_excess
from coevo.configs.tree import CurationConfig, NodeSection
from coevo.makers.step import StepMaker, current_store, read_records, step, write_records
from coevo.output.progress import task

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from coevo.analysis.comparison.fingerprint_table import FingerprintTable
    from coevo.analysis.hull.hull import Hull
    from coevo.makers.outputs import Assessed
    from coevo.makers.populations.hull_members import Standing
    from coevo.makers.populations.population import Member
    from coevo.makers.step import Document, Record, ShardReference


@dataclass
class AssessMaker(StepMaker):
    """Turn evaluated structures into the evaluation documents of the new state.

    Attributes
    ----------
    node : NodeSection
    curation : CurationConfig
    first_principles : bool
        Of a hull of labelled phases: labels of teachers do not count.
    """

    name: str = "assess"
    node: NodeSection = field(kw_only=True)
    curation: CurationConfig = field(default_factory=CurationConfig)
    first_principles: bool = False

    version: ClassVar[int] = 6
    later: ClassVar[Mapping[str, Any]] = {"first_principles": False, "offsets": None}
    packages: ClassVar[tuple[str, ...]] = ("numpy", "scipy", "pymatgen-core", "spglib")

    @step
    def make(
        self,
        shards: list[ShardReference],
        parents: list[str] | None = None,
        labels: ShardReference | None = None,
        offsets: Document | None = None,
    ) -> Assessed:
        """Assess.

        Parameters
        ----------
        shards : list of dict
            Shard references of evaluated records.
        parents : list of str or None
            Ids of the parent states, whose labels the new state has.
        labels : dict or None
            Shard reference of label documents that are new in the state.
        offsets : dict or None
            Energy offsets of the new state, by digest of the settings of labels: a hull of labelled phases needs them.

        Returns
        -------
        dict
            ``evaluations`` (shard of evaluation documents), ``samples`` (shard of the rows of the ruler), ``counts``,
            ``validation`` (what first-principles labels say of stability, or None), ``fingerprints`` (reference of the rows of
            the population).
        """
        from coevo.analysis.hull.energy_scale import MP2020
        from coevo.makers.labels.validation import with_label_hull
        from coevo.makers.populations.fingerprints import fingerprint_table, write_table
        from coevo.makers.populations.hull_members import sun_withheld
        from coevo.makers.populations.population import hull_of, matching_of
        from coevo.makers.populations.scale_sensitivity import stability_counts, with_scale_sensitivity
        from coevo.makers.signals.measures import ruler_rows

        store = current_store()
        records = list(read_records(store, shards))
        lost = [r for r in records if r["energy_per_atom"] is None]
        alive = sorted((r for r in records if r["energy_per_atom"] is not None), key=lambda r: (r["kind"], r["id"]))
        by_kind = {kind: self._members([r for r in alive if r["kind"] == kind]) for kind in ("reference", "entry", "sample")}
        references, entries = by_kind["reference"], by_kind["entry"]
        labelled = self._labels(parents or [], labels)
        standing = self._standing(references, entries, labelled, offsets or {})
        present = entries if standing is None else [standing.at_its_energy(m) for m in entries]
        counted = present if standing is None else [m for m in present if standing.counts(m)]
        points = [(m.structure, m.energy_per_atom) for m in (*references, *counted)]
        hull = hull_of(self.node.elements, points)
        reference_hull = hull_of(self.node.elements, points[: len(references)])
        items = [m.item for m in (*references, *entries)]
        table = fingerprint_table(items, parents or [], self.usable_workers())
        duplicates, matched = self._compare(entries, references, table)
        documents = self._documents([*references, *present], hull, reference_hull, duplicates, matched)
        if standing is not None:
            documents = self._with_status(documents, references, entries, standing)
        # after the status, which keeps the force field's energy of what labels refute
        documents, validation = with_label_hull(documents, labelled, self.node.elements, self.curation.stable_threshold)
        if self.curation.mark_scale_sensitive and self.node.energy_scale == MP2020:
            in_hull = [True] * len(references) + [standing is None or standing.counts(m) for m in entries]
            structures = [m.structure for m in (*references, *entries)]
            documents = with_scale_sensitivity(documents, structures, self.node.elements, in_hull)
        matching, threshold = matching_of(self.curation), self.curation.stable_threshold
        # a candidate that is an entry has the energy and the standing of the entry
        sampled = by_kind["sample"] if standing is None else [standing.at_its_energy(m) for m in by_kind["sample"]]
        withheld = sun_withheld(documents)
        workers = self.usable_workers()
        samples = ruler_rows(sampled, hull, self.node.elements, matching, threshold, workers, withheld)
        live = [d for d in documents if d["kind"] == "entry" and d["duplicate_of"] is None]
        return {
            "evaluations": write_records(store, documents),
            "samples": write_records(store, samples),
            "validation": validation,
            "fingerprints": write_table(items, table),
            "counts": {
                "references": len(references),
                "reference_duplicates": sum(d["kind"] == "reference" and d["duplicate_of"] is not None for d in documents),
                "entries": len(entries),
                "duplicates": len(entries) - len(live),
                "stable": sum(d["is_stable"] for d in live),
                "novel": sum(d["is_novel"] for d in live),
                "sun": sum(d["is_sun"] for d in live),
                "electron_excess": sum(has_electron_excess(d["electron_excess"]) for d in live),
                "sun_electron_excess": sum(has_electron_excess(d["electron_excess"]) for d in live if d["is_sun"]),
                "lost": len(lost),
                "not_relaxed_again": sum(bool(d["note"]) for d in documents),
                **stability_counts(live, threshold),
                **self._of_labelled_hull(live, standing),
            },
        }

    def _standing(
        self, references: Sequence[Member], entries: Sequence[Member], labels: Sequence[Record], offsets: Mapping[str, Any]
    ) -> Standing | None:
        """What labels say of the entries; None where the hull is not one of labelled phases."""
        from coevo.makers.labels.standing import labelled_frames, standing_of
        from coevo.makers.populations.hull_members import LABELLED

        if self.curation.hull != LABELLED:
            return None
        frames = labelled_frames(labels, offsets, self.node.energy_scale, first_principles=self.first_principles)
        return standing_of(references, entries, frames, self.curation)

    def _of_labelled_hull(self, live: Sequence[Record], standing: Standing | None) -> Document:
        """Entries by status, and whose labels counted, which the configuration does not say where another code labelled."""
        from coevo.makers.populations.hull_members import status_counts

        return {} if standing is None else {**status_counts(live), "first_principles_only": self.first_principles}

    def _with_status(
        self, documents: list[Record], references: Sequence[Member], entries: Sequence[Member], standing: Standing
    ) -> list[Record]:
        from coevo.makers.labels.doubt import in_doubt
        from coevo.makers.populations.hull_members import with_status

        doubted = in_doubt(documents, references, entries, standing, self.node, self.usable_workers())
        return with_status(documents, standing, doubted, {m.id: m.energy_per_atom for m in entries})

    def _labels(self, parents: Sequence[str], new: ShardReference | None) -> list[Record]:
        """Labels of the new state: those of its parents and the new ones, each once, without what a new one supersedes."""
        from coevo.makers.labels.imported import without_superseded
        from coevo.makers.populations.population import open_state

        store = current_store()
        found = {label["_id"]: label for label in read_records(store, new or [])}
        for parent in parents:
            for label in open_state(store, self.node.name, parent).labels():
                found.setdefault(label["_id"], label)
        return without_superseded([found[identifier] for identifier in sorted(found)])

    def _members(self, records: Sequence[Record]) -> list[Member]:
        from coevo.makers.populations.population import Member
        from coevo.node_store.canonical import structure_from_document

        return [Member(r["id"], structure_from_document(r["structure"]), r["energy_per_atom"], r) for r in records]

    def _compare(
        self, entries: Sequence[Member], references: Sequence[Member], table: FingerprintTable
    ) -> tuple[dict[str, str], dict[str, str | None]]:
        """Representative of each entry (older ones first, as they were before) and each reference; matching references."""
        from coevo.analysis.comparison.grouping import group
        from coevo.analysis.comparison.uniqueness import find_representatives, match_references
        from coevo.makers.populations.population import matching_of

        matching, workers = matching_of(self.curation), self.usable_workers()
        known = [m.item for m in references]
        # sets of references that were brought together may hold a phase twice
        representatives = find_representatives(known, [], matching, known=table, workers=workers)
        rows = {name: row for row, name in enumerate(table.ids)}
        ordered = sorted(entries, key=lambda m: (m.document["since"], m.energy_per_atom, m.id))
        own = table.take([rows[m.id] for m in ordered])
        with task("comparing", len(entries), "structures") as advance:
            found = group(own, 0, matching, workers=workers, progress=advance)
        representatives |= {m.id: own.ids[row] for m, row in zip(ordered, found.tolist(), strict=True)}
        return representatives, match_references([m.item for m in entries], known, matching, known=table, workers=workers)

    def _documents(
        self,
        population: Sequence[Member],
        hull: Hull,
        reference_hull: Hull,
        representatives: dict[str, str],
        matched: dict[str, str | None],
    ) -> list[Record]:
        from coevo.analysis.composition import fractions
        from coevo.makers.populations.population import evaluation_document

        shares = fractions([m.structure for m in population], self.node.elements)
        energies = [m.energy_per_atom for m in population]
        above = hull.energy_above_hull(shares, energies)
        above_references = reference_hull.energy_above_hull(shares, energies)
        formation = hull.formation_energy(shares, energies)
        documents = []
        with task("describing", len(population), "structures") as advance:
            for m, e_hull, e_reference_hull, e_formation in zip(population, above, above_references, formation, strict=True):
                is_entry = m.document["kind"] == "entry"
                representative = representatives.get(m.id, m.id)
                documents.append(
                    evaluation_document(
                        m,
                        energy_above_hull=float(e_hull),
                        energy_above_reference_hull=float(e_reference_hull),
                        formation_energy_per_atom=float(e_formation),
                        stable_threshold=self.curation.stable_threshold,
                        duplicate_of=None if representative == m.id else representative,
                        matched_reference=matched.get(m.id) if is_entry else None,
                    )
                )
                advance(1)
        return documents
